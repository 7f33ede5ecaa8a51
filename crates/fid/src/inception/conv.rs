//! Convolution, normalisation, rectifier: the unit that Inception is made of.

use burn::{
    module::Param,
    nn::{
        PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    prelude::*,
    tensor::{activation::relu, module::conv2d, ops::ConvOptions},
};

/// What TensorFlow's Inception adds to variances.
const EPSILON: f64 = 1e-3;

/// A batch normalisation with fixed statistics. (Burn's own would take those of the batch on an
/// autodiff backend, and makes four passes over the activations.)
#[derive(Module, Debug)]
struct Normalisation<B: Backend> {
    weight: Param<Tensor<B, 1>>,
    bias: Param<Tensor<B, 1>>,
    running_mean: Param<Tensor<B, 1>>,
    running_var: Param<Tensor<B, 1>>,
}

/// A convolution without bias, normalised and rectified.
#[derive(Module, Debug)]
pub(super) struct ConvUnit<B: Backend> {
    conv: Conv2d<B>,
    bn: Normalisation<B>,
    padding: [usize; 2],
}

impl<B: Backend> ConvUnit<B> {
    /// `[n, inputs, h, w]` to `[n, outputs, h', w']`.
    pub(super) fn forward(&self, input: Tensor<B, 4>) -> Tensor<B, 4> {
        // The normalisation is linear, so it goes into the weights, which are far fewer than the
        // activations.
        let scale = self.bn.weight.val() / (self.bn.running_var.val() + EPSILON).sqrt();
        let bias = self.bn.bias.val() - self.bn.running_mean.val() * scale.clone();
        let outputs = scale.dims()[0];
        let weight = self.conv.weight.val() * scale.reshape([outputs, 1, 1, 1]);
        let options = ConvOptions::new(self.conv.stride, self.padding, [1, 1], 1);
        relu(conv2d(input, weight, Some(bias), options))
    }
}

/// Makes the convolutions of a network.
pub(super) struct Maker<'a, B: Backend> {
    /// What all numbers of channels but the image's are divided by.
    pub(super) narrower: usize,
    pub(super) device: &'a B::Device,
}

impl<B: Backend> Maker<'_, B> {
    /// A convolution that keeps the size of its input; odd kernels only.
    pub(super) fn same(&self, inputs: usize, outputs: usize, kernel: [usize; 2]) -> ConvUnit<B> {
        self.unit([inputs, outputs], kernel, 1, kernel.map(|side| side / 2))
    }

    /// A square convolution without padding.
    pub(super) fn valid(
        &self,
        inputs: usize,
        outputs: usize,
        kernel: usize,
        stride: usize,
    ) -> ConvUnit<B> {
        self.unit([inputs, outputs], [kernel; 2], stride, [0, 0])
    }

    fn unit(
        &self,
        [inputs, outputs]: [usize; 2],
        kernel: [usize; 2],
        stride: usize,
        padding: [usize; 2],
    ) -> ConvUnit<B> {
        let inputs = if inputs == 3 {
            3
        } else {
            inputs / self.narrower
        };
        let outputs = outputs / self.narrower;
        let [down, across] = padding;
        let vector = |value: f64| Param::from_tensor(Tensor::full([outputs], value, self.device));
        ConvUnit {
            conv: Conv2dConfig::new([inputs, outputs], kernel)
                .with_stride([stride, stride])
                .with_padding(PaddingConfig2d::Explicit(down, across, down, across))
                .with_bias(false)
                .init(self.device),
            bn: Normalisation {
                weight: vector(1.0),
                bias: vector(0.0),
                running_mean: vector(0.0),
                running_var: vector(1.0),
            },
            padding,
        }
    }
}
