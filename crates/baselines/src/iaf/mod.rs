//! Inverse autoregressive flow (Kingma, Salimans, Jozefowicz, Chen, Sutskever and Welling, 2016).

mod flow;
mod made;

use burn::{backend::Autodiff, module::Module, nn::Linear, prelude::*};
use serde::{Deserialize, Serialize};
use shortrun_langevin::Purpose;
use shortrun_model::{Generator, GeneratorConfig, Init, MultiLayerGenerator, dense, gelu};
use shortrun_train::{TrainConfig, TrainError};

use crate::{
    Amortised, Encoder, Gaussian, InferenceNetwork, Inferred, config::check_width, vae::one_layer,
};

pub use flow::Flow;
pub use made::Made;

/// The settings of `vae-iaf`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IafConfig {
    /// T, the inverse autoregressive steps.
    pub steps: usize,
    /// Hidden layers of each step's network.
    pub depth: usize,
    /// Units of each hidden layer, and of the context that the encoder gives to every step; as
    /// [`width_for`](Self::width_for) if it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<usize>,
}

/// The width unless it is said, if there are no more latents.
const WIDTH: usize = 128;

impl Default for IafConfig {
    fn default() -> Self {
        Self {
            steps: 4,
            depth: 2,
            width: None,
        }
    }
}

/// A method whose inference network is a [`FlowEncoder`].
pub type FlowMethod<B> = Amortised<B, FlowEncoder<Autodiff<B>>>;

impl IafConfig {
    /// The width of a flow on `latents` dimensions: if it is not said 128, or as many as latents if
    /// these are more.
    pub fn width_for(&self, latents: usize) -> usize {
        self.width.unwrap_or(WIDTH.max(latents))
    }

    /// Checks that the settings make sense, and that the method goes with a generator.
    ///
    /// # Errors
    /// If the generator has several layers, or names the first setting that makes no sense.
    pub fn check(&self, generator: &GeneratorConfig) -> Result<(), TrainError> {
        one_layer("vae-iaf", generator)?;
        TrainError::check_counts([
            ("method.steps", self.steps as u64, 1_000),
            ("method.depth", self.depth as u64, 100),
        ])?;
        let latents = generator.latents.dim();
        let width = self.width_for(latents);
        check_width(width, self.steps * (self.depth + 1))?;
        // Of every degree at least one unit.
        if width < latents {
            return Err(TrainError::Setting {
                setting: "method.width",
                reason: format!(
                    "must be at least {latents}, the number of latents, so that what becomes of each \
                     can depend on all before it; found {width}"
                ),
            });
        }
        Ok(())
    }

    /// A generator of one layer, about to be learned with an encoder and a flow.
    ///
    /// # Errors
    /// If the generator has more layers, or a setting makes no sense.
    pub fn method<B: Backend>(
        &self,
        generator: MultiLayerGenerator<Autodiff<B>>,
        config: &TrainConfig,
        device: &B::Device,
    ) -> Result<FlowMethod<B>, TrainError> {
        self.check(generator.config())?;
        let encoder = FlowEncoder::new(generator.config(), self, config.seed, device);
        Ok(Amortised::new(generator, encoder, 0, config, device))
    }
}

/// An encoder whose posterior is pushed through a flow.
#[derive(Module, Debug)]
pub struct FlowEncoder<B: Backend> {
    /// Gives the flow's start.
    pub encoder: Encoder<B>,
    /// From the encoder's last features to the context of every step.
    pub context: Linear<B>,
    /// T steps.
    pub flow: Flow<B>,
}

impl<B: Backend> FlowEncoder<B> {
    /// An encoder for this generator, which must have one layer of latents, with starting weights
    /// that depend on the seed alone.
    pub fn new(
        config: &GeneratorConfig,
        settings: &IafConfig,
        seed: u64,
        device: &B::Device,
    ) -> Self {
        let init = &mut Init::new(seed, Purpose::InferenceWeights, device);
        let encoder = Encoder::drawn(config, false, init);
        let features = config.seed_channels * config.feature_size().pow(2);
        let latents = config.latents.dim();
        Self {
            encoder,
            context: init.linear(features, settings.width_for(latents)),
            flow: Flow::new(latents, settings, init),
        }
    }

    /// Where the flow starts, and its context `[n, width]`, of images `[n, c, h, w]`.
    pub fn forward(&self, images: Tensor<B, 4>) -> (Gaussian<B>, Tensor<B, 2>) {
        let seed = self.encoder.seeds(images).swap_remove(0);
        let context = gelu(dense(&self.context, seed.clone()));
        (self.encoder.levels[0].gaussian(seed), context)
    }
}

impl<B: Backend> InferenceNetwork<B> for FlowEncoder<B> {
    fn infer(
        &self,
        generator: &MultiLayerGenerator<B>,
        images: Tensor<B, 4>,
        noise: Tensor<B, 2>,
    ) -> Inferred<B> {
        let (start, context) = self.forward(images);
        let (latents, divergence) = self.flow.posterior(&start, context, noise);
        Inferred {
            generated: generator.forward(latents),
            divergence,
        }
    }
}
