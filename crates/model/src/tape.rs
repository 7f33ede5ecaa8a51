//! The posterior of any generator, differentiated by Burn's autodiff tape.

use burn::{prelude::*, tensor::backend::AutodiffBackend};
use shortrun_langevin::{EnergyGradient, gradient_by_autodiff};

use crate::{Generator, Observation};

/// Energy and gradient of a generator's posterior by reverse-mode automatic differentiation.
///
/// It works for every [`Generator`]; the built-in one has a faster way, the
/// [`ExplicitPosterior`](crate::ExplicitPosterior).
#[derive(Clone, Debug)]
pub struct TapePosterior<AB: AutodiffBackend, G> {
    generator: G,
    observation: Observation<AB>,
}

impl<AB: AutodiffBackend, G: Generator<AB>> TapePosterior<AB, G> {
    /// The posterior of `observation` under the present weights.
    pub fn new(generator: G, observation: Observation<AB::InnerBackend>) -> Self {
        Self {
            // Gradients flow to the latents only.
            generator: generator.no_grad(),
            observation: Observation::from_inner(observation),
        }
    }
}

impl<AB: AutodiffBackend, G: Generator<AB>> EnergyGradient<AB::InnerBackend>
    for TapePosterior<AB, G>
{
    fn energy_and_gradient(
        &self,
        latents: Tensor<AB::InnerBackend, 2>,
    ) -> (Tensor<AB::InnerBackend, 1>, Tensor<AB::InnerBackend, 2>) {
        gradient_by_autodiff::<AB>(latents, |latents| {
            self.generator.energy(latents, &self.observation)
        })
    }
}
