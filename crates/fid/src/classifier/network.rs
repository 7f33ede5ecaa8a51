//! The network of a classifier.

use burn::{
    module::Param,
    nn::{
        Linear, LinearConfig, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    prelude::*,
    tensor::{TensorData, activation::relu},
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Length of a feature.
pub(super) const FEATURES: usize = 128;
/// Channels after each convolution.
const CHANNELS: [usize; 3] = [32, 64, 128];

#[derive(Module, Debug)]
pub(super) struct Network<B: Backend> {
    conv1: Conv2d<B>,
    conv2: Conv2d<B>,
    conv3: Conv2d<B>,
    hidden: Linear<B>,
    output: Linear<B>,
}

impl<B: Backend> Network<B> {
    /// For images of `channels` x `size` x `size`, with the starting weights of `seed`.
    pub(super) fn new(
        [channels, size]: [usize; 2],
        classes: usize,
        seed: u64,
        device: &B::Device,
    ) -> Self {
        let mut draw = Draw {
            rng: ChaCha8Rng::seed_from_u64(seed),
            device,
        };
        let [first, second, third] = CHANNELS;
        let side = CHANNELS.iter().fold(size, |side, _| side.div_ceil(2));
        Self {
            conv1: draw.conv(channels, first),
            conv2: draw.conv(first, second),
            conv3: draw.conv(second, third),
            hidden: draw.linear(third * side * side, FEATURES),
            output: draw.linear(FEATURES, classes),
        }
    }

    /// `[n, c, h, w]` in [-1, 1] to `[n, 128]`.
    pub(super) fn features(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let x = relu(self.conv1.forward(images));
        let x = relu(self.conv2.forward(x));
        let x = relu(self.conv3.forward(x));
        relu(self.hidden.forward(x.flatten(1, 3)))
    }

    /// `[n, c, h, w]` in [-1, 1] to logits `[n, classes]`.
    pub(super) fn logits(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        self.output.forward(self.features(images))
    }
}

/// Draws starting weights on the host, so that they are the same on every backend.
struct Draw<'a, B: Backend> {
    rng: ChaCha8Rng,
    device: &'a B::Device,
}

impl<B: Backend> Draw<'_, B> {
    /// Uniform with variance 2 / fan_in (He et al., 2015).
    fn weights<const D: usize>(&mut self, shape: [usize; D], fan_in: usize) -> Param<Tensor<B, D>> {
        let bound = (6.0 / fan_in as f32).sqrt();
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count)
            .map(|_| self.rng.random_range(-bound..bound))
            .collect();
        Param::from_tensor(Tensor::from_data(
            TensorData::new(values, shape),
            self.device,
        ))
    }

    fn zeros(&self, count: usize) -> Option<Param<Tensor<B, 1>>> {
        Some(Param::from_tensor(Tensor::zeros([count], self.device)))
    }

    fn conv(&mut self, inputs: usize, outputs: usize) -> Conv2d<B> {
        let mut conv = Conv2dConfig::new([inputs, outputs], [3, 3])
            .with_stride([2, 2])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .init(self.device);
        conv.weight = self.weights([outputs, inputs, 3, 3], inputs * 9);
        conv.bias = self.zeros(outputs);
        conv
    }

    fn linear(&mut self, inputs: usize, outputs: usize) -> Linear<B> {
        let mut linear = LinearConfig::new(inputs, outputs).init(self.device);
        linear.weight = self.weights([inputs, outputs], inputs);
        linear.bias = self.zeros(outputs);
        linear
    }
}
