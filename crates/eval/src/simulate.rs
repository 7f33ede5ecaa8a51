//! Images of the model's own making, whose latents are known.

use burn::prelude::*;
use shortrun_langevin::{NoiseKey, Purpose};
use shortrun_model::{Generator, Learnable, Observation};

use crate::{
    EvalError,
    inference::{CHUNK, generate},
};

/// Images drawn from the model, with the latents that made them: each pair is a draw from the joint
/// distribution, so the latents are an exact sample of the posterior of their image.
#[derive(Clone, Debug)]
pub struct Simulated<B: Backend> {
    /// `e*`, from the prior: `[n, d]`.
    pub latents: Tensor<B, 2>,
    /// `x = g(e*) + N(0, σ²)`, not cut to [-1, 1]: `[n, c, h, w]`.
    pub observation: Observation<B>,
}

/// Draws `count` images of `latents` dimensions (d) each from the model with pixel noise `sigma`.
///
/// # Errors
/// If `count` is 0 or sigma makes no sense.
pub fn simulate<B: Backend, G: Learnable<B>>(
    generator: &G,
    latents: usize,
    sigma: f64,
    count: usize,
    seed: u64,
    device: &B::Device,
) -> Result<Simulated<B>, EvalError> {
    if count == 0 {
        return Err(EvalError::NoImages);
    }
    let key = NoiseKey {
        seed,
        iteration: 0,
        purpose: Purpose::Simulation,
    };
    let noise: Tensor<B, 2> = key.normal([count, latents], 0, device);
    let latents = generator.valid().latents_from_noise(noise);
    let clean = latents.clone().split(CHUNK, 0).into_iter();
    let clean = Tensor::cat(clean.map(|some| generate(generator, some)).collect(), 0);
    let pixels = key.normal(clean.dims(), 1, device);
    Ok(Simulated {
        latents,
        observation: Observation::new(clean + pixels * sigma, sigma)?,
    })
}
