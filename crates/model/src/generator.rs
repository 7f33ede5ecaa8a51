//! The one trait a user's own generator implements.

use burn::{
    backend::Autodiff,
    module::{AutodiffModule, Module},
    prelude::*,
    tensor::backend::AutodiffBackend,
};
use shortrun_langevin::{Curvature, EnergyGradient};

use crate::{Observation, TapePosterior};

/// A network that turns flat latent vectors into images.
///
/// [`forward`](Self::forward) is all a generator has to provide. Its latents then have a standard
/// normal prior, and energy, gradient, chain, training and reconstruction follow.
pub trait Generator<B: Backend>: Module<B> {
    /// Images `[n, c, h, w]`, values in [-1, 1], of latents `[n, d]`.
    fn forward(&self, latents: Tensor<B, 2>) -> Tensor<B, 4>;

    /// The energy `U(e) = |e|² / 2 + |x - g(e)|² / (2 σ²)` of each example, `[n]`, in nats.
    fn energy(&self, latents: Tensor<B, 2>, observation: &Observation<B>) -> Tensor<B, 1> {
        half_square(latents.clone()) + observation.energy(self.forward(latents))
    }

    /// Latents `[n, d]` drawn from the prior, given standard normal noise `[n, d]`: the noise
    /// itself, unless the generator's latents are not standard normal.
    fn latents_from_noise(&self, noise: Tensor<B, 2>) -> Tensor<B, 2> {
        noise
    }

    /// The inverse of [`latents_from_noise`](Self::latents_from_noise): the standard normal noise
    /// `[n, d]` behind latents `[n, d]`.
    fn noise_from_latents(&self, latents: Tensor<B, 2>) -> Tensor<B, 2> {
        latents
    }

    /// The posterior of an observation with the present weights, on the inner backend, for the
    /// chain to run on: by automatic differentiation, unless the generator knows a faster way.
    fn posterior(
        &self,
        observation: Observation<B::InnerBackend>,
    ) -> Box<dyn EnergyGradient<B::InnerBackend>>
    where
        B: AutodiffBackend,
        Self: 'static,
    {
        Box::new(TapePosterior::new(self.clone(), observation))
    }

    /// As [`posterior`](Self::posterior), with the second derivatives that the exact objective of
    /// the step sizes needs; `None`, the default, if the generator has none.
    ///
    /// A generator of your own can return nested autodiff, see
    /// [`NestedPosterior`](crate::NestedPosterior).
    fn curvature(
        &self,
        observation: Observation<B::InnerBackend>,
    ) -> Option<Box<dyn Curvature<B::InnerBackend>>>
    where
        B: AutodiffBackend,
        Self: 'static,
    {
        let _ = observation;
        None
    }
}

/// A generator that can be trained on backend `B`: shorthand for the bounds, implemented for every
/// module that meets them.
pub trait Learnable<B: Backend>:
    Generator<Autodiff<B>> + AutodiffModule<Autodiff<B>, InnerModule: Generator<B>> + 'static
{
}

impl<B: Backend, G> Learnable<B> for G where
    G: Generator<Autodiff<B>> + AutodiffModule<Autodiff<B>, InnerModule: Generator<B>> + 'static
{
}

/// `|row|² / 2` of each row `[n, d]`: the energy of standard normal latents, `[n]`.
pub(crate) fn half_square<B: Backend>(rows: Tensor<B, 2>) -> Tensor<B, 1> {
    rows.square().sum_dim(1).squeeze_dim(1) * 0.5
}
