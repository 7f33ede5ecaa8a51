//! The latents of new images.

use burn::{backend::Autodiff, prelude::*};

use super::{SearchConfig, to_ball};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// Lowers `loss`, `[n, d]` to `[n]`, by projected Adam from `start` `[n, d]`: every row on its own.
pub(super) fn minimise<B: Backend>(
    settings: SearchConfig,
    start: Tensor<B, 2>,
    loss: impl Fn(Tensor<Autodiff<B>, 2>) -> Tensor<Autodiff<B>, 1>,
) -> Tensor<B, 2> {
    let (mut mean, mut square) = (start.zeros_like(), start.zeros_like());
    let mut latents = start;
    for step in 1..=settings.steps {
        let leaf = Tensor::<Autodiff<B>, 2>::from_inner(latents.clone()).require_grad();
        let gradients = loss(leaf.clone()).sum().backward();
        let slope = leaf
            .grad(&gradients)
            .unwrap_or_else(|| latents.zeros_like());
        mean = mean * BETA1 + slope.clone() * (1.0 - BETA1);
        square = square * BETA2 + slope.square() * (1.0 - BETA2);
        let bias = |beta: f64| 1.0 - beta.powi(step as i32);
        let (mean, square) = (mean.clone() / bias(BETA1), square.clone() / bias(BETA2));
        let move_by = mean / (square.sqrt() + EPSILON) * settings.rate;
        latents = to_ball(latents - move_by);
    }
    latents
}
