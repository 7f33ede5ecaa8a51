//! What can go wrong in training.

use std::path::{Path, PathBuf};

use shortrun_data::ImageShape;
use shortrun_eval::EvalError;
use shortrun_langevin::{ChainError, LayersError};
use shortrun_model::ObservationError;
use thiserror::Error;

/// A training run that cannot start or cannot go on.
#[derive(Debug, Error)]
pub enum TrainError {
    /// A setting that makes no sense.
    #[error("setting {setting} {reason}")]
    Setting {
        /// Its key in `config.toml`.
        setting: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The file system refused: a full disk, a read-only folder.
    #[error("{path}: {source}; check that it may be read and written and that the disk has room")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// The folder already holds a run.
    #[error(
        "{0} already holds a run; add --resume to go on with it, or name another folder with --run"
    )]
    Occupied(PathBuf),
    /// The folder holds checkpoints but no configuration.
    #[error(
        "{0} holds checkpoints of a run whose config.toml is missing; put it back, or name another \
         folder with --run"
    )]
    Orphaned(PathBuf),
    /// Another process is training in the folder.
    #[error("another process is training in {0}; wait for it, or stop it first")]
    Busy(PathBuf),
    /// The folder holds no run.
    #[error(
        "{path} holds no run ({missing} is missing); make one with `shortrun train --run {path}`"
    )]
    NoRun {
        /// The folder.
        path: PathBuf,
        /// The file looked for.
        missing: &'static str,
    },
    /// The run in the folder was made with other settings.
    #[error(
        "{path} holds a run with other settings: its {difference}; resume it without that setting, \
         or name another folder with --run"
    )]
    OtherRun {
        /// The folder.
        path: PathBuf,
        /// What differs.
        difference: String,
    },
    /// No checkpoint is whole.
    #[error("{path} holds no usable checkpoint: {reason}")]
    NoCheckpoint {
        /// The folder of checkpoints.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// Too many updates in a row were not taken.
    #[error(
        "stopped at iteration {iteration}: {count} updates in a row were skipped, the last because \
         {reason}. The weights of the last good update are saved. {advice}"
    )]
    TooManySkipped {
        /// The iteration.
        iteration: u64,
        /// How many.
        count: u64,
        /// Why the last was.
        reason: String,
        /// What to change.
        advice: String,
    },
    /// Images that do not fit the generator.
    #[error("the images are {images}, the generator makes {generator} (channels x height x width)")]
    ImageShape {
        /// Shape of the images.
        images: ImageShape,
        /// Shape the generator makes.
        generator: ImageShape,
    },
    /// An error of the data set.
    #[error(transparent)]
    Data(#[from] shortrun_data::Error),
    /// An error of an evaluation.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// An error of the chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// An error of the observation.
    #[error(transparent)]
    Observation(#[from] ObservationError),
    /// Latent layers that make no sense.
    #[error(transparent)]
    Layers(#[from] LayersError),
}

impl TrainError {
    /// Checks counts of things: each is a setting, how many there are, and how many there may be.
    ///
    /// # Errors
    /// Names the first of which there are none, or too many.
    pub fn check_counts<const N: usize>(counts: [(&'static str, u64, u64); N]) -> Result<(), Self> {
        for (setting, count, most) in counts {
            let reason = match count {
                0 => "must be at least 1; found 0".to_owned(),
                _ if count > most => format!("must be at most {most}; found {count}"),
                _ => continue,
            };
            return Err(Self::Setting { setting, reason });
        }
        Ok(())
    }

    /// Checks that a generator makes images `[channels, height, width]` of the shape of these.
    ///
    /// # Errors
    /// If it does not.
    pub fn check_shape(
        images: ImageShape,
        [channels, height, width]: [usize; 3],
    ) -> Result<(), Self> {
        let generator = ImageShape {
            channels,
            height,
            width,
        };
        if images == generator {
            return Ok(());
        }
        Err(Self::ImageShape { images, generator })
    }
}

/// For `map_err`: the file a file-system error belongs to.
pub(crate) fn at(path: &Path) -> impl FnOnce(std::io::Error) -> TrainError + '_ {
    move |source| TrainError::File {
        path: path.to_owned(),
        source,
    }
}
