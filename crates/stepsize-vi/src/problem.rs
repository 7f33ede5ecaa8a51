//! The random numbers that step sizes are compared on.

use burn::prelude::*;
use shortrun_langevin::{ChainError, NoiseKey, StepSizes};

use crate::{ObjectiveError, chain::host};

/// Starts and noise of the chains, held fixed while the step size varies (common random numbers).
#[derive(Clone, Debug)]
pub struct Problem<B: Backend> {
    start: Tensor<B, 2>,
    log_start: Vec<f64>,
    noise: Tensor<B, 3>,
    log_normaliser: f64,
}

impl<B: Backend> Problem<B> {
    /// Chains from `start` `[n, d]`, drawn from the standard normal distribution, with standard
    /// normal `noise` `[K, n, d]`.
    ///
    /// # Errors
    /// If there are no examples or no steps, or the shapes do not fit.
    pub fn new(start: Tensor<B, 2>, noise: Tensor<B, 3>) -> Result<Self, ObjectiveError> {
        let ([n, d], [steps, ..]) = (start.dims(), noise.dims());
        let expected = [steps, n, d];
        if n == 0 {
            return Err(ObjectiveError::NoExamples);
        }
        if steps == 0 {
            return Err(ChainError::NoSteps.into());
        }
        if noise.dims() != expected {
            let found = noise.dims();
            return Err(ChainError::NoiseShape { found, expected }.into());
        }
        let half_square = start.clone().square().sum_dim(1).squeeze_dim::<1>(1) * -0.5;
        Ok(Self {
            log_start: host(half_square),
            start,
            noise,
            log_normaliser: 0.0,
        })
    }

    /// `[n, d]` starts and the noise of `steps` steps, drawn from a key.
    ///
    /// # Errors
    /// If n or `steps` is 0.
    pub fn drawn(
        key: NoiseKey,
        [n, d]: [usize; 2],
        steps: usize,
        device: &B::Device,
    ) -> Result<Self, ObjectiveError> {
        let start = key.normal([n, d], 0, device);
        if steps == 0 {
            return Err(ChainError::NoSteps.into());
        }
        let noise = (1..=steps as u64).map(|stream| key.normal::<B, 3>([1, n, d], stream, device));
        Self::new(start, Tensor::cat(noise.collect(), 0))
    }

    /// For starts that are not standard normal: `log p(e_0)` of each, without its
    /// `(d/2) log 2π`.
    ///
    /// # Errors
    /// If there is not one for each start.
    pub fn with_log_start(mut self, log_start: Vec<f64>) -> Result<Self, ObjectiveError> {
        let (found, expected) = (log_start.len(), self.examples());
        if found != expected {
            return Err(ObjectiveError::Densities { found, expected });
        }
        self.log_start = log_start;
        Ok(self)
    }

    /// The constant that the energy leaves out of `-log p(x | e)`, in nats: `(D/2) log(2π σ²)`
    /// for D observed values. It moves every objective by the same amount.
    pub fn with_log_normaliser(mut self, nats: f64) -> Self {
        self.log_normaliser = nats;
        self
    }

    /// n.
    pub fn examples(&self) -> usize {
        self.start.dims()[0]
    }

    /// K.
    pub fn steps(&self) -> usize {
        self.noise.dims()[0]
    }

    /// d.
    pub fn dim(&self) -> usize {
        self.start.dims()[1]
    }

    /// `e_0`, `[n, d]`.
    pub fn start(&self) -> &Tensor<B, 2> {
        &self.start
    }

    /// `log p(e_0)` of each start, without its `(d/2) log 2π`.
    pub(crate) fn log_start(&self) -> &[f64] {
        &self.log_start
    }

    /// `n_k`, `[n, d]`.
    pub(crate) fn noise(&self, k: usize) -> Tensor<B, 2> {
        self.noise.clone().slice_dim(0, k..k + 1).squeeze_dim(0)
    }

    /// `log p(x, e_K)` of an energy, without the `(d/2) log 2π` of the prior.
    pub(crate) fn log_joint(&self, energy: f64) -> f64 {
        -energy - self.log_normaliser
    }

    /// Whether chains of these sizes can be run at all.
    pub(crate) fn check(&self, sizes: &StepSizes) -> Result<(), ObjectiveError> {
        sizes.check(self.steps(), self.dim())?;
        if sizes.sizes().iter().any(|step| step.drift() == 0.0) {
            return Err(ObjectiveError::ZeroStep);
        }
        Ok(())
    }
}
