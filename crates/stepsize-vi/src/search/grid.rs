//! Every step size of a list.

use burn::prelude::*;
use serde::{Deserialize, Serialize};
use shortrun_langevin::{StepSize, StepSizes};

use super::{Trials, all_alike, eta, with_one};
use crate::ObjectiveError;

/// Every step size of a list.
///
/// With one size for each step or layer, the list is first tried with all sizes alike, then for
/// each size in turn with the others held: one pass of coordinate descent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GridSearch {
    /// What to try, in the eta convention.
    pub etas: Vec<f64>,
}

impl Default for GridSearch {
    /// The paper's grid: eta from 0.01 to 0.15 in steps of 0.01.
    fn default() -> Self {
        Self {
            etas: (1..=15).map(|i| f64::from(i) / 100.0).collect(),
        }
    }
}

const NAME: &str = "grid.etas";

impl GridSearch {
    /// The step sizes to try.
    ///
    /// # Errors
    /// [`ObjectiveError::Setting`] if there are none, or one is not above 0.
    pub fn steps(&self) -> Result<Vec<StepSize>, ObjectiveError> {
        if self.etas.is_empty() {
            return Err(ObjectiveError::Setting {
                setting: NAME,
                reason: "must hold at least one step size; found none".to_owned(),
            });
        }
        self.etas.iter().map(|value| eta(NAME, *value)).collect()
    }

    /// `false` if the best constant size is the first or last of the list.
    pub(super) fn run<B: Backend>(
        &self,
        trials: &mut Trials<'_, B>,
        start: &StepSizes,
    ) -> Result<bool, ObjectiveError> {
        let mut steps = self.steps()?;
        steps.sort_by(|a, b| a.eta().total_cmp(&b.eta()));
        for step in &steps {
            trials.value(&all_alike(start, *step))?;
        }
        let Some(alike) = trials.best().cloned() else {
            return Ok(false);
        };
        if start.sizes().len() > 1 {
            for at in 0..start.sizes().len() {
                let held = trials.best().unwrap_or(&alike).clone();
                for step in steps.iter().filter(|step| **step != held.sizes()[at]) {
                    trials.value(&with_one(&held, at, *step))?;
                }
            }
        }
        let edge = |step: Option<&StepSize>| step == alike.sizes().first();
        Ok(!edge(steps.first()) && !edge(steps.last()))
    }
}
