//! Checkpoints: whole or not there.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
};

use burn::{
    backend::Autodiff,
    module::{Module, ModuleVisitor, Param},
    optim::Optimizer,
    prelude::*,
    record::{BinBytesRecorder, FullPrecisionSettings, Recorder},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shortrun_langevin::{PersistentChains, StepSizes};
use shortrun_model::Learnable;

use crate::{Learner, RunFolder, TrainConfig, TrainError, Tuned, error::at, folder::write_synced};

const STATE: &str = "state.json";
const CHECKSUMS: &str = "checksums.json";
const GENERATOR: &str = "generator.bin";
const OPTIMISER: &str = "optimiser.bin";
const CHAINS: &str = "chains.bin";
const SHAPES: &str = "shapes.json";
const UNFINISHED: &str = ".unfinished-";
const DAMAGED: &str = "damaged-";

/// The counters of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Iterations done.
    pub iteration: u64,
    /// Updates not taken so far.
    pub skipped: u64,
    /// Updates not taken since the last one that was.
    pub skipped_in_a_row: u64,
    /// What the step sizes of the settings are multiplied by (every eta): 1, or less for a while
    /// after chains diverged.
    pub step_factor: f64,
    /// The step size as tuned so far, if it is tuned.
    #[serde(default)]
    pub tuned: Option<Tuned>,
    /// The iteration of the best checkpoint and its test error.
    pub best: Option<(u64, f64)>,
    /// Name of the data set.
    pub data: String,
    /// Number of training images.
    pub images: usize,
}

impl State {
    /// A run of these images that has not begun.
    pub fn new(data: &str, images: usize) -> Self {
        Self {
            iteration: 0,
            skipped: 0,
            skipped_in_a_row: 0,
            step_factor: 1.0,
            tuned: None,
            best: None,
            data: data.to_owned(),
            images,
        }
    }
}

impl State {
    /// The step sizes at an iteration, counted from 0: as set or as tuned, in proportion to sigma if
    /// they follow it, and lowered for a while if chains diverged.
    pub fn step_sizes(&self, config: &TrainConfig, iteration: u64) -> StepSizes {
        let set = &config.langevin.step_size;
        let sizes = self.tuned.as_ref().map_or(set, |tuned| &tuned.step_sizes);
        sizes.scaled(config.step_scale(iteration) * self.step_factor)
    }
}

/// A checkpoint that was refused.
#[derive(Clone, Debug)]
pub(crate) struct Damaged {
    iteration: u64,
    reason: String,
}

/// A checkpoint on disk whose files were found whole.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    path: PathBuf,
    /// The counters.
    pub state: State,
}

impl Checkpoint {
    /// Saves a learner: all files to a temporary folder, synced, then renamed. Afterwards the last
    /// `keep` checkpoints and the best are kept.
    ///
    /// # Errors
    /// If the folder cannot be written; what was saved before is untouched then.
    pub fn save<B: Backend, G: Learnable<B>>(
        folder: &RunFolder,
        learner: &Learner<B, G>,
        state: &State,
        keep: usize,
    ) -> Result<(), TrainError> {
        let recorder = BinBytesRecorder::<FullPrecisionSettings>::default();
        let target = path_of(folder, state.iteration);
        let encode = |reason: String| TrainError::File {
            path: target.clone(),
            source: std::io::Error::other(reason),
        };
        let json = |value: serde_json::Result<Vec<u8>>| value.map_err(|e| encode(e.to_string()));
        let generator = recorder
            .record(learner.generator.clone().into_record(), ())
            .map_err(|e| encode(e.to_string()))?;
        let optimiser =
            Recorder::<Autodiff<B>>::record(&recorder, learner.optimiser.to_record(), ())
                .map_err(|e| encode(e.to_string()))?;
        let mut files = vec![
            (GENERATOR, generator),
            (OPTIMISER, optimiser),
            (STATE, json(serde_json::to_vec_pretty(state))?),
            (
                SHAPES,
                json(serde_json::to_vec(&shapes(&learner.generator)))?,
            ),
        ];
        if let Some(chains) = &learner.persistent {
            files.push((CHAINS, chains.to_bytes()));
        }
        let checksums: BTreeMap<&str, String> = files
            .iter()
            .map(|(name, bytes)| (*name, checksum(bytes)))
            .collect();
        files.push((CHECKSUMS, json(serde_json::to_vec_pretty(&checksums))?));

        let parent = folder.checkpoints();
        let unfinished = parent.join(format!("{UNFINISHED}{}", state.iteration));
        remove(&unfinished)?;
        fs::create_dir_all(&unfinished).map_err(at(&unfinished))?;
        for (name, bytes) in &files {
            write_synced(&unfinished.join(name), bytes)?;
        }
        sync_folder(&unfinished)?;
        // Only ever replaced by the same iteration of the same run: the numbers are the same. Killed
        // here, the run finds the unfinished folder whole and puts it in place.
        remove(&target)?;
        fs::rename(&unfinished, &target).map_err(at(&target))?;
        sync_folder(&parent)?;
        prune(folder, state, keep)
    }

