//! The settings of Glow.

use burn::prelude::*;
use serde::{Deserialize, Serialize};
use shortrun_langevin::Purpose;
use shortrun_model::Init;
use shortrun_train::TrainError;

use super::{Glow, Level};
use crate::config::check_width;

/// The shape of a [`Glow`], and how it is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GlowConfig {
    /// Scales, each half the size of the one before. Images that cannot be halved so often get
    /// fewer, see [`levels_for`](Self::levels_for).
    pub levels: usize,
    /// Steps of flow in each level (the paper: 32).
    pub steps: usize,
    /// Channels of the coupling networks (the paper: 512).
    pub width: usize,
    /// Standard deviation of the latents that samples are made of.
    pub temperature: f64,
}

impl Default for GlowConfig {
    /// Three levels; steps and width for a CPU; the temperature of the paper's samples.
    fn default() -> Self {
        Self {
            levels: 3,
            steps: 8,
            width: 64,
            temperature: 0.7,
        }
    }
}

impl GlowConfig {
    /// Checks that the settings make sense.
    ///
    /// # Errors
    /// Names the first that does not.
    pub fn check(&self) -> Result<(), TrainError> {
        TrainError::check_counts([
            ("method.levels", self.levels as u64, 16),
            ("method.steps", self.steps as u64, 1_000),
        ])?;
        check_width(self.width, self.levels * self.steps)?;
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return Err(TrainError::Setting {
                setting: "method.temperature",
                reason: format!(
                    "must be finite and not negative; found {}",
                    self.temperature
                ),
            });
        }
        Ok(())
    }

    /// The levels that images `[c, h, w]` get: as many as asked for, or as often as their sides can
    /// be halved. Images of 28 pixels get 2 (28, 14, 7), of 32 up to 5.
    pub fn levels_for(&self, [_, height, width]: [usize; 3]) -> usize {
        let halvings = height.trailing_zeros().min(width.trailing_zeros());
        self.levels.min(halvings as usize)
    }

    /// A flow on images `[c, h, w]` that depends on the seed alone.
    ///
    /// # Errors
    /// If a setting makes no sense, or a side of the images is odd.
    pub fn init<B: Backend>(
        &self,
        image: [usize; 3],
        seed: u64,
        device: &B::Device,
    ) -> Result<Glow<B>, TrainError> {
        self.check()?;
        let count = self.levels_for(image);
        let [channels, height, width] = image;
        if count == 0 {
            return Err(TrainError::Setting {
                setting: "method.levels",
                reason: format!(
                    "must be at least 1, but images of {height} x {width} pixels cannot be halved; \
                     use an even size (--size)"
                ),
            });
        }
        let init = &mut Init::new(seed, Purpose::Weights, device);
        let mut rotation = 0;
        let mut kept = channels;
        let levels = (0..count).map(|level| {
            let squeezed = 4 * kept;
            let splits = level + 1 < count;
            kept = if splits { squeezed / 2 } else { squeezed };
            Level::new(squeezed, splits, self, seed, &mut rotation, init)
        });
        Ok(Glow {
            levels: levels.collect(),
            image,
        })
    }
}
