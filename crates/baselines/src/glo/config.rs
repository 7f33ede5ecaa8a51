//! The settings of generative latent optimisation.

use serde::{Deserialize, Serialize};
use shortrun_train::TrainError;

/// What is minimised, how latents follow, and how latents of new images are found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GloConfig {
    /// What an image and its reconstruction are compared by.
    pub loss: GloLoss,
    /// Bands of the Laplacian pyramid beside its smallest image.
    pub bands: usize,
    /// Learning rate of the latents in the unit ball: each moves by this times the gradient of its
    /// own image's loss.
    pub latent_rate: f64,
    /// How the latents of images that were not learned are found.
    pub search: SearchConfig,
}

/// A difference of images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GloLoss {
    /// The L1 difference of Laplacian pyramids.
    #[default]
    Laplacian,
    /// The mean squared error.
    Squares,
}

/// Adam on the latents of new images, from the centre of the ball.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchConfig {
    /// Steps.
    pub steps: usize,
    /// Learning rate, in the unit ball.
    pub rate: f64,
}

impl Default for SearchConfig {
    fn default() -> Self {
        Self {
            steps: 100,
            rate: 0.02,
        }
    }
}

impl Default for GloConfig {
    fn default() -> Self {
        Self {
            loss: GloLoss::default(),
            bands: 3,
            latent_rate: 1.0,
            search: SearchConfig::default(),
        }
    }
}

impl GloConfig {
    /// Checks that the settings make sense.
    ///
    /// # Errors
    /// Names the first that does not.
    pub fn check(&self) -> Result<(), TrainError> {
        // Steps are kept nowhere.
        let steps = self.search.steps as u64;
        TrainError::check_counts([("method.search.steps", steps, u64::MAX)])?;
        let rates = [
            ("method.latent_rate", self.latent_rate),
            ("method.search.rate", self.search.rate),
        ];
        let bad = rates
            .into_iter()
            .find(|(_, rate)| !(rate.is_finite() && *rate > 0.0));
        match bad {
            Some((setting, rate)) => Err(TrainError::Setting {
                setting,
                reason: format!("must be finite and above 0; found {rate}"),
            }),
            None => Ok(()),
        }
    }
}
