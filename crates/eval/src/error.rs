//! What can go wrong when looking at a model.

use std::path::PathBuf;

use shortrun_data::ImageShape;
use shortrun_langevin::ChainError;
use shortrun_model::ObservationError;
use shortrun_stepsize_vi::ObjectiveError;
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
    /// The step-size objective cannot be evaluated as asked.
    #[error(transparent)]
    Objective(#[from] ObjectiveError),
    /// A mask that leaves nothing to explain.
    #[error("the mask hides every pixel of image {0}: there is nothing to infer latents from")]
    NothingSeen(usize),
    /// A mask that makes no sense or does not fit.
    #[error("mask '{mask}': {reason}")]
    Mask {
        /// As it was written.
        mask: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file could not be written.
    #[error("cannot write {path}: {reason}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system or the encoder said.
        reason: String,
    },
    /// A plot that cannot be drawn.
    #[error("cannot plot '{title}': {reason}")]
    Plot {
        /// Its title.
        title: String,
        /// Why not.
        reason: String,
    },
    /// A picture that cannot be encoded.
    #[error("cannot make a PNG: {0}")]
    Picture(String),
    /// Annealing starts at a standard normal prior.
    #[error(
        "the likelihood is annealed from standard normal latents; use the generator in its \
         non-centred form (generator.parameterisation = \"non-centred\"), which is the same model"
    )]
    NotStandardNormal,
    /// A setting of an estimate that makes no sense.
    #[error("{setting} {reason}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What is wrong with it, and what would do.
        reason: String,
    },
    /// Images of another shape than the generator's.
    #[error(
        "the images are {images} (channels x height x width), those of the generator {generator}"
    )]
    ImageShape {
        /// Of the images.
        images: ImageShape,
        /// Of the generator.
        generator: ImageShape,
    },
    /// An interpolation without both ends.
    #[error("an interpolation needs at least 2 frames, its ends; found {0}")]
    Frames(usize),
    /// No images to look at.
    #[error("there are no images to look at; ask for a count of at least 1")]
    NoImages,
}
