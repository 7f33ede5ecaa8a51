//! What an inference network is, and the bound it is learned by.

use std::f64::consts::PI;

use burn::{module::Module, prelude::*};
use shortrun_model::{MultiLayerGenerator, Observation};

use crate::Gaussian;

/// A network that gives a posterior `q(e | x)` of a generator's latents in one pass.
pub trait InferenceNetwork<B: Backend>: Module<B> {
    /// The latents of images `[n, c, h, w]`, drawn from q by turning standard normal noise `[n, d]`
    /// into them, and what the generator makes of these.
    fn infer(
        &self,
        generator: &MultiLayerGenerator<B>,
        images: Tensor<B, 4>,
        noise: Tensor<B, 2>,
    ) -> Inferred<B>;
}

/// What a posterior makes of images.
#[derive(Clone, Debug)]
pub struct Inferred<B: Backend> {
    /// The images `[n, c, h, w]` of latents drawn from the posterior.
    pub generated: Tensor<B, 4>,
    /// `KL(q(e | x) || p(e))` of each example in nats, `[n]`: in closed form, or `log q - log p` at
    /// the latents drawn.
    pub divergence: Tensor<B, 1>,
}

impl<B: Backend> Inferred<B> {
    /// The loss of each example in nats, `[n]`, without the observation's constant
    /// `(D/2) log(2π σ²)`, as energies are given:
    ///
    /// ```text
    /// |x - g(e)|² / (2 σ²) + warmth KL(q(e | x) || p(e))
    /// ```
    ///
    /// With a warmth of 1 it is the negative evidence lower bound; see
    /// [`evidence_bound`](Self::evidence_bound).
    pub fn loss(&self, observation: &Observation<B>, warmth: f64) -> Tensor<B, 1> {
        observation.energy(self.generated.clone()) + self.divergence.clone() * warmth
    }

    /// The evidence lower bound of each example in nats, `[n]`, with all constants: in expectation
    /// over the noise never above `log p(x)`, and below it by `KL(q(e | x) || p(e | x))`.
    pub fn evidence_bound(&self, observation: &Observation<B>) -> Tensor<B, 1> {
        let constant = 0.5 * (2.0 * PI * observation.sigma().powi(2)).ln();
        let constants: Vec<f64> = observation
            .values_seen()
            .into_iter()
            .map(|values| constant * values)
            .collect();
        let constants = Tensor::from_data(constants.as_slice(), &self.divergence.device());
        -self.loss(observation, 1.0) - constants
    }
}

/// A generator whose latents can be chosen on the way down, one layer after another.
pub trait TopDown<B: Backend> {
    /// The sizes d_l of the layers, top first.
    fn layer_sizes(&self) -> &[usize];

    /// Images `[n, c, h, w]` of latents that `choose` gives for each layer, top first, `[n, d_l]`, told
    /// its place and the prior given the layers above, or `None` if the latents are standard normal
    /// whatever is above.
    fn choose_latents(
        &self,
        choose: &mut dyn FnMut(usize, Option<Gaussian<B>>) -> Tensor<B, 2>,
    ) -> Tensor<B, 4>;
}

impl<B: Backend> TopDown<B> for MultiLayerGenerator<B> {
    fn layer_sizes(&self) -> &[usize] {
        self.config().latents.sizes()
    }

    fn choose_latents(
        &self,
        choose: &mut dyn FnMut(usize, Option<Gaussian<B>>) -> Tensor<B, 2>,
    ) -> Tensor<B, 4> {
        self.descend(|layer, above| {
            let prior = above.map(|(stochastic, features)| {
                let (mean, scale) = stochastic.forward(features);
                Gaussian { mean, scale }
            });
            choose(layer, prior)
        })
    }
}
