//! Looking at a trained generator: reconstruction, synthesis, inpainting, traces of the
//! chain, the step-size problem, and pictures.

mod error;
mod grid;
mod inference;
mod inpaint;
mod mask;
mod plot;
mod reconstruct;
mod sample;
mod step_size;
mod trace;

pub use error::EvalError;
pub use grid::Grid;
pub use inference::Inference;
pub use inpaint::{Inpainting, inpaint};
pub use mask::{Mask, Side};
pub use plot::{Panel, Plot, Series};
pub use reconstruct::{Reconstruction, mean_image_mse, reconstruct};
pub use sample::{sample, sample_batches};
pub use step_size::StepSizeTask;
pub use trace::{ChainTrace, trace};