    /// The newest checkpoint whose files are whole, and a message for each newer one that is not.
    ///
    /// # Errors
    /// If there is none.
    pub fn newest(folder: &RunFolder) -> Result<(Self, Vec<String>), TrainError> {
        let found = Self::newest_whole(folder)?.ok_or_else(|| TrainError::NoCheckpoint {
            path: folder.checkpoints(),
            reason: "the run has not reached its first checkpoint; go on with `shortrun train \
                     --resume`, or save more often (--set checkpoint.every=…)"
                .to_owned(),
        })?;
        let (checkpoint, damaged) = found;
        Ok((checkpoint, damaged.into_iter().map(|d| d.reason).collect()))
    }

    /// As [`newest`](Self::newest), for a run that goes on from there: what a killed run left half
    /// done is put in place or removed. `None` if there are no checkpoints at all.
    pub(crate) fn to_resume(
        folder: &RunFolder,
    ) -> Result<Option<(Self, Vec<Damaged>)>, TrainError> {
        let parent = folder.checkpoints();
        for iteration in numbered(&parent, UNFINISHED)? {
            let unfinished = parent.join(format!("{UNFINISHED}{iteration}"));
            let target = path_of(folder, iteration);
            if !target.exists() && Self::read(unfinished.clone()).is_ok() {
                fs::rename(&unfinished, &target).map_err(at(&target))?;
            } else {
                remove(&unfinished)?;
            }
        }
        Self::newest_whole(folder)
    }

    fn newest_whole(folder: &RunFolder) -> Result<Option<(Self, Vec<Damaged>)>, TrainError> {
        let mut damaged: Vec<Damaged> = Vec::new();
        for iteration in iterations(folder)?.into_iter().rev() {
            match Self::open(folder, iteration) {
                Ok(checkpoint) => return Ok(Some((checkpoint, damaged))),
                Err(error) => damaged.push(Damaged {
                    iteration,
                    reason: error.to_string(),
                }),
            }
        }
        if damaged.is_empty() {
            return Ok(None);
        }
        let reasons: Vec<String> = damaged.into_iter().map(|damaged| damaged.reason).collect();
        Err(TrainError::NoCheckpoint {
            path: folder.checkpoints(),
            reason: format!(
                "{}; put a whole checkpoint back, or begin anew in another folder",
                reasons.join("; ")
            ),
        })
    }

    /// The checkpoint of an iteration, its files checked against their checksums.
    ///
    /// # Errors
    /// If it is missing or damaged.
    pub fn open(folder: &RunFolder, iteration: u64) -> Result<Self, TrainError> {
        Self::read(path_of(folder, iteration))
    }

    fn read(path: PathBuf) -> Result<Self, TrainError> {
        let checksums = path.join(CHECKSUMS);
        let text = fs::read(&checksums).map_err(at(&checksums))?;
        let damaged = |file: &Path, reason: String| TrainError::NoCheckpoint {
            path: file.to_owned(),
            reason,
        };
        let listed: BTreeMap<String, String> =
            serde_json::from_slice(&text).map_err(|e| damaged(&checksums, e.to_string()))?;
        for needed in [GENERATOR, OPTIMISER, STATE, SHAPES] {
            if !listed.contains_key(needed) {
                return Err(damaged(&checksums, format!("{needed} is not listed")));
            }
        }
        for (name, expected) in &listed {
            let file = path.join(name);
            let bytes = fs::read(&file).map_err(at(&file))?;
            if checksum(&bytes) != *expected {
                return Err(damaged(&file, "its checksum does not match".to_owned()));
            }
        }
        let file = path.join(STATE);
        let bytes = fs::read(&file).map_err(at(&file))?;
        let state = serde_json::from_slice(&bytes).map_err(|e| damaged(&file, e.to_string()))?;
        Ok(Self { path, state })
    }

