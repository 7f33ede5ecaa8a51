//! A transition that leaves a tempered target invariant: Hamiltonian Monte Carlo (Duane et al.,
//! 1987; Neal, 2011). With one leapfrog step it is Langevin dynamics with a Metropolis correction
//! (MALA), and its step size is the eta of the short-run chain.

use burn::{prelude::*, tensor::TensorData};
use shortrun_langevin::EnergyGradient;

use super::position::{Position, half_square};
use crate::inference::host;

/// The random part of a transition.
pub(super) struct Chance<B: Backend> {
    /// Standard normal, `[n, d]`.
    pub(super) momentum: Tensor<B, 2>,
    /// Uniform on [0, 1), n of them.
    pub(super) uniform: Vec<f64>,
}

/// Decides from the logarithm of the acceptance ratio and a uniform number.
pub(super) type Accept = fn(f64, f64) -> bool;

/// The test of Metropolis et al.; what is not a number is refused.
pub(super) fn metropolis(log_ratio: f64, uniform: f64) -> bool {
    uniform.ln() < log_ratio
}

/// One transition at inverse temperature `beta` with step sizes `eta` `[n, 1]`, and the probability
/// that each move had of being taken.
pub(super) fn transition<B: Backend>(
    posterior: &impl EnergyGradient<B>,
    at: Position<B>,
    beta: f64,
    eta: &Tensor<B, 2>,
    leapfrogs: usize,
    chance: Chance<B>,
    accept: Accept,
) -> (Position<B>, Vec<f64>) {
    let (to, log_ratio) = propose(posterior, &at, beta, eta, leapfrogs, chance.momentum);
    let log_ratio: Vec<f64> = host(log_ratio).into_iter().map(f64::from).collect();
    let taken = log_ratio
        .iter()
        .zip(chance.uniform)
        .map(|(ratio, uniform)| accept(*ratio, uniform));
    let taken = TensorData::new(taken.collect::<Vec<bool>>(), [log_ratio.len(), 1]);
    let taken = Tensor::from_data(taken, &at.latents.device());
    let probability = log_ratio.into_iter().map(|ratio| match ratio {
        nan if nan.is_nan() => 0.0,
        ratio => ratio.exp().min(1.0),
    });
    (at.moved(to, taken), probability.collect())
}

/// Follows the Hamiltonian for some leapfrog steps, and says how much of it was lost on the way
/// (`[n, 1]`): that is the logarithm of the acceptance ratio.
fn propose<B: Backend>(
    posterior: &impl EnergyGradient<B>,
    at: &Position<B>,
    beta: f64,
    eta: &Tensor<B, 2>,
    leapfrogs: usize,
    momentum: Tensor<B, 2>,
) -> (Position<B>, Tensor<B, 2>) {
    let before = at.energy(beta) + half_square(momentum.clone());
    let half = eta.clone() * 0.5;
    let mut momentum = momentum - at.gradient(beta) * half.clone();
    let mut to = at.clone();
    for step in 1..=leapfrogs {
        to = Position::new(posterior, to.latents + momentum.clone() * eta.clone());
        let kick = if step == leapfrogs { &half } else { eta };
        momentum = momentum - to.gradient(beta) * kick.clone();
    }
    let after = to.energy(beta) + half_square(momentum);
    (to, before - after)
}
