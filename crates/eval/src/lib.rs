//! Looking at a trained generator: reconstruction, synthesis, inpainting, what each layer does,
//! interpolation, traces of the chain, the step-size problem, and pictures.

mod error;
mod grid;
mod hierarchy;
mod inference;
mod inpaint;
mod interpolation;
mod mask;
mod plot;
mod reconstruct;
mod sample;
mod step_size;
mod trace;

pub use error::EvalError;
pub use grid::Grid;
pub use hierarchy::{Estimate, Hierarchy, Redrawn, resample_layers};
pub use inference::{Inference, Inferred};
pub use inpaint::{Inpainting, inpaint};
pub use interpolation::{Interpolation, interpolate};
pub use mask::{Mask, Side};
pub use plot::{Panel, Plot, Series};
pub use reconstruct::{Reconstruction, mean_image_mse, reconstruct};
pub use sample::{prior_noise, sample, sample_batches};
pub use step_size::StepSizeTask;
pub use trace::{ChainTrace, trace};
