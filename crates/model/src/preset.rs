//! Named generator shapes.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use shortrun_langevin::LatentLayers;

use crate::{Architecture, ConfigError, GeneratorConfig, HeadWidth, Parameterisation, ScaleForm};

/// A named shape of the built-in generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Two layers and few channels: made for a CPU.
    Quick,
    /// One latent layer of 128, 64 channels.
    L1,
    /// The paper's Table 4: latents 32, 64, 128 and 64 channels.
    Table4,
    /// The authors' released CelebA script: latents 64, 64, 64, 96, 128 and one more block.
    Released,
}

impl Preset {
    /// All presets, smallest first.
    pub const ALL: [Self; 4] = [Self::Quick, Self::L1, Self::Table4, Self::Released];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::L1 => "l1",
            Self::Table4 => "table4",
            Self::Released => "released",
        }
    }

    /// The generator of this preset for square images of `size` pixels and `channels` channels.
    ///
    /// # Errors
    /// If the size is not 28, 32 or 64 or there are not 1 or 3 channels.
    pub fn config(self, size: usize, channels: usize) -> Result<GeneratorConfig, ConfigError> {
        let (latents, features, head_width, refine_blocks): (&[usize], _, _, _) = match self {
            Self::Quick => (&[32, 64], 16, HeadWidth::Features, 0),
            Self::L1 => (&[128], 64, HeadWidth::Features, 0),
            Self::Table4 => (&[32, 64, 128], 64, HeadWidth::Features, 0),
            Self::Released => (&[64, 64, 64, 96, 128], 64, HeadWidth::Latent, 1),
        };
        let config = GeneratorConfig {
            architecture: Architecture::Conditional,
            latents: LatentLayers::new(latents).map_err(|_| ConfigError::Width("latents"))?,
            image_size: size,
            image_channels: channels,
            features,
            seed_channels: 4,
            head_width,
            refine_blocks,
            scale: ScaleForm::SoftplusLogVariance,
            parameterisation: Parameterisation::NonCentred,
        };
        config.check().map(|()| config)
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Preset {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Self, ConfigError> {
        let names = Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|preset| preset.name() == name)
            .ok_or_else(|| ConfigError::Preset(name.to_owned(), names))
    }
}
