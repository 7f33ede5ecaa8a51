//! Image data sets: loading, decoding, shuffling. Knows nothing of models.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod atomic;
mod batches;
mod cache;
mod error;
mod fit;
mod folder;
mod hash;
mod idx;
mod images;
mod locate;
mod mat5;
mod mnist;
mod npy;
mod permutation;
mod progress;
mod stream;
mod svhn;
pub mod synthetic;

pub use batches::{Batches, batch_indices};
pub use error::Error;
pub use folder::Skipped;
pub use images::{ImageShape, Images};
pub use npy::read_npy;
pub use permutation::permutation;

/// The two parts of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// The images to learn from.
    Train,
    /// The images held out.
    Test,
}
