//! Convolutions of stride 1 followed by GELU, and their vector-Jacobian product.

use burn::{
    nn::{
        PaddingConfig2d,
        conv::{Conv2d, ConvTranspose2d},
    },
    prelude::*,
    tensor::{module::conv2d, ops::ConvOptions},
};

#[cfg(feature = "cuda")]
use crate::cuda::tensors as cuda;
use crate::gelu::gelu_with_slope;
#[cfg(feature = "flex")]
use crate::host::explicit as host;

/// `GELU(conv(x))`, stride 1.
///
/// The gradient in the input is a convolution too: with the kernel flipped, its channels swapped,
/// and a padding of `k - 1 - p`.
#[derive(Clone, Debug)]
pub(super) enum ConvGelu<B: Backend> {
    /// Tensor operations, on any backend.
    Tensors {
        value: Convolution<B>,
        gradient: Convolution<B>,
    },
    /// Our own kernels, on the CPU backend.
    #[cfg(feature = "flex")]
    Host(Box<host::ConvGelu>),
}

/// A convolution of stride 1, by tensor operations.
#[derive(Clone, Debug)]
pub(crate) struct Convolution<B: Backend> {
    /// `[out, in, k, k]`
    pub(crate) weight: Tensor<B, 4>,
    /// `[out]`
    pub(crate) bias: Option<Tensor<B, 1>>,
    pub(crate) padding: usize,
}

impl<B: Backend> Convolution<B> {
    pub(super) fn from_conv(conv: &Conv2d<B>) -> Self {
        let padding = match conv.padding {
            PaddingConfig2d::Explicit(top, ..) => top,
            PaddingConfig2d::Valid | PaddingConfig2d::Same => 0,
        };
        Self {
            weight: conv.weight.val(),
            bias: conv.bias.as_ref().map(|bias| bias.val()),
            padding,
        }
    }

    /// A transposed convolution of stride 1 is a convolution with the flipped kernel.
    pub(super) fn from_deconv(deconv: &ConvTranspose2d<B>) -> Self {
        let kernel = deconv.kernel_size[0];
        Self {
            weight: deconv.weight.val().flip([2, 3]).swap_dims(0, 1),
            bias: deconv.bias.as_ref().map(|bias| bias.val()),
            padding: kernel - 1 - deconv.padding[0],
        }
    }

    pub(crate) fn apply(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        #[cfg(feature = "cuda")]
        if let Some(done) = cuda::convolve(&x, &self.weight, cuda::Form::Plain, self.padding) {
            return with_bias(done, self.bias.as_ref());
        }
        let options = ConvOptions::new([1, 1], [self.padding; 2], [1, 1], 1);
        conv2d(x, self.weight.clone(), self.bias.clone(), options)
    }

    /// The convolution that takes gradients in the output to gradients in the input.
    pub(crate) fn transposed(&self) -> Self {
        let kernel = self.weight.dims()[2];
        Self {
            weight: self.weight.clone().flip([2, 3]).swap_dims(0, 1),
            bias: None,
            padding: kernel - 1 - self.padding,
        }
    }
}

impl<B: Backend> ConvGelu<B> {
    pub(super) fn new(value: Convolution<B>) -> Self {
        #[cfg(feature = "flex")]
        if let Some(host) = host::ConvGelu::new(&value.weight, value.bias.as_ref(), value.padding) {
            return Self::Host(Box::new(host));
        }
        Self::Tensors {
            gradient: value.transposed(),
            value,
        }
    }

    /// The activation `[n, out, h', w']` of `[n, in, h, w]` plus `add` (each of the activation's
    /// shape), and GELU's slope for the way back.
    pub(super) fn forward(
        &self,
        x: Tensor<B, 4>,
        add: Vec<Tensor<B, 4>>,
    ) -> (Tensor<B, 4>, Tensor<B, 4>) {
        match self {
            Self::Tensors { value, .. } => {
                let (activation, slope) = gelu_with_slope(value.apply(x));
                (sum(activation, add), slope)
            }
            #[cfg(feature = "flex")]
            Self::Host(host) => host.forward(x, add),
        }
    }

    /// From the gradient in the activation to the gradient in the input, plus `add` (each of the
    /// input's shape).
    pub(super) fn vjp(
        &self,
        gradient: Tensor<B, 4>,
        slope: Tensor<B, 4>,
        add: Vec<Tensor<B, 4>>,
    ) -> Tensor<B, 4> {
        match self {
            Self::Tensors {
                gradient: transposed,
                ..
            } => sum(transposed.apply(gradient * slope), add),
            #[cfg(feature = "flex")]
            Self::Host(host) => host.vjp(gradient, slope, add),
        }
    }
}

/// Maps `[n, c, h, w]` plus a bias `[c]` for each channel.
#[cfg(feature = "cuda")]
pub(crate) fn with_bias<B: Backend>(
    maps: Tensor<B, 4>,
    bias: Option<&Tensor<B, 1>>,
) -> Tensor<B, 4> {
    match bias {
        Some(bias) => maps + bias.clone().reshape([1, -1, 1, 1]),
        None => maps,
    }
}

fn sum<B: Backend>(first: Tensor<B, 4>, others: Vec<Tensor<B, 4>>) -> Tensor<B, 4> {
    others.into_iter().fold(first, |sum, other| sum + other)
}
