//! Chains through the temperatures, and the pilot run that finds their step sizes.

use burn::{prelude::*, tensor::TensorData};
use rand::RngExt;
use shortrun_langevin::{EnergyGradient, NoiseKey};

use super::{
    estimate::LogDensity,
    hamiltonian::{Accept, Chance, transition},
    position::Position,
};
use crate::inference::host;

/// Acceptance that step sizes are tuned for, as in Wu et al. (2017) and Neal (2011).
const ACCEPTANCE: f64 = 0.65;
/// How fast the pilot's log step sizes follow their acceptance.
const RATE: f64 = 0.25;
/// The pilot's transitions at the first temperature, to get from the first step size to a good one.
const WARM_UP: usize = 40;
/// A step size to begin with, for a standard normal target.
const FIRST_ETA: f64 = 0.5;

/// Chains of some images through the temperatures; rows are images, their chains one after the
/// other.
pub(super) struct Annealer {
    /// `β_0 = 0, …, β_T = 1`.
    pub(super) betas: Vec<f64>,
    pub(super) leapfrogs: usize,
    pub(super) accept: Accept,
    pub(super) images: usize,
    pub(super) chains: usize,
    /// d.
    pub(super) latents: usize,
    /// `(D/2) log(2π σ²)`.
    pub(super) log_normaliser: f64,
    pub(super) key: NoiseKey,
}

/// An inverse temperature, and the step size of each image there.
#[derive(Clone, Debug)]
pub(super) struct Temperature {
    pub(super) beta: f64,
    pub(super) eta: Vec<f64>,
}

/// Runs that share no random numbers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pass {
    Pilot,
    Forward,
    Reverse,
}

/// The logarithms of the weights of all chains.
pub(super) struct Weights {
    chains: usize,
    log_weights: Vec<f64>,
    /// Mean over the chain's transitions, by row.
    acceptance: Vec<f64>,
}

impl Annealer {
    /// Latents of every chain from the prior.
    pub(super) fn start<B: Backend>(&self, device: &B::Device) -> Tensor<B, 2> {
        self.normal(Pass::Forward, 0, device)
    }

    fn normal<B: Backend>(&self, pass: Pass, index: usize, device: &B::Device) -> Tensor<B, 2> {
        let shape = [self.images * self.chains, self.latents];
        self.key.normal(shape, stream(pass, index), device)
    }

    fn chance<B: Backend>(&self, pass: Pass, index: usize, device: &B::Device) -> Chance<B> {
        let mut rng = self.key.rng(stream(pass, index) + 1);
        let rows = self.images * self.chains;
        Chance {
            momentum: self.normal(pass, index, device),
            uniform: (0..rows).map(|_| rng.random()).collect(),
        }
    }

    /// One step size for each row, `[n, 1]`, of one for each image.
    fn rows<B: Backend>(&self, eta: &[f64], device: &B::Device) -> Tensor<B, 2> {
        let rows = eta
            .iter()
            .flat_map(|eta| std::iter::repeat_n(*eta as f32, self.chains));
        let rows = TensorData::new(rows.collect::<Vec<_>>(), [self.images * self.chains, 1]);
        Tensor::from_data(rows, device)
    }

    /// A run that is thrown away but for its step sizes, which follow the acceptance on the way.
    pub(super) fn pilot<B: Backend>(
        &self,
        posterior: &impl EnergyGradient<B>,
        device: &B::Device,
    ) -> Vec<Temperature> {
        let mut at = Position::new(posterior, self.normal(Pass::Pilot, 0, device));
        let mut eta = vec![FIRST_ETA; self.images];
        let mut index = 0;
        let mut path = vec![Temperature {
            beta: 0.0,
            eta: eta.clone(),
        }];
        for (t, beta) in self.betas.iter().copied().enumerate().skip(1) {
            // There is no transition at the last temperature.
            let transitions = match t {
                last if last + 1 == self.betas.len() => 0,
                1 => WARM_UP,
                _ => 1,
            };
            for _ in 0..transitions {
                index += 1;
                let chance = self.chance(Pass::Pilot, index, device);
                let sizes = self.rows(&eta, device);
                let (to, acceptance) = transition(
                    posterior,
                    at,
                    beta,
                    &sizes,
                    self.leapfrogs,
                    chance,
                    self.accept,
                );
                at = to;
                for (eta, acceptance) in eta.iter_mut().zip(acceptance.chunks(self.chains)) {
                    *eta *= (RATE * (mean(acceptance) - ACCEPTANCE)).exp();
                }
            }
            path.push(Temperature {
                beta,
                eta: eta.clone(),
            });
        }
        path
    }

    /// Takes the chains from `start` `[n, d]` along a path; its weights are those of the path's end
    /// against its beginning.
    pub(super) fn run<'a, B: Backend>(
        &self,
        posterior: &impl EnergyGradient<B>,
        path: impl DoubleEndedIterator<Item = &'a Temperature>,
        start: Tensor<B, 2>,
        pass: Pass,
    ) -> Weights {
        let device = start.device();
        let rows = start.dims()[0];
        let mut found = Weights {
            chains: self.chains,
            log_weights: vec![0.0; rows],
            acceptance: vec![0.0; rows],
        };
        let mut at = Position::new(posterior, start);
        let mut path = path.peekable();
        let mut beta = path.next().map_or(0.0, |first| first.beta);
        let mut index = 0;
        while let Some(next) = path.next() {
            let change = next.beta - beta;
            for (log_weight, misfit) in found.log_weights.iter_mut().zip(host(at.misfit.clone())) {
                *log_weight -= change * (f64::from(misfit) + self.log_normaliser);
            }
            beta = next.beta;
            if path.peek().is_none() {
                break;
            }
            index += 1;
            let chance = self.chance(pass, index, &device);
            let eta = self.rows(&next.eta, &device);
            let (to, acceptance) = transition(
                posterior,
                at,
                beta,
                &eta,
                self.leapfrogs,
                chance,
                self.accept,
            );
            at = to;
            for (sum, acceptance) in found.acceptance.iter_mut().zip(acceptance) {
                *sum += acceptance;
            }
        }
        for sum in &mut found.acceptance {
            // Without a transition nothing was refused.
            *sum = if index == 0 { 1.0 } else { *sum / index as f64 };
        }
        found
    }
}

/// Where a pass finds the numbers of its transition `index`: this stream and the next.
fn stream(pass: Pass, index: usize) -> u64 {
    let pass = match pass {
        Pass::Pilot => 0_u64,
        Pass::Forward => 1,
        Pass::Reverse => 2,
    };
    (pass << 40) + 2 * index as u64
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

impl Weights {
    /// The mean weight of each image.
    pub(super) fn densities(&self) -> Vec<LogDensity> {
        let images = self
            .log_weights
            .chunks(self.chains)
            .zip(self.acceptance.chunks(self.chains));
        images
            .map(|(weights, acceptance)| LogDensity::of(weights, mean(acceptance)))
            .collect()
    }
}
