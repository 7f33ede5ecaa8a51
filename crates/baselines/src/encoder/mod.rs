//! The convolutional encoder: what an image says of each layer of latents.
//!
//! It mirrors the built-in generator part by part, so that neither side is the larger one by design:
//!
//! | generator, top-down | encoder, bottom-up |
//! |---|---|
//! | transposed convolutions 4x4 to the image | convolutions 4x4, stride 2, to n_f maps |
//! | refining blocks | refining blocks |
//! | `d_l`: 5x5 and 3x3 with a skip | the same |
//! | `p_l` of a standard normal layer: linear, transposed convolution 5x5 | convolution 5x5 to `seed_channels`, linear |
//! | `mu_l`, `sigma_l` of another: each a convolution 5x5 without padding, linear | one such, linear to both moments |

mod level;

use burn::{module::Module, prelude::*};
use shortrun_langevin::Purpose;
use shortrun_model::{GeneratorConfig, Init, MultiLayerGenerator};

use crate::{Gaussian, InferenceNetwork, Inferred, top_down_posterior};

pub use level::{ConvNorm, Level, Residual};

/// The bottom-up network.
#[derive(Module, Debug)]
pub struct Encoder<B: Backend> {
    /// Convolutions 4x4 of stride 2; each halves the size.
    pub stem: Vec<ConvNorm<B>>,
    /// One for each refining block of the generator.
    pub refine: Vec<Residual<B>>,
    /// One for each layer of latents, top first. (The pass begins at the last.)
    pub levels: Vec<Level<B>>,
}

impl<B: Backend> Encoder<B> {
    /// An encoder for this generator, with starting weights that depend on the seed alone. With
    /// `batch_norm` every convolution is followed by batch normalisation.
    pub fn new(config: &GeneratorConfig, batch_norm: bool, seed: u64, device: &B::Device) -> Self {
        let init = &mut Init::new(seed, Purpose::InferenceWeights, device);
        Self::drawn(config, batch_norm, init)
    }

    pub(crate) fn drawn(
        config: &GeneratorConfig,
        batch_norm: bool,
        init: &mut Init<'_, B>,
    ) -> Self {
        let n_f = config.features;
        let stem = (0..config.output_layers())
            .map(|layer| {
                let inputs = if layer == 0 {
                    config.image_channels
                } else {
                    n_f
                };
                ConvNorm::halving([inputs, n_f], batch_norm, init)
            })
            .collect();
        Self {
            stem,
            refine: (0..config.refine_blocks)
                .map(|_| Residual::new(n_f, batch_norm, init))
                .collect(),
            levels: (0..config.latents.count())
                .map(|layer| Level::new(config, layer, batch_norm, init))
                .collect(),
        }
    }

    /// What each layer's mean and scale are made of, top first.
    ///
    /// # Shapes
    /// Images `[n, c, h, w]` to one `[n, m_l]` for each layer
    pub fn seeds(&self, images: Tensor<B, 4>) -> Vec<Tensor<B, 2>> {
        let mut features = images;
        for layer in &self.stem {
            features = layer.forward(features);
        }
        for block in &self.refine {
            features = block.forward(features);
        }
        let mut seeds: Vec<Tensor<B, 2>> = self
            .levels
            .iter()
            .rev()
            .map(|level| {
                features = level.block.forward(features.clone());
                level.seed(features.clone())
            })
            .collect();
        seeds.reverse();
        seeds
    }

    /// What the images say of each layer, top first: one `[n, d_l]` for each.
    pub fn forward(&self, images: Tensor<B, 4>) -> Vec<Gaussian<B>> {
        let seeds = self.seeds(images);
        self.levels
            .iter()
            .zip(seeds)
            .map(|(level, seed)| level.gaussian(seed))
            .collect()
    }
}

impl<B: Backend> InferenceNetwork<B> for Encoder<B> {
    fn infer(
        &self,
        generator: &MultiLayerGenerator<B>,
        images: Tensor<B, 4>,
        noise: Tensor<B, 2>,
    ) -> Inferred<B> {
        top_down_posterior(generator, &self.forward(images), noise)
    }
}
