//! A chain of inverse autoregressive steps.

use burn::{
    module::Module,
    prelude::*,
    tensor::activation::{log_sigmoid, sigmoid},
};
use shortrun_model::Init;

use super::{IafConfig, Made};
use crate::Gaussian;

/// Added to the gate's input, so that a step keeps most of its input at first (the paper advises a
/// start at +1 or +2).
const KEEPING: f64 = 2.0;

/// T inverse autoregressive steps, each with a network of its own. The order of the latents is
/// reversed from one step to the next.
#[derive(Module, Debug)]
pub struct Flow<B: Backend> {
    /// The network of each step, first step first.
    pub steps: Vec<Made<B>>,
}

impl<B: Backend> Flow<B> {
    /// Steps on `latent` dimensions, with starting weights from `init`.
    pub fn new(latent: usize, settings: &IafConfig, init: &mut Init<'_, B>) -> Self {
        Self {
            steps: (0..settings.steps)
                .map(|step| Made::new(latent, settings, step % 2 == 1, init))
                .collect(),
        }
    }

    /// The latents at the end of the flow, and the logarithm of its Jacobian's determinant.
    ///
    /// Each step takes m and s from the latents z and updates them in the numerically stable form, in
    /// which a gate keeps or replaces (Algorithm 1 of the paper):
    ///
    /// ```text
    /// z <- gate z + (1 - gate) m,    gate = sigmoid(s + 2)
    /// log|det| <- log|det| + sum log gate
    /// ```
    ///
    /// # Shapes
    /// `[n, d]` and context `[n, width]` to `[n, d]` and `[n]`
    pub fn forward(
        &self,
        latents: Tensor<B, 2>,
        context: Tensor<B, 2>,
    ) -> (Tensor<B, 2>, Tensor<B, 1>) {
        let [n, _] = latents.dims();
        let mut log_det = Tensor::zeros([n], &latents.device());
        let mut z = latents;
        for made in &self.steps {
            let (m, s) = made.forward(z.clone(), context.clone());
            let s = s + KEEPING;
            log_det = log_det + log_sigmoid(s.clone()).sum_dim(1).squeeze_dim(1);
            z = m.clone() + sigmoid(s) * (z - m);
        }
        (z, log_det)
    }

    /// Latents `[n, d]` of the posterior that begins as `start`, and `log q - log p` of them against
    /// the standard normal prior, `[n]`:
    ///
    /// ```text
    /// log q(z) = log N(noise; 0, I) - sum log scale - log|det|
    /// ```
    pub fn posterior(
        &self,
        start: &Gaussian<B>,
        context: Tensor<B, 2>,
        noise: Tensor<B, 2>,
    ) -> (Tensor<B, 2>, Tensor<B, 1>) {
        let (latents, log_det) = self.forward(start.at(noise.clone()), context);
        let sum = |of: Tensor<B, 2>| of.sum_dim(1).squeeze_dim::<1>(1);
        let squares = sum(latents.clone().square()) - sum(noise.square());
        let divergence = squares * 0.5 - sum(start.scale.clone().log()) - log_det;
        (latents, divergence)
    }
}
