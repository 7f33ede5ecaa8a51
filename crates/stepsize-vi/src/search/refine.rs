//! A coarse grid, then golden sections.

use burn::prelude::*;
use serde::{Deserialize, Serialize};
use shortrun_langevin::StepSizes;

use super::{Trials, all_alike, eta, with_one};
use crate::ObjectiveError;

/// A coarse grid, evenly spaced in `log eta`, then golden sections (Kiefer, 1953) between the
/// neighbours of its best point until the bracket is narrower than the tolerance.
///
/// With one size for each step or layer, all sizes alike come first; then each in turn is refined
/// within a factor of [`spread`](Self::spread) with the others held.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RefineSearch {
    /// The smallest eta.
    pub smallest: f64,
    /// The largest eta.
    pub largest: f64,
    /// Points of the coarse grid, ends included.
    pub points: usize,
    /// The relative width of eta's bracket at which the search ends.
    pub tolerance: f64,
    /// How far a single size may leave the best common one, as a factor of eta.
    pub spread: f64,
}

impl Default for RefineSearch {
    /// From 0.005 to 0.5 in 9 points, to 1 %; single sizes within a factor of 3.
    fn default() -> Self {
        Self {
            smallest: 0.005,
            largest: 0.5,
            points: 9,
            tolerance: 0.01,
            spread: 3.0,
        }
    }
}

impl RefineSearch {
    /// `false` if the best common size is at an end of the range.
    pub(super) fn run<B: Backend>(
        &self,
        trials: &mut Trials<'_, B>,
        start: &StepSizes,
    ) -> Result<bool, ObjectiveError> {
        self.check()?;
        let value = |log_eta: f64, trials: &mut Trials<'_, B>| {
            trials.value(&all_alike(start, eta("refine", log_eta.exp())?))
        };
        let (low, high) = (self.smallest.ln(), self.largest.ln());
        let gap = (high - low) / (self.points - 1) as f64;
        let mut best = (0, f64::INFINITY);
        for i in 0..self.points {
            let found = value(low + gap * i as f64, trials)?;
            if found < best.1 {
                best = (i, found);
            }
        }
        let middle = low + gap * best.0 as f64;
        let (from, to) = ((middle - gap).max(low), (middle + gap).min(high));
        self.golden(from, to, |log_eta| value(log_eta, trials))?;

        if start.sizes().len() > 1 {
            for at in 0..start.sizes().len() {
                let Some(held) = trials.best().cloned() else {
                    break;
                };
                let middle = held.sizes()[at].eta().ln();
                let reach = self.spread.ln();
                self.golden(middle - reach, middle + reach, |log_eta| {
                    trials.value(&with_one(&held, at, eta("refine", log_eta.exp())?))
                })?;
            }
        }
        Ok(best.0 > 0 && best.0 + 1 < self.points)
    }

    /// Narrows a bracket of the minimum down to the tolerance.
    fn golden(
        &self,
        mut from: f64,
        mut to: f64,
        mut value: impl FnMut(f64) -> Result<f64, ObjectiveError>,
    ) -> Result<(), ObjectiveError> {
        let ratio = (5f64.sqrt() - 1.0) / 2.0;
        let (mut left, mut right) = (to - ratio * (to - from), from + ratio * (to - from));
        let (mut at_left, mut at_right) = (value(left)?, value(right)?);
        while to - from > self.tolerance {
            // Both infinite: large steps explode, so the minimum lies to the left.
            if at_left <= at_right {
                (to, right, at_right) = (right, left, at_left);
                left = to - ratio * (to - from);
                at_left = value(left)?;
            } else {
                (from, left, at_left) = (left, right, at_right);
                right = from + ratio * (to - from);
                at_right = value(right)?;
            }
        }
        Ok(())
    }

    /// Whether the settings make sense.
    ///
    /// # Errors
    /// [`ObjectiveError::Setting`] names the first that does not.
    pub fn check(&self) -> Result<(), ObjectiveError> {
        let fault = |setting: &'static str, reason: String| {
            Err(ObjectiveError::Setting { setting, reason })
        };
        eta("refine.smallest", self.smallest)?;
        eta("refine.largest", self.largest)?;
        if self.largest <= self.smallest {
            let reason = format!("must be above refine.smallest; found {}", self.largest);
            return fault("refine.largest", reason);
        }
        if self.points < 3 {
            let reason = format!("must be at least 3; found {}", self.points);
            return fault("refine.points", reason);
        }
        if !(self.tolerance > 1e-6 && self.tolerance < 1.0) {
            let reason = format!("must be between 1e-6 and 1; found {}", self.tolerance);
            return fault("refine.tolerance", reason);
        }
        if !(self.spread.is_finite() && self.spread > 1.0) {
            let reason = format!("must be above 1; found {}", self.spread);
            return fault("refine.spread", reason);
        }
        Ok(())
    }
}
