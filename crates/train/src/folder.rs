//! The folder of a run.

use std::{
    fs::{self, File, TryLockError},
    io::Write,
    path::{Path, PathBuf},
};

use atomic_write_file::AtomicWriteFile;
use serde::de::DeserializeOwned;

use crate::{TrainError, error::at};

/// The folder of a run:
///
/// ```text
/// config.toml          every setting
/// metrics.jsonl        one JSON object a line
/// checkpoints/step-N/  weights, optimiser, counters, checksums
/// samples/             images of latents drawn from the prior
/// reconstructions/     test images above what the model makes of them
/// commands.jsonl       the command lines that trained it
/// evaluations/         what other commands found out about it, one JSON file each
/// summary.json         the end of the run
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFolder(PathBuf);

const CONFIG: &str = "config.toml";
const LOCK: &str = ".lock";

impl RunFolder {
    /// Makes the folder of a new run, and writes its configuration.
    ///
    /// # Errors
    /// If the folder already holds a run, or cannot be written.
    pub fn create(path: impl Into<PathBuf>, config: &str) -> Result<Self, TrainError> {
        let folder = Self(path.into());
        if folder.0.join(CONFIG).exists() {
            return Err(TrainError::Occupied(folder.0));
        }
        if fs::read_dir(folder.checkpoints()).is_ok_and(|mut found| found.next().is_some()) {
            return Err(TrainError::Orphaned(folder.0));
        }
        for part in [
            folder.checkpoints(),
            folder.samples(),
            folder.reconstructions(),
        ] {
            fs::create_dir_all(&part).map_err(at(&part))?;
        }
        write_atomically(&folder.0.join(CONFIG), config.as_bytes())?;
        Ok(folder)
    }

    /// Opens the folder of a run.
    ///
    /// # Errors
    /// If it holds no run.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, TrainError> {
        let folder = Self(path.into());
        if folder.0.join(CONFIG).is_file() {
            return Ok(folder);
        }
        Err(TrainError::NoRun {
            path: folder.0,
            missing: CONFIG,
        })
    }

    /// Keeps other processes from training in this folder until the result is dropped, also by
    /// kill -9.
    ///
    /// # Errors
    /// If another is, or the folder cannot be written.
    pub(crate) fn lock(&self) -> Result<File, TrainError> {
        let path = self.0.join(LOCK);
        let file = File::create(&path).map_err(at(&path))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(TrainError::Busy(self.0.clone())),
            // Some network file systems cannot lock; the run goes on without.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
        }
    }

    /// Whether a process is training in this folder now. (Where the file system cannot lock: no.)
    pub fn is_training(&self) -> bool {
        let lock = File::open(self.0.join(LOCK));
        lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Replaces `config.toml`, for a run that goes on with other settings.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn rewrite_config(&self, config: &str) -> Result<(), TrainError> {
        write_atomically(&self.0.join(CONFIG), config.as_bytes())
    }

    /// The text of `config.toml`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn config(&self) -> Result<String, TrainError> {
        let path = self.0.join(CONFIG);
        fs::read_to_string(&path).map_err(at(&path))
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `metrics.jsonl`.
    pub fn metrics(&self) -> PathBuf {
        self.0.join("metrics.jsonl")
    }

    /// `checkpoints/`.
    pub fn checkpoints(&self) -> PathBuf {
        self.0.join("checkpoints")
    }

    /// `samples/`.
    pub fn samples(&self) -> PathBuf {
        self.0.join("samples")
    }

    /// `reconstructions/`.
    pub fn reconstructions(&self) -> PathBuf {
        self.0.join("reconstructions")
    }

    /// `commands.jsonl`.
    pub fn commands(&self) -> PathBuf {
        self.0.join("commands.jsonl")
    }

    /// `evaluations/`.
    pub fn evaluations(&self) -> PathBuf {
        self.0.join("evaluations")
    }

    /// `summary.json`.
    pub fn summary(&self) -> PathBuf {
        self.0.join("summary.json")
    }
}

/// The lines of a file with one JSON object a line, beside what they say. Lines that cannot be read
/// are left out: the last one of a run that was killed may be cut off.
pub(crate) fn whole_lines<T: DeserializeOwned>(
    path: &Path,
) -> Result<Vec<(T, String)>, TrainError> {
    let bytes = fs::read(path).map_err(at(path))?;
    let text = String::from_utf8_lossy(&bytes);
    let whole = text.lines().filter_map(|line| {
        let value = serde_json::from_str(line).ok()?;
        Some((value, line.to_owned()))
    });
    Ok(whole.collect())
}

/// Writes a file so that at any moment it is either the old or the new one, whole.
///
/// # Errors
/// If it cannot be written; what was there is untouched then.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    let mut file = AtomicWriteFile::open(path).map_err(at(path))?;
    file.write_all(bytes).map_err(at(path))?;
    file.commit().map_err(at(path))
}
