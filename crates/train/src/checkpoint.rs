//! Checkpoints: whole or not there.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
};

use burn::{
    backend::Autodiff,
    module::Module,
    optim::Optimizer,
    prelude::*,
    record::{BinBytesRecorder, FullPrecisionSettings, Recorder},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shortrun_langevin::PersistentChains;
use shortrun_model::Learnable;

use crate::{Learner, RunFolder, TrainError, error::at, folder::write_synced};

const STATE: &str = "state.json";
const CHECKSUMS: &str = "checksums.json";
const GENERATOR: &str = "generator.bin";
const OPTIMISER: &str = "optimiser.bin";
const CHAINS: &str = "chains.bin";
const UNFINISHED: &str = ".unfinished-";

/// The counters of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Iterations done.
    pub iteration: u64,
    /// Updates not taken so far.
    pub skipped: u64,
    /// Updates not taken since the last one that was.
    pub skipped_in_a_row: u64,
    /// The iteration of the best checkpoint and its test error.
    pub best: Option<(u64, f64)>,
    /// Name of the data set.
    pub data: String,
    /// Number of training images.
    pub images: usize,
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
        // Only ever replaced by the same iteration of the same run: the numbers are the same.
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
        let mut damaged = Vec::new();
        for iteration in iterations(folder)?.into_iter().rev() {
            match Self::open(folder, iteration) {
                Ok(checkpoint) => return Ok((checkpoint, damaged)),
                Err(error) => damaged.push(error.to_string()),
            }
        }
        Err(TrainError::NoCheckpoint {
            path: folder.checkpoints(),
            reason: if damaged.is_empty() {
                "the run was stopped before its first checkpoint; remove the folder and start again"
                    .to_owned()
            } else {
                damaged.join("; ")
            },
        })
    }

    /// The checkpoint of an iteration, its files checked against their checksums.
    ///
    /// # Errors
    /// If it is missing or damaged.
    pub fn open(folder: &RunFolder, iteration: u64) -> Result<Self, TrainError> {
        let path = path_of(folder, iteration);
        let checksums = path.join(CHECKSUMS);
        let text = fs::read(&checksums).map_err(at(&checksums))?;
        let damaged = |file: &Path, reason: String| TrainError::NoCheckpoint {
            path: file.to_owned(),
            reason,
        };
        let listed: BTreeMap<String, String> =
            serde_json::from_slice(&text).map_err(|e| damaged(&checksums, e.to_string()))?;
        for needed in [GENERATOR, OPTIMISER, STATE] {
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
        if learner.persistent.is_some() {
            let path = self.path.join(CHAINS);
            let bytes = fs::read(&path).map_err(at(&path))?;
            learner.persistent = PersistentChains::from_bytes(&bytes);
            if learner.persistent.is_none() {
                return Err(TrainError::NoCheckpoint {
                    path,
                    reason: "it holds no whole set of chains".to_owned(),
                });
            }
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

fn path_of(folder: &RunFolder, iteration: u64) -> PathBuf {
    folder.checkpoints().join(format!("step-{iteration:08}"))
}

/// The iterations that have a checkpoint, in order.
fn iterations(folder: &RunFolder) -> Result<Vec<u64>, TrainError> {
    let parent = folder.checkpoints();
    let mut found = Vec::new();
    for entry in fs::read_dir(&parent).map_err(at(&parent))? {
        let name = entry.map_err(at(&parent))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("step-"));
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
