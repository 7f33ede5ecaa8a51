//! Bytes as densities: dequantisation, and bits per dimension.
//!
//! The convention. A byte b (0 to 255) with uniform noise u in [0, 1) becomes
//! `y = (b + u) / 256 - 1/2`, in [-1/2, 1/2), and the flow is a density p(y). With D values an image,
//!
//! ```text
//! bits per dimension = -log2 p(y) / D + 8
//! ```
//!
//! where 8 = log2 256 turns the density of y into one of `b + u`. On average over u this is never
//! less than the bits per dimension of the probability that the model gives the bytes (Theis, van den
//! Oord and Bethge, 2016): the uniform distribution over bytes has 8.

use std::f64::consts::{LN_2, TAU};

use burn::{prelude::*, tensor::TensorData};
use rand::RngExt;
use shortrun_langevin::NoiseKey;

/// Values of a byte.
const BYTES: f64 = 256.0;

/// The y of images in [-1, 1], which hold bytes, with noise in [0, 1): all `[n, c, h, w]`.
pub fn dequantise<B: Backend>(images: Tensor<B, 4>, noise: Tensor<B, 4>) -> Tensor<B, 4> {
    let bytes = ((images + 1.0) * 127.5).round();
    (bytes + noise) / BYTES - 0.5
}

/// The y of the middle of each byte.
pub fn centred<B: Backend>(images: Tensor<B, 4>) -> Tensor<B, 4> {
    let half = images.zeros_like() + 0.5;
    dequantise(images, half)
}

/// The images in [-1, 1] of these y, continuous: the inverse of [`centred`]. What lies outside is
/// cut off.
pub fn to_images<B: Backend>(y: Tensor<B, 4>) -> Tensor<B, 4> {
    let bytes = (y + 0.5) * BYTES - 0.5;
    (bytes / 127.5 - 1.0).clamp(-1.0, 1.0)
}

/// Uniform noise in [0, 1) of this shape, drawn on the host.
pub fn byte_noise<B: Backend>(
    key: NoiseKey,
    shape: [usize; 4],
    device: &B::Device,
) -> Tensor<B, 4> {
    let mut rng = key.rng(0);
    let count = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..count).map(|_| rng.random()).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Bits per dimension of a log-density of y (nats) over `values` values.
pub fn bits_per_dimension(log_density: f64, values: usize) -> f64 {
    BYTES.log2() - log_density / (LN_2 * values as f64)
}

/// The log-density (nats) of images in [-1, 1], whose bytes are 1 / 127.5 apart, given that of their
/// y, over `values` values.
pub fn log_density_of_images(log_density: f64, values: usize) -> f64 {
    log_density - values as f64 * (BYTES / 127.5).ln()
}

/// `log N(e; 0, I)` of each row `[n, d]`: `[n]`, nats.
pub(crate) fn log_standard_normal<B: Backend>(noise: Tensor<B, 2>) -> Tensor<B, 1> {
    let d = noise.dims()[1] as f64;
    noise.square().sum_dim(1).squeeze_dim::<1>(1) * -0.5 - 0.5 * d * TAU.ln()
}
