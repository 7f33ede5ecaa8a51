//! The parts of the encoder.

use burn::{
    module::Module,
    nn::{BatchNorm, BatchNormConfig, Linear, conv::Conv2d},
    prelude::*,
};
use shortrun_model::{
    Architecture, GeneratorConfig, Init, conv, conv_gelu, conv_halving, dense, gelu,
};

use crate::Gaussian;

/// The scale's logarithm stays within ± half of this.
const LOG_VARIANCE_LIMIT: f64 = 10.0;

/// Of the convolutions that squeeze the features, as of those in the generator's `p_l` and heads.
const KERNEL: usize = 5;

/// A convolution, batch normalisation if there is any, GELU.
#[derive(Module, Debug)]
pub struct ConvNorm<B: Backend> {
    /// Without a bias if it is normalised.
    pub conv: Conv2d<B>,
    /// Learns on the batch's own moments; its running moments serve elsewhere.
    pub norm: Option<BatchNorm<B>>,
    padding: usize,
}

impl<B: Backend> ConvNorm<B> {
    fn new(
        [inputs, outputs]: [usize; 2],
        kernel: usize,
        padding: usize,
        batch_norm: bool,
        init: &mut Init<'_, B>,
    ) -> Self {
        let mut conv = init.conv([inputs, outputs], kernel, padding);
        let norm = batch_norm.then(|| {
            // The normalisation would take it out again.
            conv.bias = None;
            BatchNormConfig::new(outputs).init(init.device())
        });
        Self {
            conv,
            norm,
            padding,
        }
    }

    /// 4x4, stride 2: half the size.
    pub(super) fn halving(channels: [usize; 2], batch_norm: bool, init: &mut Init<'_, B>) -> Self {
        let mut layer = Self::new(channels, 4, 1, batch_norm, init);
        layer.conv.stride = [2, 2];
        layer
    }

    /// # Shapes
    /// `[n, in, h, w]` to `[n, out, h', w']`
    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let weight = self.conv.weight.val();
        let bias = self.conv.bias.as_ref().map(|bias| bias.val());
        let halves = self.conv.stride == [2, 2];
        match &self.norm {
            None if halves => gelu(conv_halving(x, weight, bias)),
            None => conv_gelu(x, weight, bias, self.padding),
            Some(norm) if halves => gelu(norm.forward(conv_halving(x, weight, bias))),
            Some(norm) => gelu(norm.forward(conv(x, weight, bias, self.padding))),
        }
    }
}

/// A residual block, as the generator's: `d(h) = GELU(conv2(GELU(conv1(h)))) + h`.
#[derive(Module, Debug)]
pub struct Residual<B: Backend> {
    /// 5x5.
    pub conv1: ConvNorm<B>,
    /// 3x3.
    pub conv2: ConvNorm<B>,
}

impl<B: Backend> Residual<B> {
    pub(super) fn new(features: usize, batch_norm: bool, init: &mut Init<'_, B>) -> Self {
        Self {
            conv1: ConvNorm::new([features; 2], 5, 2, batch_norm, init),
            conv2: ConvNorm::new([features; 2], 3, 1, batch_norm, init),
        }
    }

    /// # Shapes
    /// `[n, n_f, size, size]`, unchanged
    pub fn forward(&self, features: Tensor<B, 4>) -> Tensor<B, 4> {
        self.conv2.forward(self.conv1.forward(features.clone())) + features
    }
}

/// A layer of latents: a block refines the features, and a map made of them becomes a distribution.
#[derive(Module, Debug)]
pub struct Level<B: Backend> {
    /// `d_l`, of the features from below.
    pub block: Residual<B>,
    /// 5x5, to few channels.
    pub squeeze: ConvNorm<B>,
    /// To the mean and the logarithm of the variance.
    pub moments: Linear<B>,
}

impl<B: Backend> Level<B> {
    /// The `layer` counts from the top.
    pub(super) fn new(
        config: &GeneratorConfig,
        layer: usize,
        batch_norm: bool,
        init: &mut Init<'_, B>,
    ) -> Self {
        let latent = config.latents.sizes()[layer];
        let is_conditional = layer > 0 && config.architecture == Architecture::Conditional;
        let (channels, padding) = if is_conditional {
            (config.head_channels(latent), 0)
        } else {
            (config.seed_channels, KERNEL / 2)
        };
        let size = config.feature_size() + 2 * padding + 1 - KERNEL;
        let squeeze = [config.features, channels];
        Self {
            block: Residual::new(config.features, batch_norm, init),
            squeeze: ConvNorm::new(squeeze, KERNEL, padding, batch_norm, init),
            moments: init.linear(channels * size * size, 2 * latent),
        }
    }

    /// What the distribution is made of.
    ///
    /// # Shapes
    /// `[n, n_f, size, size]` to `[n, m]`
    pub(super) fn seed(&self, features: Tensor<B, 4>) -> Tensor<B, 2> {
        self.squeeze.forward(features).flatten(1, 3)
    }

    /// `[n, m]` to a distribution on `[n, d_l]`.
    pub fn gaussian(&self, seed: Tensor<B, 2>) -> Gaussian<B> {
        let moments = dense(&self.moments, seed);
        let [_, twice] = moments.dims();
        let log_variance = moments.clone().slice_dim(1, twice / 2..);
        Gaussian {
            mean: moments.slice_dim(1, ..twice / 2),
            scale: (log_variance.clamp(-LOG_VARIANCE_LIMIT, LOG_VARIANCE_LIMIT) * 0.5).exp(),
        }
    }
}
