//! The shape of the built-in generator.

use serde::{Deserialize, Serialize};
use shortrun_langevin::LatentLayers;
use thiserror::Error;

use crate::stochastic::HEAD_KERNEL;

/// The configuration of a [`MultiLayerGenerator`](crate::MultiLayerGenerator).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneratorConfig {
    /// How the layers depend on one another; [`Conditional`](Architecture::Conditional) if a file
    /// does not say.
    #[serde(default)]
    pub architecture: Architecture,
    /// Sizes of the latent layers, top first. Their number is L.
    pub latents: LatentLayers,
    /// Height and width of the images: 28, 32 or 64 pixels.
    pub image_size: usize,
    /// Channels of the images: 1 or 3.
    pub image_channels: usize,
    /// Channels n_f of every feature map.
    pub features: usize,
    /// Channels of the small map that the linear part of a projection makes.
    pub seed_channels: usize,
    /// Channels of the convolution in the mean and scale heads. (A ladder has no heads.)
    pub head_width: HeadWidth,
    /// Further blocks between the last features and the output.
    pub refine_blocks: usize,
    /// How a scale head's output becomes a standard deviation. (Likewise.)
    pub scale: ScaleForm,
    /// Which variables the chain moves.
    pub parameterisation: Parameterisation,
}

/// How the layers of latents depend on one another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    /// Each layer is drawn given the layers above, `z_l = mu_l + sigma_l e_l` with both computed
    /// from their features: Nijkamp et al. (2020), Table 4.
    #[default]
    Conditional,
    /// All layers are independent standard normal noise, and each enters a deterministic top-down
    /// network at its own depth: the generator of the variational ladder autoencoder, Zhao, Song
    /// and Ermon (2017), *Learning Hierarchical Features from Generative Models*.
    Ladder,
}

impl Architecture {
    /// The name in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Conditional => "conditional",
            Self::Ladder => "ladder",
        }
    }
}

/// Channels of the convolution in the mean and scale heads of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeadWidth {
    /// As many as feature channels, n_f.
    Features,
    /// As many as the latent layer has dimensions (the released script's form).
    Latent,
    /// This many.
    Fixed(usize),
}

/// How the output `v` of a scale head becomes the standard deviation `sigma_l`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScaleForm {
    /// `exp(clamp(softplus(v), 0, 10) / 2)`: the released script's, never below 1.
    SoftplusLogVariance,
    /// `exp(clamp(v, -10, 10) / 2)`: a plain log-variance.
    LogVariance,
    /// `softplus(v)`, and never below 1e-3.
    Softplus,
}

/// Which variables the chain moves. Both define the same model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Parameterisation {
    /// The standard-normal noise `e_l` of every layer, `z_l = mu_l + sigma_l e_l`.
    NonCentred,
    /// The latents `z_l` themselves.
    Centred,
}

/// A generator that cannot be built.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// Not 28, 32 or 64.
    #[error("image_size must be 28, 32 or 64; found {0}")]
    ImageSize(usize),
    /// Not 1 or 3.
    #[error("image_channels must be 1 (grey) or 3 (RGB); found {0}")]
    ImageChannels(usize),
    /// A width of 0.
    #[error("{0} must be at least 1")]
    Width(&'static str),
    /// Too many layers or blocks.
    #[error("{0} must be at most {most}; found {1}", most = MOST_BLOCKS)]
    Blocks(&'static str, usize),
    /// More weights than a memory holds.
    #[error(
        "the generator would have {0} weights, but no more than {most} are possible; lower \
         features, latents, seed_channels, head_width or refine_blocks",
        most = GeneratorConfig::MOST_WEIGHTS
    )]
    Weights(u64),
    /// A ladder in the centred form.
    #[error(
        "parameterisation must be non-centred with architecture ladder: its latents are standard \
         normal noise, so there is no other form"
    )]
    CentredLadder,
    /// A preset that does not exist.
    #[error("there is no preset '{0}'; the presets are {1}")]
    Preset(String, String),
}

/// Layers of latents, and refining blocks, at most.
const MOST_BLOCKS: usize = 1_000;

impl GeneratorConfig {
    /// Weights at most, 2^31: 8 GiB, and four times that while they are learned.
    pub const MOST_WEIGHTS: u64 = 1 << 31;

    /// Checks that the generator can be built.
    ///
    /// # Errors
    /// Names the first setting that makes no sense.
    pub fn check(&self) -> Result<(), ConfigError> {
        if ![28, 32, 64].contains(&self.image_size) {
            return Err(ConfigError::ImageSize(self.image_size));
        }
        if ![1, 3].contains(&self.image_channels) {
            return Err(ConfigError::ImageChannels(self.image_channels));
        }
        let centred = self.parameterisation == Parameterisation::Centred;
        if centred && self.architecture == Architecture::Ladder {
            return Err(ConfigError::CentredLadder);
        }
        let widths = [
            ("features", self.features),
            ("seed_channels", self.seed_channels),
            ("head_width", self.head_channels(1)),
        ];
        if let Some((name, _)) = widths.into_iter().find(|(_, width)| *width == 0) {
            return Err(ConfigError::Width(name));
        }
        let blocks = [
            ("the number of latent layers", self.latents.count()),
            ("refine_blocks", self.refine_blocks),
        ];
        if let Some((name, found)) = blocks.into_iter().find(|(_, found)| *found > MOST_BLOCKS) {
            return Err(ConfigError::Blocks(name, found));
        }
        let weights = self.weights();
        if weights > Self::MOST_WEIGHTS as f64 {
            return Err(ConfigError::Weights(weights as u64));
        }
        Ok(())
    }

