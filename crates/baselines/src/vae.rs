//! The variational autoencoder (Kingma and Welling, 2014) and the ladder (Sønderby, Raiko, Maaløe,
//! Sønderby and Winther, 2016).

use burn::{backend::Autodiff, prelude::*};
use serde::{Deserialize, Serialize};
use shortrun_model::{GeneratorConfig, MultiLayerGenerator};
use shortrun_train::{TrainConfig, TrainError};

use crate::{Amortised, Encoder};

/// The settings of `vae`: none beside the generator's and the run's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaeConfig {}

/// The settings of `ladder-vae`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LadderVaeConfig {
    /// Whether every convolution of the encoder is followed by batch normalisation.
    pub batch_norm: bool,
    /// Iterations over which the weight of the divergence in the loss grows from 0 to 1; as many as
    /// sigma is annealed for, if it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<u64>,
}

impl Default for LadderVaeConfig {
    fn default() -> Self {
        Self {
            batch_norm: true,
            warm_up: None,
        }
    }
}

/// Iterations of warm-up of a long run with a constant sigma.
const WARM_UP: u64 = 1_000;

/// A method whose inference network is an [`Encoder`].
pub type EncoderMethod<B> = Amortised<B, Encoder<Autodiff<B>>>;

impl VaeConfig {
    /// A generator of one layer, about to be learned with an encoder.
    ///
    /// # Errors
    /// If the generator has more layers.
    pub fn method<B: Backend>(
        &self,
        generator: MultiLayerGenerator<Autodiff<B>>,
        config: &TrainConfig,
        device: &B::Device,
    ) -> Result<EncoderMethod<B>, TrainError> {
        one_layer("vae", generator.config())?;
        let encoder = Encoder::new(generator.config(), false, config.seed, device);
        Ok(Amortised::new(generator, encoder, 0, config, device))
    }
}

impl LadderVaeConfig {
    /// With the warm-up that it has in a run with these settings: one that grew with `iterations`
    /// would begin again when a run goes on for longer.
    pub fn of_run(&self, config: &TrainConfig) -> Self {
        Self {
            warm_up: Some(self.warm_up_in(config)),
            ..self.clone()
        }
    }

    /// A generator of any number of layers, about to be learned with a ladder.
    ///
    /// # Errors
    /// If a setting makes no sense.
    pub fn method<B: Backend>(
        &self,
        generator: MultiLayerGenerator<Autodiff<B>>,
        config: &TrainConfig,
        device: &B::Device,
    ) -> Result<EncoderMethod<B>, TrainError> {
        let encoder = Encoder::new(generator.config(), self.batch_norm, config.seed, device);
        let warm_up = self.warm_up_in(config);
        Ok(Amortised::new(generator, encoder, warm_up, config, device))
    }

    /// If it is not said, as long as sigma is annealed; with a constant one a tenth of the run, as
    /// Sonderby et al. have it, but no more than [`WARM_UP`].
    fn warm_up_in(&self, config: &TrainConfig) -> u64 {
        self.warm_up
            .unwrap_or_else(|| match config.sigma.annealing() {
                0 => (config.iterations / 10).min(WARM_UP),
                annealing => annealing,
            })
    }
}

/// Refuses a generator of several layers for a method whose posterior has one.
pub(crate) fn one_layer(method: &str, generator: &GeneratorConfig) -> Result<(), TrainError> {
    let latents = &generator.latents;
    match latents.count() {
        1 => Ok(()),
        count => Err(TrainError::Setting {
            setting: "generator.latents",
            reason: format!(
                "has {count} layers, but {method} infers one; take --preset l1, set \
                 generator.latents = [{}], or train with --method ladder-vae",
                latents.dim()
            ),
        }),
    }
}
