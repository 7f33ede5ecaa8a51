//! What a chain needs to know of a posterior: its energy and the gradient of that energy.

use burn::{backend::Autodiff, prelude::*, tensor::backend::AutodiffBackend};

use crate::{Noise, ShortRun};

/// An unnormalised posterior over flat latent vectors: the one method a user has to write.
///
/// The energy is `U(e) = -log p(x, e)` up to a constant that does not depend on `e`. Rows are
/// independent examples: row `i` of the result may depend on row `i` of the latents only.
pub trait Posterior<B: Backend> {
    /// Energies `[n]` (nats) of latents `[n, d]`.
    fn energy(&self, latents: Tensor<B, 2>) -> Tensor<B, 1>;

    /// The posterior of every example `times` times over, the copies one after the other; `None`
    /// (the default) if that cannot be had. With it, second derivatives work on many directions at
    /// once rather than on one.
    fn repeated(&self, times: usize) -> Option<Self>
    where
        Self: Sized,
    {
        let _ = times;
        None
    }
}

/// Energy and gradient in the latents, by whatever means: what the chain runs on.
///
/// [`ByAutodiff`] gives it for every [`Posterior`]; a model with an explicit gradient implements
/// it directly.
pub trait EnergyGradient<B: Backend> {
    /// Energies `[n]` and gradients `[n, d]` of latents `[n, d]`.
    fn energy_and_gradient(&self, latents: Tensor<B, 2>) -> (Tensor<B, 1>, Tensor<B, 2>);

    /// The whole of `chain` from `start` `[n, d]` by a faster way than step after step: its end
    /// `[n, d]` and the energies before each step `[K, n]`. `None`, the default, if there is none.
    ///
    /// [`Noise::Keyed`] may be drawn by other means than [`NoiseKey`](crate::NoiseKey)'s, as long as
    /// it depends on key, step and place alone. Shapes and sizes have been checked.
    fn whole_chain(
        &self,
        chain: &ShortRun,
        start: &Tensor<B, 2>,
        noise: &Noise<B>,
    ) -> Option<(Tensor<B, 2>, Tensor<B, 2>)> {
        let _ = (chain, start, noise);
        None
    }
}

impl<B: Backend, P: EnergyGradient<B> + ?Sized> EnergyGradient<B> for Box<P> {
    fn energy_and_gradient(&self, latents: Tensor<B, 2>) -> (Tensor<B, 1>, Tensor<B, 2>) {
        (**self).energy_and_gradient(latents)
    }

    fn whole_chain(
        &self,
        chain: &ShortRun,
        start: &Tensor<B, 2>,
        noise: &Noise<B>,
    ) -> Option<(Tensor<B, 2>, Tensor<B, 2>)> {
        (**self).whole_chain(chain, start, noise)
    }
}

/// Energies `[n]` and their gradients `[n, d]` in the latents, by reverse-mode automatic
/// differentiation of `energy`, whose rows must be independent.
pub fn gradient_by_autodiff<AB: AutodiffBackend>(
    latents: Tensor<AB::InnerBackend, 2>,
    energy: impl FnOnce(Tensor<AB, 2>) -> Tensor<AB, 1>,
) -> (Tensor<AB::InnerBackend, 1>, Tensor<AB::InnerBackend, 2>) {
    let leaf = Tensor::<AB, 2>::from_inner(latents.clone()).require_grad();
    let energy = energy(leaf.clone());
    // Rows are independent, so the gradient of the sum holds the gradient of each row.
    let gradients = energy.clone().sum().backward();
    let gradient = leaf
        .grad(&gradients)
        .unwrap_or_else(|| latents.zeros_like());
    (energy.inner(), gradient)
}

/// The gradient of any [`Posterior`], by [`gradient_by_autodiff`].
///
/// Freeze the weights of a network (`Module::no_grad`) before wrapping it, or the tape also
/// carries their gradients.
#[derive(Clone, Debug)]
pub struct ByAutodiff<P>(pub P);

impl<B: Backend, P: Posterior<Autodiff<B>>> EnergyGradient<B> for ByAutodiff<P> {
    fn energy_and_gradient(&self, latents: Tensor<B, 2>) -> (Tensor<B, 1>, Tensor<B, 2>) {
        gradient_by_autodiff::<Autodiff<B>>(latents, |latents| self.0.energy(latents))
    }
}
