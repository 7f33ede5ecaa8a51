//! Where chains are, with what the tempered targets need to know there.

use burn::prelude::*;
use shortrun_langevin::EnergyGradient;

/// Positions with their misfit, which gives energy and gradient at every temperature: with
/// `V(e) = |x - g(e)|² / (2 σ²)` the target at β has the energy `U_β(e) = |e|²/2 + β V(e)`, that of
/// pixel noise `σ / √β`, and one evaluation of `U = U_1` and its gradient tells `V = U - |e|²/2` and
/// `∇V = ∇U - e`.
#[derive(Clone, Debug)]
pub(super) struct Position<B: Backend> {
    /// `[n, d]`.
    pub(super) latents: Tensor<B, 2>,
    /// V, `[n, 1]`.
    pub(super) misfit: Tensor<B, 2>,
    /// ∇V, `[n, d]`.
    slope: Tensor<B, 2>,
}

impl<B: Backend> Position<B> {
    pub(super) fn new(posterior: &impl EnergyGradient<B>, latents: Tensor<B, 2>) -> Self {
        let (energy, gradient) = posterior.energy_and_gradient(latents.clone());
        Self {
            misfit: energy.unsqueeze_dim(1) - half_square(latents.clone()),
            slope: gradient - latents.clone(),
            latents,
        }
    }

    /// `U_β`, `[n, 1]`.
    pub(super) fn energy(&self, beta: f64) -> Tensor<B, 2> {
        half_square(self.latents.clone()) + self.misfit.clone() * beta
    }

    /// `∇U_β`, `[n, d]`.
    pub(super) fn gradient(&self, beta: f64) -> Tensor<B, 2> {
        self.latents.clone() + self.slope.clone() * beta
    }

    /// The other position in the rows where `other` says so: `[n, 1]`.
    pub(super) fn moved(self, to: Self, other: Tensor<B, 2, Bool>) -> Self {
        let whole = other.clone().expand(self.latents.dims());
        Self {
            latents: self.latents.mask_where(whole.clone(), to.latents),
            misfit: self.misfit.mask_where(other, to.misfit),
            slope: self.slope.mask_where(whole, to.slope),
        }
    }
}

/// `|row|² / 2`: `[n, d]` to `[n, 1]`.
pub(super) fn half_square<B: Backend>(rows: Tensor<B, 2>) -> Tensor<B, 2> {
    rows.square().sum_dim(1) * 0.5
}
