//! Maximum likelihood by long chains.

use serde::{Deserialize, Serialize};
use shortrun_train::TrainConfig;

/// Maximum likelihood by Markov chain Monte Carlo, as nearly as it can be had: chains on the same
/// energy that are long and go on, for each training image, from where its last one ended. The
/// "exact" end of the scale whose other end is a short run.
///
/// So it is [`ShortRunMethod`](shortrun_train::ShortRunMethod) with other settings: these. Sigma and
/// step size stay those of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct McmcConfig {
    /// Langevin steps in each iteration.
    pub steps: usize,
}

impl Default for McmcConfig {
    /// 400 steps: the longest of the paper's comparison of lengths.
    fn default() -> Self {
        Self { steps: 400 }
    }
}

impl McmcConfig {
    /// The settings of a run, with these laid over them.
    pub fn over(&self, config: &TrainConfig) -> TrainConfig {
        let mut config = config.clone();
        config.langevin.steps = self.steps;
        config.langevin.persistent = true;
        // The objective is of chains that begin at the prior.
        config.step_size.every = 0;
        config
    }
}
