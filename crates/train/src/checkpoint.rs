//! Checkpoints: whole or not there.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use burn::{
    module::{Module, ModuleVisitor, Param},
    prelude::*,
    record::{BinBytesRecorder, FullPrecisionSettings, Record, Recorder},
};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::{RunFolder, State, TrainError, error::at};

const STATE: &str = "state.json";
const CHECKSUMS: &str = "checksums.json";
const DAMAGED: &str = "damaged-";

/// A file of a checkpoint about to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointFile {
    name: String,
    bytes: Vec<u8>,
}

impl CheckpointFile {
    /// A file of these bytes.
    pub fn new(name: impl Into<String>, bytes: Vec<u8>) -> Self {
        let name = name.into();
        Self { name, bytes }
    }

    /// A value as JSON.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn of_json(name: impl Into<String>, value: &impl Serialize) -> Result<Self, TrainError> {
        let name = name.into();
        match serde_json::to_vec_pretty(value) {
            Ok(bytes) => Ok(Self { name, bytes }),
            Err(error) => Err(unwritable(&name, &error)),
        }
    }

    /// A record of Burn's.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn of_record<B: Backend, R: Record<B>>(
        name: impl Into<String>,
        record: R,
    ) -> Result<Self, TrainError> {
        let name = name.into();
        let recorder = BinBytesRecorder::<FullPrecisionSettings>::default();
        match Recorder::<B>::record(&recorder, record, ()) {
            Ok(bytes) => Ok(Self { name, bytes }),
            Err(error) => Err(unwritable(&name, &error)),
        }
    }

    /// The weights of a module, and their shapes: what [`Checkpoint::module`] reads.
    ///
    /// # Errors
    /// If they cannot be encoded.
    pub fn of_module<B: Backend, M: Module<B>>(
        name: &str,
        module: &M,
    ) -> Result<Vec<Self>, TrainError> {
        Ok(vec![
            Self::of_record::<B, _>(weights_file(name), module.clone().into_record())?,
            Self::of_json(shapes_file(name), &shapes(module))?,
        ])
    }
}

fn weights_file(module: &str) -> String {
    format!("{module}.bin")
}

fn shapes_file(module: &str) -> String {
    format!("{module}.shapes.json")
}

