//! Image data sets: loading, decoding, shuffling. Knows nothing of models.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod atomic;
mod batches;
mod cache;
mod celeba;
mod download;
mod error;
mod fit;
mod folder;
mod hash;
mod holdout;
mod idx;
mod images;
mod locate;
mod mat5;
mod mnist;
mod npy;
mod permutation;
mod progress;
mod source;
mod spec;
mod stream;
mod svhn;
pub mod synthetic;

pub use batches::{Batches, batch_indices};
pub use download::{Remote, RemoteFile};
pub use error::Error;
pub use folder::Skipped;
pub use images::{ImageShape, Images};
pub use npy::read_npy;
pub use permutation::permutation;
pub use source::Source;
pub use spec::{DataSet, DataSpec, Part, Split};
