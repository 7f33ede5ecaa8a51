//! How far two sets of images are apart, by the features that a network sees in them.
//!
//! An [`Extractor`] turns images into features: [`Inception`] (Inception v3 with the blocks and
//! weights of FID) or a [`Classifier`] that is trained here. [`extract`] takes batch after batch and
//! keeps their mean and covariance in float64, never all images. Of two such [`Gaussian`]s there is
//! the [`frechet_distance`] (Heusel et al., 2017), and of the features themselves
//! [`precision_recall`] (Kynkäänniemi et al., 2019). Knows nothing of generators.
//!
//! ```
//! use shortrun_fid::{Moments, frechet_distance};
//!
//! # fn main() -> Result<(), shortrun_fid::FidError> {
//! let gaussian = |rows: &[f32]| {
//!     let mut moments = Moments::new(2);
//!     moments.push(rows);
//!     moments.gaussian()
//! };
//! let here = gaussian(&[0.0, 0.0, 2.0, 0.0, 0.0, 2.0])?;
//! let there = gaussian(&[3.0, 4.0, 5.0, 4.0, 3.0, 6.0])?;
//! assert!((frechet_distance(&here, &there)? - 25.0).abs() < 1e-9);
//! # Ok(())
//! # }
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod classifier;
mod error;
mod extract;
mod frechet;
mod gaussian_file;
mod inception;
mod moments;
mod neighbours;

pub use classifier::{Classifier, ClassifierOptions, Trained};
pub use error::FidError;
pub use extract::{Extracted, Extractor, as_saved, batches, extract};
pub use frechet::frechet_distance;
pub use gaussian_file::{GaussianFile, Origin};
pub use inception::{Inception, InceptionV3, InceptionV3Config, standard_weights};
pub use moments::{Gaussian, Moments};
pub use neighbours::{Features, PrecisionRecall, precision_recall};
