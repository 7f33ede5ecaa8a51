//! The counters of a run.

use serde::{Deserialize, Serialize};
use shortrun_langevin::StepSizes;

use crate::{Errors, TrainConfig, Tuned};

/// The counters of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Iterations done.
    pub iteration: u64,
    /// Updates not taken so far.
    pub skipped: u64,
    /// Updates not taken since the last one that was.
    pub skipped_in_a_row: u64,
    /// What the step sizes of the settings are multiplied by (every eta): 1, or less for a while
    /// after chains diverged.
    pub step_factor: f64,
    /// Its running mean. The learning rate is multiplied by the square of their quotient if that is
    /// below 1.
    #[serde(default = "one")]
    pub usual_step_factor: f64,
    /// How well images were explained of late, if that was measured.
    #[serde(default)]
    pub errors: Option<Errors>,
    /// Whether weights of before were gone back to since any were kept.
    #[serde(default)]
    pub went_back: bool,
    /// The step size as tuned so far, if it is tuned.
    #[serde(default)]
    pub tuned: Option<Tuned>,
    /// The iteration of the best checkpoint and its test error.
    pub best: Option<(u64, f64)>,
    /// Name of the data set.
    pub data: String,
    /// Number of training images.
    pub images: usize,
}

/// Of a run from before there was a running mean.
fn one() -> f64 {
    1.0
}

impl State {
    /// A run of these images that has not begun.
    pub fn new(data: &str, images: usize) -> Self {
        Self {
            iteration: 0,
            skipped: 0,
            skipped_in_a_row: 0,
            step_factor: 1.0,
            usual_step_factor: 1.0,
            errors: None,
            went_back: false,
            tuned: None,
            best: None,
            data: data.to_owned(),
            images,
        }
    }

    /// The step sizes at an iteration, counted from 0: as set or as tuned, in proportion to sigma if
    /// they follow it, and lowered for a while if chains diverged.
    pub fn step_sizes(&self, config: &TrainConfig, iteration: u64) -> StepSizes {
        let set = &config.langevin.step_size;
        let sizes = self.tuned.as_ref().map_or(set, |tuned| &tuned.step_sizes);
        sizes.scaled(config.step_scale(iteration) * self.step_factor)
    }
}
