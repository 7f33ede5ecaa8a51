//! Gradient descent on `log s`.

use burn::prelude::*;
use serde::{Deserialize, Serialize};
use shortrun_langevin::StepSizes;

use super::{Adam, AdamState, Trials};
use crate::ObjectiveError;

/// Adam on `log s` from the start, with a rate that falls to zero as half a cosine over the
/// iterations.
///
/// It ends once every `|dF / d log s|` is below the tolerance, or once every `log s` has stayed
/// within [`settled`](Self::settled) for 8 iterations: on few examples the exact objective has
/// kinks (where an eigenvalue of `I - s H` passes 0) at which no slope is small. Where a chain
/// explodes all step sizes are halved and the moments forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GradientSearch {
    /// The optimiser.
    pub adam: Adam,
    /// The most iterations.
    pub iterations: usize,
    /// `|dF / d log s|` (nats) below which the search ends.
    pub tolerance: f64,
    /// The range of `log s` over 8 iterations below which the search ends.
    pub settled: f64,
}

/// Iterations over which a search must have settled.
const WINDOW: usize = 8;

impl Default for GradientSearch {
    /// At most 60 iterations, to 0.02 nats or 2 % of eta.
    fn default() -> Self {
        Self {
            adam: Adam::default(),
            iterations: 60,
            tolerance: 0.02,
            settled: 0.04,
        }
    }
}

impl GradientSearch {
    /// Whether it ended before its last iteration.
    pub(super) fn run<B: Backend>(
        &self,
        trials: &mut Trials<'_, B>,
        start: &StepSizes,
    ) -> Result<bool, ObjectiveError> {
        self.check()?;
        let mut sizes = start.clone();
        let mut state = AdamState::default();
        let mut way: Vec<Vec<f64>> = Vec::new();
        for iteration in 0..self.iterations {
            let (value, slope) = trials.slope(&sizes)?;
            if !(value.is_finite() && slope.iter().all(|slope| slope.is_finite())) {
                sizes = sizes.scaled(0.5f64.sqrt());
                state = AdamState::default();
                continue;
            }
            if slope.iter().all(|slope| slope.abs() < self.tolerance) {
                return Ok(true);
            }
            way.push(
                sizes
                    .sizes()
                    .iter()
                    .map(|step| 2.0 * step.eta().ln())
                    .collect(),
            );
            if self.has_settled(&way) {
                return Ok(true);
            }
            let done = iteration as f64 / self.iterations as f64;
            let rate = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
            sizes = self.adam.update(&mut state, &sizes, &slope, rate);
        }
        Ok(false)
    }

    /// `way`: `log s` by iteration.
    fn has_settled(&self, way: &[Vec<f64>]) -> bool {
        let Some(last) = way.len().checked_sub(WINDOW).map(|from| &way[from..]) else {
            return false;
        };
        (0..last[0].len()).all(|size| {
            let along = || last.iter().map(|logs| logs[size]);
            let (low, high) = (
                along().fold(f64::MAX, f64::min),
                along().fold(f64::MIN, f64::max),
            );
            high - low < self.settled
        })
    }

    fn check(&self) -> Result<(), ObjectiveError> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        self.adam.check()?;
        let faults = [
            (
                self.iterations == 0,
                "gradient.iterations",
                "must be at least 1",
            ),
            (
                !positive(self.tolerance),
                "gradient.tolerance",
                "must be above 0",
            ),
            (
                !positive(self.settled),
                "gradient.settled",
                "must be above 0",
            ),
        ];
        match faults.into_iter().find(|(wrong, ..)| *wrong) {
            Some((_, setting, reason)) => Err(ObjectiveError::Setting {
                setting,
                reason: reason.to_owned(),
            }),
            None => Ok(()),
        }
    }
}
