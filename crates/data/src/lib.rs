//! Image data sets: finding, fetching, decoding, splitting, shuffling. Knows nothing of models.
//!
//! A [`DataSpec`] says which images are wanted and in which form, [`Images`] holds them as bytes in
//! NCHW order, and [`Batches`] says which of them each iteration sees:
//!
//! ```
//! use shortrun_data::{Batches, DataSpec, Split};
//!
//! # fn main() -> Result<(), shortrun_data::Error> {
//! let spec = DataSpec::new("synthetic".parse()?, 32);
//! let part = spec.load_split(Split::Train, Some(50))?;
//! let mut batches = Batches::new(1, part.images.len(), 8)?;
//! let x = part.images.to_f32(&batches.indices(0));
//! assert_eq!(x.len(), 8 * 3 * 32 * 32);
//! # Ok(())
//! # }
//! ```
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
pub use hash::sha256;
pub use images::{ImageShape, Images};
pub use npy::{read_float_npy, read_npy, write_float_npy};
pub use permutation::permutation;
pub use source::Source;
pub use spec::{DataSet, DataSpec, Part, Split};