fn unwritable(name: &str, reason: &dyn std::fmt::Display) -> TrainError {
    TrainError::File {
        path: name.into(),
        source: std::io::Error::other(reason.to_string()),
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
    /// Saves a method's files and the counters: all to a temporary folder, synced, then renamed.
    /// Afterwards the last `keep` checkpoints and the best are kept.
    ///
    /// # Errors
    /// If the folder cannot be written; what was saved before is untouched then.
    pub fn save(
        folder: &RunFolder,
        mut files: Vec<CheckpointFile>,
        state: &State,
        keep: usize,
    ) -> Result<(), TrainError> {
        let target = path_of(folder, state.iteration);
        files.push(CheckpointFile::of_json(STATE, state)?);
        let checksums: BTreeMap<&str, String> = files
            .iter()
            .map(|file| (file.name.as_str(), checksum(&file.bytes)))
            .collect();
        let checksums = CheckpointFile::of_json(CHECKSUMS, &checksums)?;
        files.push(checksums);

        let parent = folder.checkpoints();
        let unfinished = parent.join(unfinished_name(state.iteration));
        remove(&unfinished)?;
        fs::create_dir_all(&unfinished).map_err(at(&unfinished))?;
        for file in &files {
            write_synced(&unfinished.join(&file.name), &file.bytes)?;
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
        for iteration in numbered(&parent, unfinished_name)? {
            let unfinished = parent.join(unfinished_name(iteration));
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
        if !listed.contains_key(STATE) {
            return Err(damaged(&checksums, format!("{STATE} is not listed")));
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

    /// Whether it has a file of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.path.join(name).exists()
    }

    /// The bytes of one of its files.
    ///
    /// # Errors
    /// If it is not there.
    pub fn bytes(&self, name: &str) -> Result<Vec<u8>, TrainError> {
        let path = self.path.join(name);
        fs::read(&path).map_err(at(&path))
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
        self.module("generator", like, device)
    }

    /// The module of this name with the weights of this checkpoint, given one of the same shape.
    ///
    /// # Errors
    /// If there is none, or its weights are of another module or no finite numbers.
    pub fn module<B: Backend, M: Module<B>>(
        &self,
        name: &str,
        like: M,
        device: &B::Device,
    ) -> Result<M, TrainError> {
        // Burn takes weights of other shapes without a word, and panics on another number of them.
        let bytes = self.bytes(&shapes_file(name))?;
        if serde_json::from_slice::<Vec<Vec<usize>>>(&bytes).ok() != Some(shapes(&like)) {
            return Err(TrainError::NoCheckpoint {
                path: self.path.clone(),
                reason: format!(
                    "its weights are of a {name} of another shape; was config.toml changed?"
                ),
            });
        }
        let module = like.load_record(self.record::<B, _>(&weights_file(name), device)?);
        if !is_finite(&module) {
            return Err(TrainError::NoCheckpoint {
                path: self.path.join(weights_file(name)),
                reason: "it holds weights that are no finite numbers: learning went astray; begin \
                         anew with a lower learning rate"
                    .to_owned(),
            });
        }
        Ok(module)
    }

    /// What [`CheckpointFile::of_json`] wrote.
    ///
    /// # Errors
    /// If it is not there, or another thing.
    pub fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, TrainError> {
        serde_json::from_slice(&self.bytes(name)?).map_err(|error| TrainError::NoCheckpoint {
            path: self.path.join(name),
            reason: error.to_string(),
        })
    }

    /// What [`CheckpointFile::of_record`] wrote.
    ///
    /// # Errors
    /// If it is not there, or another thing.
    pub fn record<B: Backend, R: Record<B>>(
        &self,
        name: &str,
        device: &B::Device,
    ) -> Result<R, TrainError> {
        BinBytesRecorder::<FullPrecisionSettings>::default()
            .load(self.bytes(name)?, device)
            .map_err(|error| TrainError::NoCheckpoint {
                path: self.path.join(name),
                reason: format!("it was made by another generator or another version ({error})"),
            })
    }
}

impl Damaged {
    /// Renames the checkpoint, so that it neither counts nor is overwritten; gives a message.
    pub(crate) fn set_aside(self, folder: &RunFolder) -> Result<String, TrainError> {
        let from = path_of(folder, self.iteration);
        let name = format!("{DAMAGED}{}", name(self.iteration));
        let to = folder.checkpoints().join(&name);
        remove(&to)?;
        fs::rename(&from, &to).map_err(at(&from))?;
        let reason = self.reason;
        Ok(format!(
            "{reason}; set aside as {name}, the checkpoint before it is used"
        ))
    }
}

/// Whether all weights are finite numbers.
fn is_finite<B: Backend>(module: &impl Module<B>) -> bool {
    struct Finite(bool);

    impl<B: Backend> ModuleVisitor<B> for Finite {
        fn visit_float<const D: usize>(&mut self, weight: &Param<Tensor<B, D>>) {
            let values = weight.val().into_data().convert::<f32>();
            self.0 = self.0 && values.iter::<f32>().all(f32::is_finite);
        }
    }

    let mut finite = Finite(true);
    module.visit(&mut finite);
    finite.0
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
    folder.checkpoints().join(name(iteration))
}

fn name(iteration: u64) -> String {
    format!("step-{iteration:08}")
}

fn unfinished_name(iteration: u64) -> String {
    format!(".unfinished-{iteration}")
}

/// The iterations that have a checkpoint, in order.
fn iterations(folder: &RunFolder) -> Result<Vec<u64>, TrainError> {
    numbered(&folder.checkpoints(), name)
}

/// The numbers whose names are in a folder, in order. (A copy by another name is none of the run's.)
fn numbered(parent: &Path, named: impl Fn(u64) -> String) -> Result<Vec<u64>, TrainError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(parent).map_err(at(parent))? {
        let name = entry.map_err(at(parent))?.file_name();
        let name = name.to_string_lossy();
        let number = name.rsplit('-').next().and_then(|n| n.parse().ok());
        found.extend(number.filter(|number| named(*number) == name));
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

/// Writes a file and waits until it is on the disk.
fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    let mut file = File::create(path).map_err(at(path))?;
    file.write_all(bytes).map_err(at(path))?;
    file.sync_all().map_err(at(path))
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
