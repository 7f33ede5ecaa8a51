//! Adam on the logarithms of the drifts.

use serde::{Deserialize, Serialize};
use shortrun_langevin::{StepSize, StepSizes};

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

/// As PyTorch's default.
const EPSILON: f64 = 1e-8;

impl Adam {
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
