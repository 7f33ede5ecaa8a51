//! The deterministic parts of a layer: the projection `p_l` and the residual block `d_l`.

use burn::{
    module::Module,
    nn::{
        Linear,
        conv::{Conv2d, ConvTranspose2d},
    },
    prelude::*,
};

use crate::{GeneratorConfig, conv_gelu::conv_gelu, dense::dense, gelu, init::Init};

/// `p_l`: a latent vector becomes a feature map.
///
/// Linear to a small map, GELU, transposed convolution 5x5 without bias, GELU.
#[derive(Module, Debug)]
pub struct Project<B: Backend> {
    /// `[d_l]` to `[seed_channels * size * size]`.
    pub linear: Linear<B>,
    /// `seed_channels` to n_f channels, stride 1.
    pub deconv: ConvTranspose2d<B>,
    size: usize,
}

impl<B: Backend> Project<B> {
    fn new(config: &GeneratorConfig, latent: usize, init: &mut Init<'_, B>) -> Self {
        let size = config.feature_size();
        Self {
            linear: init.linear(latent, config.seed_channels * size * size),
            deconv: init.deconv([config.seed_channels, config.features], 5, 1, 2, false),
            size,
        }
    }

    /// # Shapes
    /// `[n, d_l]` to `[n, n_f, size, size]`
    pub fn forward(&self, latent: Tensor<B, 2>) -> Tensor<B, 4> {
        let seed = gelu(dense(&self.linear, latent));
        // A transposed convolution of stride 1 is a convolution with the flipped kernel.
        let weight = self.deconv.weight.val().flip([2, 3]).swap_dims(0, 1);
        conv_gelu(as_map(seed, self.size), weight, None, 2)
    }

    /// Height and width of the feature map.
    pub(crate) fn size(&self) -> usize {
        self.size
    }
}

/// `[n, channels * size * size]` to `[n, channels, size, size]`
pub(crate) fn as_map<B: Backend>(seed: Tensor<B, 2>, size: usize) -> Tensor<B, 4> {
    let [n, length] = seed.dims();
    seed.reshape([n, length / (size * size), size, size])
}

/// One layer's `p_l` and `d_l`: a latent vector becomes a feature map, which a residual block
/// refines.
#[derive(Module, Debug)]
pub struct Block<B: Backend> {
    /// `p_l`.
    pub project: Project<B>,
    /// 5x5, padding 2.
    pub conv1: Conv2d<B>,
    /// 3x3, padding 1.
    pub conv2: Conv2d<B>,
}

impl<B: Backend> Block<B> {
    pub(crate) fn new(config: &GeneratorConfig, latent: usize, init: &mut Init<'_, B>) -> Self {
        let n_f = config.features;
        Self {
            project: Project::new(config, latent, init),
            conv1: init.conv([n_f, n_f], 5, 2),
            conv2: init.conv([n_f, n_f], 3, 1),
        }
    }

    /// `d_l(p_l(z_l))`.
    ///
    /// # Shapes
    /// `[n, d_l]` to `[n, n_f, size, size]`
    pub fn forward(&self, latent: Tensor<B, 2>) -> Tensor<B, 4> {
        residual(&self.conv1, &self.conv2, self.project.forward(latent))
    }

    /// `d_l(p_l(e_l) + h)`: a ladder's layer, with the features h of the layers above.
    ///
    /// # Shapes
    /// `[n, d_l]` and `[n, n_f, size, size]` to the latter
    pub fn forward_below(&self, latent: Tensor<B, 2>, above: Tensor<B, 4>) -> Tensor<B, 4> {
        residual(
            &self.conv1,
            &self.conv2,
            self.project.forward(latent) + above,
        )
    }
}

/// A residual block `d` on its own, between the last features and the output.
#[derive(Module, Debug)]
pub struct Refine<B: Backend> {
    /// 5x5, padding 2.
    pub conv1: Conv2d<B>,
    /// 3x3, padding 1.
    pub conv2: Conv2d<B>,
}

impl<B: Backend> Refine<B> {
    pub(crate) fn new(config: &GeneratorConfig, init: &mut Init<'_, B>) -> Self {
        let n_f = config.features;
        Self {
            conv1: init.conv([n_f, n_f], 5, 2),
            conv2: init.conv([n_f, n_f], 3, 1),
        }
    }

    /// # Shapes
    /// `[n, n_f, size, size]`, unchanged
    pub fn forward(&self, features: Tensor<B, 4>) -> Tensor<B, 4> {
        residual(&self.conv1, &self.conv2, features)
    }
}

/// `d(h) = GELU(conv2(GELU(conv1(h)))) + h`.
fn residual<B: Backend>(
    conv1: &Conv2d<B>,
    conv2: &Conv2d<B>,
    features: Tensor<B, 4>,
) -> Tensor<B, 4> {
    let layer = |conv: &Conv2d<B>, x, padding| {
        let bias = conv.bias.as_ref().map(|bias| bias.val());
        conv_gelu(x, conv.weight.val(), bias, padding)
    };
    let inner = layer(conv1, features.clone(), 2);
    layer(conv2, inner, 1) + features
}