    /// The folder of the checkpoint.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The generator with the weights of this checkpoint, given one of the same shape.
    ///
    /// # Errors
    /// If the weights are of another generator.
    pub fn generator<B: Backend, M: Module<B>>(
        &self,
        like: M,
        device: &B::Device,
    ) -> Result<M, TrainError> {
        // Burn takes weights of other shapes without a word, and panics on another number of them.
        let path = self.path.join(SHAPES);
        let bytes = fs::read(&path).map_err(at(&path))?;
        if serde_json::from_slice::<Vec<Vec<usize>>>(&bytes).ok() != Some(shapes(&like)) {
            return Err(TrainError::NoCheckpoint {
                path: self.path.clone(),
                reason: "its weights are of a generator of another shape; was config.toml changed?"
                    .to_owned(),
            });
        }
        Ok(like.load_record(self.record::<B, _>(GENERATOR, device)?))
    }

    /// Puts weights, optimiser and chains of this checkpoint into a learner of the same shape.
    ///
    /// # Errors
    /// If they are of another generator.
    pub fn restore<B: Backend, G: Learnable<B>>(
        &self,
        mut learner: Learner<B, G>,
        device: &B::Device,
    ) -> Result<Learner<B, G>, TrainError> {
        learner.generator = self.generator::<Autodiff<B>, G>(learner.generator, device)?;
        let record = self.record::<Autodiff<B>, _>(OPTIMISER, device)?;
        learner.optimiser = learner.optimiser.load_record(record);
        if let Some(chains) = &mut learner.persistent {
            let path = self.path.join(CHAINS);
            let bytes = fs::read(&path).map_err(at(&path))?;
            let expected = chains.dims();
            *chains = PersistentChains::from_bytes(&bytes)
                .filter(|found| found.dims() == expected)
                .ok_or_else(|| TrainError::NoCheckpoint {
                    path,
                    reason: "it does not hold a chain for every image".to_owned(),
                })?;
        }
        Ok(learner)
    }

    fn record<B: Backend, R: burn::record::Record<B>>(
        &self,
        name: &str,
        device: &B::Device,
    ) -> Result<R, TrainError> {
        let path = self.path.join(name);
        let bytes = fs::read(&path).map_err(at(&path))?;
        BinBytesRecorder::<FullPrecisionSettings>::default()
            .load(bytes, device)
            .map_err(|error| TrainError::NoCheckpoint {
                path: path.clone(),
                reason: format!("it was made by another generator or another version ({error})"),
            })
    }
}

impl Damaged {
    /// Renames the checkpoint, so that it neither counts nor is overwritten; gives a message.
    pub(crate) fn set_aside(self, folder: &RunFolder) -> Result<String, TrainError> {
        let from = path_of(folder, self.iteration);
        let name = format!("{DAMAGED}step-{:08}", self.iteration);
        let to = folder.checkpoints().join(&name);
        remove(&to)?;
        fs::rename(&from, &to).map_err(at(&from))?;
        let reason = self.reason;
        Ok(format!(
            "{reason}; set aside as {name}, the checkpoint before it is used"
        ))
    }
}

/// The shapes of a module's weights, in order.
fn shapes<B: Backend>(module: &impl Module<B>) -> Vec<Vec<usize>> {
    struct Shapes(Vec<Vec<usize>>);

    impl<B: Backend> ModuleVisitor<B> for Shapes {
        fn visit_float<const D: usize>(&mut self, weight: &Param<Tensor<B, D>>) {
            self.0.push(weight.dims().to_vec());
        }
    }

    let mut shapes = Shapes(Vec::new());
    module.visit(&mut shapes);
    shapes.0
}

fn path_of(folder: &RunFolder, iteration: u64) -> PathBuf {
    folder.checkpoints().join(format!("step-{iteration:08}"))
}

/// The iterations that have a checkpoint, in order.
fn iterations(folder: &RunFolder) -> Result<Vec<u64>, TrainError> {
    numbered(&folder.checkpoints(), "step-")
}

/// The numbers behind `prefix` among the names in a folder, in order.
fn numbered(parent: &Path, prefix: &str) -> Result<Vec<u64>, TrainError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(parent).map_err(at(parent))? {
        let name = entry.map_err(at(parent))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(prefix));
        found.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    found.sort_unstable();
    Ok(found)
}

fn prune(folder: &RunFolder, state: &State, keep: usize) -> Result<(), TrainError> {
    let all = iterations(folder)?;
    let old = &all[..all.len().saturating_sub(keep.max(1))];
    let best = state.best.map(|(iteration, _)| iteration);
    for iteration in old.iter().filter(|iteration| Some(**iteration) != best) {
        remove(&path_of(folder, *iteration))?;
    }
    Ok(())
}

fn checksum(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn remove(path: &Path) -> Result<(), TrainError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

/// A rename is safe on disk only once the folder itself is; Windows cannot and need not.
fn sync_folder(path: &Path) -> Result<(), TrainError> {
    if cfg!(unix) {
        File::open(path)
            .and_then(|folder| folder.sync_all())
            .map_err(at(path))?;
    }
    Ok(())
}