    /// How many weights the generator has: in float64, where no product of widths overflows.
    fn weights(&self) -> f64 {
        // Every input to every output, and a bias.
        let layer = |inputs: f64, outputs: f64| (inputs + 1.0) * outputs;
        let [features, seed, channels] =
            [self.features, self.seed_channels, self.image_channels].map(|count| count as f64);
        let size = self.feature_size();
        let area = |size: usize| (size * size) as f64;

        let residual = layer(25.0 * features, features) + layer(9.0 * features, features);
        let blocks = self.latents.sizes().iter().map(|latent| {
            // The transposed convolution has no bias.
            layer(*latent as f64, seed * area(size)) + 25.0 * seed * features + residual
        });
        let heads = self.given_above().iter().map(|latent| {
            let maps = self.head_channels(*latent) as f64;
            let inputs = maps * area(size + 1 - HEAD_KERNEL);
            2.0 * (layer(25.0 * features, maps) + layer(inputs, *latent as f64))
        });
        let refine = self.refine_blocks as f64 * residual;
        let between = (self.output_layers() - 1) as f64 * features;
        let output = layer(16.0 * features, between + channels);
        blocks.sum::<f64>() + heads.sum::<f64>() + refine + output
    }

    /// The sizes of the layers that have a mean and a scale given those above; none of a ladder's.
    pub(crate) fn given_above(&self) -> &[usize] {
        match self.architecture {
            Architecture::Conditional => &self.latents.sizes()[1..],
            Architecture::Ladder => &[],
        }
    }

    /// Whether the chain moves latents that are not standard normal. Never of a ladder's.
    pub(crate) fn is_centred(&self) -> bool {
        self.architecture == Architecture::Conditional
            && self.parameterisation == Parameterisation::Centred
    }

    /// Height and width of every feature map: 14 for images of 28 pixels, else 16.
    pub fn feature_size(&self) -> usize {
        if self.image_size == 28 { 14 } else { 16 }
    }

    /// How many transposed convolutions, each doubling the size, end the generator.
    pub fn output_layers(&self) -> usize {
        (self.image_size / self.feature_size()).ilog2() as usize
    }

    /// Channels of the heads' convolutions for a latent layer of `latent` dimensions.
    pub fn head_channels(&self, latent: usize) -> usize {
        match self.head_width {
            HeadWidth::Features => self.features,
            HeadWidth::Latent => latent,
            HeadWidth::Fixed(channels) => channels,
        }
    }

    /// `[channels, height, width]` of an image.
    pub fn image_shape(&self) -> [usize; 3] {
        [self.image_channels, self.image_size, self.image_size]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::backend::Flex;

    use super::*;
    use crate::{Preset, Summary};

    fn small() -> GeneratorConfig {
        GeneratorConfig {
            features: 3,
            latents: LatentLayers::new([2, 3, 5]).unwrap(),
            ..Preset::Released.config(64, 3).unwrap()
        }
    }

    #[test]
    fn weights_are_counted_before_any_is_made() {
        let one = GeneratorConfig {
            head_width: HeadWidth::Features,
            image_size: 28,
            image_channels: 1,
            ..small()
        };
        let other = GeneratorConfig {
            head_width: HeadWidth::Fixed(7),
            refine_blocks: 0,
            image_size: 32,
            ..small()
        };
        let ladder = GeneratorConfig {
            architecture: Architecture::Ladder,
            ..small()
        };
        for config in [small(), one, other, ladder] {
            let made = config.init::<Flex>(1, &Default::default());
            assert_eq!(config.weights(), Summary::of(&made).total as f64);
        }
    }

    #[test]
    fn generators_that_no_memory_holds_are_refused() {
        let huge = usize::MAX;
        let features = |features| GeneratorConfig {
            features,
            ..small()
        };
        let wide_seed = GeneratorConfig {
            seed_channels: huge,
            ..small()
        };
        let wide_head = GeneratorConfig {
            head_width: HeadWidth::Fixed(huge),
            ..small()
        };
        let latents = GeneratorConfig {
            latents: LatentLayers::new([LatentLayers::MOST_DIMENSIONS]).unwrap(),
            seed_channels: 11,
            ..small()
        };
        for config in [
            features(10_000),
            features(huge),
            wide_seed,
            wide_head,
            latents,
        ] {
            let error = config.check().unwrap_err();
            assert!(matches!(error, ConfigError::Weights(_)), "{error}");
        }
        let deep = GeneratorConfig {
            refine_blocks: huge,
            ..small()
        };
        let expected = ConfigError::Blocks("refine_blocks", huge);
        assert_eq!(deep.check(), Err(expected));
        let deep = GeneratorConfig {
            latents: LatentLayers::new(vec![1; MOST_BLOCKS + 1]).unwrap(),
            ..small()
        };
        assert!(deep.check().is_err());
        assert_eq!(features(1_000).check(), Ok(()));
    }
}
