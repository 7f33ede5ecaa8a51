//! Synthesis: images of latents drawn from the prior.

use burn::prelude::*;
use shortrun_langevin::{LatentLayers, NoiseKey, Purpose};
use shortrun_model::{Generator, Learnable};

use crate::{EvalError, inference::images_of};

/// `count` images `[n, c, h, w]` in [-1, 1], row by row, of latents drawn from the prior.
///
/// # Errors
/// If `count` is 0.
pub fn sample<B: Backend, G: Learnable<B>>(
    generator: &G,
    layers: &LatentLayers,
    count: usize,
    seed: u64,
    device: &B::Device,
) -> Result<Vec<f32>, EvalError> {
    if count == 0 {
        return Err(EvalError::NoImages);
    }
    let noise = prior_noise(layers, count, seed, device);
    Ok(images_of_noise(generator, noise))
}

/// The noise `[count, d]` behind the images of [`sample`] with the same seed.
pub fn prior_noise<B: Backend>(
    layers: &LatentLayers,
    count: usize,
    seed: u64,
    device: &B::Device,
) -> Tensor<B, 2> {
    noise_of(seed, 0, [count, layers.dim()], device)
}

/// Standard normal numbers for images that are generated; each `draw` has its own.
pub(crate) fn noise_of<B: Backend>(
    seed: u64,
    draw: u64,
    shape: [usize; 2],
    device: &B::Device,
) -> Tensor<B, 2> {
    let key = NoiseKey {
        seed,
        iteration: draw,
        purpose: Purpose::Samples,
    };
    key.normal(shape, 0, device)
}

/// Images `[n, c, h, w]` on the host, row by row, of standard normal noise `[n, d]`.
pub(crate) fn images_of_noise<B: Backend, G: Learnable<B>>(
    generator: &G,
    noise: Tensor<B, 2>,
) -> Vec<f32> {
    images_of(generator, generator.valid().latents_from_noise(noise))
}
