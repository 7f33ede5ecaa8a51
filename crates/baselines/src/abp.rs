//! Alternating back-propagation.

use serde::{Deserialize, Serialize};
use shortrun_langevin::{StepSize, StepSizes};
use shortrun_train::{Sigma, TrainConfig};

use crate::McmcConfig;

/// Alternating back-propagation (Han, Lu, Zhu and Wu, 2017): short-run inference whose chains do not
/// start afresh but go on, for each training image, from where its last one ended.
///
/// So it is [`ShortRunMethod`](shortrun_train::ShortRunMethod) with other settings: these. The chains
/// take [`PersistentChains::size_in_bytes`](shortrun_langevin::PersistentChains::size_in_bytes), in
/// memory and again in each checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AbpConfig {
    /// Langevin steps in each iteration.
    pub steps: usize,
    /// Their size. Han et al. print the eta form, drift `δ²/2` and noise `δ`, and δ = 0.3.
    pub step_size: StepSizes,
    /// Standard deviation of a pixel, the same throughout.
    pub sigma: f64,
}

impl Default for AbpConfig {
    /// 40 steps of eta 0.3, that is drift s = 0.045, with sigma 0.3.
    fn default() -> Self {
        let eta = StepSize::from_eta(0.3);
        Self {
            steps: 40,
            step_size: StepSizes::Constant(
                eta.unwrap_or_else(|_| unreachable!("0.3 is a step size")),
            ),
            sigma: 0.3,
        }
    }
}

impl AbpConfig {
    /// The settings of a run, with these laid over them.
    pub fn over(&self, config: &TrainConfig) -> TrainConfig {
        let mut config = McmcConfig { steps: self.steps }.over(config);
        config.sigma = Sigma::Constant(self.sigma);
        config.langevin.step_size = self.step_size.clone();
        config
    }
}
