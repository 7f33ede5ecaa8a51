//! What can go wrong when a page is made.

use shortrun_train::TrainError;
use thiserror::Error;

/// A page that cannot be made.
#[derive(Debug, Error)]
pub enum ReportError {
    /// A picture that is none.
    #[error("{name}: {reason}")]
    Picture {
        /// The file, or what it shows.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The page could not be written.
    #[error(transparent)]
    Write(#[from] TrainError),
}
