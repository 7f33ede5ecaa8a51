//! What can go wrong when looking at a model.

use std::path::PathBuf;

use shortrun_langevin::ChainError;
use shortrun_model::ObservationError;
use thiserror::Error;

/// An evaluation that cannot be done.
#[derive(Debug, Error)]
pub enum EvalError {
    /// The chain was asked for something impossible.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The observation makes no sense.
    #[error(transparent)]
    Observation(#[from] ObservationError),
    /// A file could not be written.
    #[error("cannot write {path}: {reason}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system or the encoder said.
        reason: String,
    },
    /// No images to look at.
    #[error("there are no images to look at; ask for a count of at least 1")]
    NoImages,
}
