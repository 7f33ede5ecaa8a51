//! Inverse autoregressive flow (Kingma, Salimans, Jozefowicz, Chen, Sutskever and Welling, 2016).

mod flow;
mod made;

use burn::{backend::Autodiff, module::Module, nn::Linear, prelude::*};
use serde::{Deserialize, Serialize};
use shortrun_langevin::Purpose;
use shortrun_model::{Generator, GeneratorConfig, Init, MultiLayerGenerator, dense, gelu};
use shortrun_train::{TrainConfig, TrainError};

use crate::{Amortised, Encoder, Gaussian, InferenceNetwork, Inferred, vae::one_layer};

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
    /// Units of each hidden layer, and of the context that the encoder gives to every step.
    pub width: usize,
}

impl Default for IafConfig {
    fn default() -> Self {
        Self {
            steps: 4,
            depth: 2,
            width: 128,
        }
    }
}

/// A method whose inference network is a [`FlowEncoder`].
pub type FlowMethod<B> = Amortised<B, FlowEncoder<Autodiff<B>>>;

impl IafConfig {
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
        one_layer("vae-iaf", generator.config())?;
        let counts = [
            ("method.steps", self.steps),
            ("method.depth", self.depth),
            ("method.width", self.width),
        ];
        if let Some((setting, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(TrainError::Setting {
                setting,
                reason: "must be at least 1; found 0".to_owned(),
            });
        }
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
        Self {
            encoder,
            context: init.linear(features, settings.width),
            flow: Flow::new(config.latents.dim(), settings, init),
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
