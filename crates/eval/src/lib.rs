//! Looking at a trained generator: reconstruction, synthesis, inpainting, what each layer does,
//! interpolation, traces of the chain, the step-size problem, likelihood, calibration, and pictures.

mod bars;
mod calibration;
mod error;
mod grid;
mod hierarchy;
mod inference;
mod inpaint;
mod interpolation;
mod likelihood;
#[cfg(test)]
mod linear_gaussian;
mod mask;
mod plot;
mod reconstruct;
mod sample;
mod simulate;
mod step_size;
mod trace;

pub use bars::Bars;
pub use calibration::{Calibration, LayerCalibration, RankTest, Spread, calibrate};
pub use error::EvalError;
pub use grid::Grid;
pub use hierarchy::{Estimate, Hierarchy, Redrawn, resample_layers};
pub use inference::{Inference, Inferred, host, image_batches};
pub use inpaint::{Inpainting, inpaint};
pub use interpolation::{Interpolation, interpolate};
pub use likelihood::{
    Annealing, Bounds, Likelihood, LogDensity, Schedule, bits_per_dimension,
    bits_per_dimension_of_bytes,
};
pub use mask::{Mask, Side};
pub use plot::{Panel, Plot, Series};
pub use reconstruct::{Reconstruction, mean_image_mse, reconstruct, reconstruct_by};
pub use sample::{prior_noise, sample, sample_batches};
pub use simulate::{Simulated, simulate};
pub use step_size::StepSizeTask;
pub use trace::{ChainTrace, trace};
