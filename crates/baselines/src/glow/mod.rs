//! Glow: a flow of invertible steps from images to noise, with an exact likelihood.
//!
//! Kingma and Dhariwal (2018), *Glow: Generative Flow with Invertible 1x1 Convolutions*. It has no
//! generator in the sense of the other methods: as many latents as an image has values, and nothing
//! to infer. `docs/baselines/glow.md` says what differs from the paper.

mod actnorm;
mod bits;
mod config;
mod coupling;
mod invertible_conv;
mod level;
mod method;
mod split;
mod squeeze;

use burn::{module::Module, prelude::*};
use shortrun_model::Generator;

pub use actnorm::ActNorm;
pub use bits::{
    bits_per_dimension, byte_noise, centred, dequantise, log_density_of_images, to_images,
};
pub use config::GlowConfig;
pub use coupling::Coupling;
pub use invertible_conv::InvertibleConv;
pub use level::{Level, Step, Through};
pub use method::GlowMethod;
pub use split::Split;

use squeeze::{squeeze, unsqueeze};

/// An invertible map between images `[n, c, h, w]` and noise `[n, c h w]`, standard normal under the
/// model.
///
/// Each level squeezes space into channels, takes its steps and, but for the last, splits half the
/// channels off. The noise is in the order of the levels, finest first.
#[derive(Module, Debug)]
pub struct Glow<B: Backend> {
    /// Finest first.
    pub levels: Vec<Level<B>>,
    /// `[c, h, w]`
    #[module(skip)]
    image: [usize; 3],
}

impl<B: Backend> Glow<B> {
    /// `[c, h, w]` of its images.
    pub fn image_shape(&self) -> [usize; 3] {
        self.image
    }

    /// Values of an image, and as many of its noise.
    pub fn dim(&self) -> usize {
        self.image.iter().product()
    }

    /// The flow with all actnorms set from this batch of y `[n, c, h, w]`: in it, every step's
    /// normalised activations have mean 0 and variance 1 in each channel.
    pub fn initialised(mut self, y: Tensor<B, 4>) -> Self {
        let mut kept = Some(y);
        let levels = self.levels.into_iter().map(|level| {
            let Some(x) = kept.take().map(squeeze) else {
                return level;
            };
            let level = level.initialised(&x);
            kept = level.forward(x).kept.map(Tensor::detach);
            level
        });
        self.levels = levels.collect();
        self
    }

    /// The noise `[n, c h w]` of y `[n, c, h, w]`, and `log |det|` `[n]` of this map.
    pub fn encode(&self, y: Tensor<B, 4>) -> (Tensor<B, 2>, Tensor<B, 1>) {
        let n = y.dims()[0];
        let mut log_det = Tensor::zeros([n], &y.device());
        let mut noise = Vec::with_capacity(self.levels.len());
        let mut kept = Some(y);
        for level in &self.levels {
            let Some(x) = kept.take().map(squeeze) else {
                break;
            };
            let through = level.forward(x);
            noise.push(through.noise.flatten(1, 3));
            log_det = log_det + through.log_det;
            kept = through.kept;
        }
        (Tensor::cat(noise, 1), log_det)
    }

    /// The y `[n, c, h, w]` of noise `[n, c h w]`: the exact inverse of [`encode`](Self::encode).
    /// There is a tape to the noise, but not to all weights.
    pub fn decode(&self, noise: Tensor<B, 2>) -> Tensor<B, 4> {
        let n = noise.dims()[0];
        let shapes = self.noise_shapes();
        let sizes = shapes.iter().map(|shape| shape.iter().product());
        let parts = noise.split_with_sizes(sizes.collect(), 1);
        let mut kept = None;
        let levels = self.levels.iter().zip(shapes).zip(parts).rev();
        for ((level, [c, h, w]), part) in levels {
            kept = Some(unsqueeze(level.inverse(kept, part.reshape([n, c, h, w]))));
        }
        kept.unwrap_or_else(|| unreachable!("a flow without levels"))
    }

    /// `log p(y)` in nats of y `[n, c, h, w]`: `[n]`.
    pub fn log_density(&self, y: Tensor<B, 4>) -> Tensor<B, 1> {
        let (noise, log_det) = self.encode(y);
        bits::log_standard_normal(noise) + log_det
    }

    /// `[c, h, w]` of each level's noise.
    fn noise_shapes(&self) -> Vec<[usize; 3]> {
        let [mut c, mut h, mut w] = self.image;
        let levels = self.levels.iter().map(|level| {
            (c, h, w) = (4 * c, h / 2, w / 2);
            if level.split.is_some() {
                c /= 2;
            }
            [c, h, w]
        });
        levels.collect()
    }
}

/// So that whatever draws standard normal latents can look at a flow: temperature 1.
impl<B: Backend> Generator<B> for Glow<B> {
    fn forward(&self, latents: Tensor<B, 2>) -> Tensor<B, 4> {
        to_images(self.decode(latents))
    }
}
