//! The derivative of an objective in every step size.

use serde::Serialize;
use shortrun_langevin::StepSizes;

use crate::Evaluation;

/// An objective and its derivatives in the drifts of the step sizes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Slope {
    /// The objective.
    pub evaluation: Evaluation,
    /// `dF/ds`, averaged over the examples, for each of [`StepSizes::sizes`]. Not finite if a chain
    /// exploded.
    pub by_drift: Vec<f64>,
}

impl Slope {
    /// `dF / d log s` for each step size.
    pub fn by_log_drift(&self, sizes: &StepSizes) -> Vec<f64> {
        let pairs = self.by_drift.iter().zip(sizes.sizes());
        pairs.map(|(slope, step)| slope * step.drift()).collect()
    }
}

/// Collects `dF/ds` of every step k and dimension j into that of each step size.
pub(crate) struct SlopeSum<'a> {
    sizes: &'a StepSizes,
    by_drift: Vec<f64>,
    examples: usize,
}

impl<'a> SlopeSum<'a> {
    pub(crate) fn new(sizes: &'a StepSizes, examples: usize) -> Self {
        Self {
            sizes,
            by_drift: vec![0.0; sizes.sizes().len()],
            examples,
        }
    }

    /// Adds one example's derivatives at step `k`, one for each dimension.
    pub(crate) fn add(&mut self, k: usize, by_dimension: &[f64]) {
        match self.sizes {
            StepSizes::Constant(_) => self.by_drift[0] += by_dimension.iter().sum::<f64>(),
            StepSizes::PerStep(_) => self.by_drift[k] += by_dimension.iter().sum::<f64>(),
            StepSizes::PerLayer { layers, .. } => {
                for (sum, columns) in self.by_drift.iter_mut().zip(layers.ranges()) {
                    *sum += by_dimension[columns].iter().sum::<f64>();
                }
            }
        }
    }

    pub(crate) fn finish(mut self, evaluation: Evaluation) -> Slope {
        let examples = self.examples as f64;
        if evaluation.mean().is_infinite() {
            self.by_drift.fill(f64::NAN);
        }
        Slope {
            by_drift: self.by_drift.iter().map(|sum| sum / examples).collect(),
            evaluation,
        }
    }
}
