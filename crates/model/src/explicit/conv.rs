//! Convolutions of stride 1 followed by GELU, and their vector-Jacobian product.

use burn::{
    nn::{
        PaddingConfig2d,
        conv::{Conv2d, ConvTranspose2d},
    },
    prelude::*,
    tensor::{module::conv2d, ops::ConvOptions},
};

use crate::gelu::gelu_with_slope;

/// `GELU(conv(x))`, stride 1.
///
/// The gradient in the input is a convolution too: with the kernel flipped, its channels swapped,
/// and a padding of `k - 1 - p`.
#[derive(Clone, Debug)]
pub(super) struct ConvGelu<B: Backend> {
    value: Convolution<B>,
    gradient: Convolution<B>,
}

#[derive(Clone, Debug)]
struct Convolution<B: Backend> {
    /// `[out, in, k, k]`
    weight: Tensor<B, 4>,
    bias: Option<Tensor<B, 1>>,
    padding: usize,
}

impl<B: Backend> Convolution<B> {
    fn apply(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let options = ConvOptions::new([1, 1], [self.padding; 2], [1, 1], 1);
        conv2d(x, self.weight.clone(), self.bias.clone(), options)
    }

    /// The convolution that takes gradients in the output to gradients in the input.
    fn transposed(&self) -> Self {
        let kernel = self.weight.dims()[2];
        Self {
            weight: self.weight.clone().flip([2, 3]).swap_dims(0, 1),
            bias: None,
            padding: kernel - 1 - self.padding,
        }
    }
}

impl<B: Backend> ConvGelu<B> {
    pub(super) fn new(weight: Tensor<B, 4>, bias: Option<Tensor<B, 1>>, padding: usize) -> Self {
        let value = Convolution {
            weight,
            bias,
            padding,
        };
        Self {
            gradient: value.transposed(),
            value,
        }
    }

    pub(super) fn from_conv(conv: &Conv2d<B>) -> Self {
        let padding = match conv.padding {
            PaddingConfig2d::Explicit(top, ..) => top,
            PaddingConfig2d::Valid | PaddingConfig2d::Same => 0,
        };
        let bias = conv.bias.as_ref().map(|bias| bias.val());
        Self::new(conv.weight.val(), bias, padding)
    }

    /// A transposed convolution of stride 1 is a convolution with the flipped kernel.
    pub(super) fn from_deconv(deconv: &ConvTranspose2d<B>) -> Self {
        let kernel = deconv.kernel_size[0];
        let bias = deconv.bias.as_ref().map(|bias| bias.val());
        Self::new(
            deconv.weight.val().flip([2, 3]).swap_dims(0, 1),
            bias,
            kernel - 1 - deconv.padding[0],
        )
    }

    /// The activation `[n, out, h', w']` of `[n, in, h, w]`, and GELU's slope for the way back.
    pub(super) fn forward(&self, x: Tensor<B, 4>) -> (Tensor<B, 4>, Tensor<B, 4>) {
        gelu_with_slope(self.value.apply(x))
    }

    /// From the gradient in the activation to the gradient in the input.
    pub(super) fn vjp(&self, gradient: Tensor<B, 4>, slope: Tensor<B, 4>) -> Tensor<B, 4> {
        self.gradient.apply(gradient * slope)
    }
}
