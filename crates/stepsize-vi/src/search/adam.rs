//! Adam on the logarithms of the drifts.

use serde::{Deserialize, Serialize};
use shortrun_langevin::{StepSize, StepSizes};

use crate::ObjectiveError;

/// Adam (Kingma and Ba, 2015) on `log s`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Adam {
    /// The learning rate: about how much `log s` moves in one update.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
}

impl Default for Adam {
    /// Learning rate 0.1, decays 0.9 and 0.99 (there are few updates).
    fn default() -> Self {
        Self {
            learning_rate: 0.1,
            beta1: 0.9,
            beta2: 0.99,
        }
    }
}

/// Moments and count of updates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdamState {
    first: Vec<f64>,
    second: Vec<f64>,
    updates: u64,
}

/// The most that `log s` may move in one update: a factor of 22,000.
const FASTEST: f64 = 10.0;

/// As PyTorch's default.
const EPSILON: f64 = 1e-8;

impl Adam {
    /// Whether the settings make sense.
    ///
    /// # Errors
    /// [`ObjectiveError::Setting`] names the first that does not.
    pub fn check(&self) -> Result<(), ObjectiveError> {
        let fault = |setting, reason: &str, found: f64| {
            Err(ObjectiveError::Setting {
                setting,
                reason: format!("{reason}; found {found}"),
            })
        };
        if !(self.learning_rate > 0.0 && self.learning_rate <= FASTEST) {
            let reason = "must be above 0 and at most 10 (of log s, in one update)";
            return fault("adam.learning_rate", reason, self.learning_rate);
        }
        for (setting, beta) in [("adam.beta1", self.beta1), ("adam.beta2", self.beta2)] {
            if !(0.0..1.0).contains(&beta) {
                return fault(setting, "must be in [0, 1)", beta);
            }
        }
        Ok(())
    }

    /// One update of the step sizes against `dF / d log s`, with the learning rate times `rate`.
    pub fn update(
        &self,
        state: &mut AdamState,
        sizes: &StepSizes,
        by_log_drift: &[f64],
        rate: f64,
    ) -> StepSizes {
        state.updates += 1;
        state.first.resize(by_log_drift.len(), 0.0);
        state.second.resize(by_log_drift.len(), 0.0);
        let correction = |beta: f64| 1.0 - beta.powf(state.updates as f64);
        let (first, second) = (correction(self.beta1), correction(self.beta2));
        let moments = state.first.iter_mut().zip(&mut state.second);
        let moved = moments.zip(by_log_drift).zip(sizes.sizes());
        let moved: Vec<StepSize> = moved
            .map(|(((m, v), slope), step)| {
                *m = self.beta1 * *m + (1.0 - self.beta1) * slope;
                *v = self.beta2 * *v + (1.0 - self.beta2) * slope * slope;
                let change = (*m / first) / ((*v / second).sqrt() + EPSILON);
                // log s = 2 log eta + const
                step.scaled((-0.5 * rate * self.learning_rate * change).exp())
            })
            .collect();
        sizes.with_sizes(moved)
    }
}
