//! Synthesis: images of latents drawn from the prior.

use burn::prelude::*;
use shortrun_langevin::{LatentLayers, NoiseKey, Purpose};
use shortrun_model::{Generator, Learnable};

use crate::{
    EvalError,
    inference::{CHUNK, generate, host},
};

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
    let key = NoiseKey {
        seed,
        iteration: 0,
        purpose: Purpose::Samples,
    };
    let noise: Tensor<B, 2> = key.normal([count, layers.dim()], 0, device);
    let images = noise.split(CHUNK, 0).into_iter().flat_map(|noise| {
        let latents = generator.valid().latents_from_noise(noise);
        host(generate(generator, latents))
    });
    Ok(images.collect())
}
