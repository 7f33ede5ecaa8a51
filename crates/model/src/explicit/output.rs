//! The transposed convolutions to the image.

use burn::{
    nn::conv::ConvTranspose2d,
    prelude::*,
    tensor::{
        module::{conv_transpose2d, conv2d},
        ops::{ConvOptions, ConvTransposeOptions},
    },
};

#[cfg(feature = "cuda")]
use super::conv::with_bias;
#[cfg(feature = "cuda")]
use crate::cuda::tensors as cuda;
use crate::{Observation, gelu::gelu_with_slope};

/// Transposed convolutions with GELU between them and tanh at the end.
#[derive(Clone, Debug)]
pub(super) struct Output<B: Backend> {
    layers: Vec<Deconv<B>>,
}

/// A transposed convolution 4x4 of stride 2 and padding 1: it doubles the size.
#[derive(Clone, Debug)]
pub(crate) enum Deconv<B: Backend> {
    /// Tensor operations, on any backend.
    Tensors {
        /// `[in, out, 4, 4]`
        weight: Tensor<B, 4>,
        bias: Option<Tensor<B, 1>>,
    },
    /// Our own kernels, on the CPU backend.
    #[cfg(feature = "flex")]
    Host(Box<crate::host::explicit::Doubling>),
}

impl<B: Backend> Deconv<B> {
    /// `weight` `[in, out, 4, 4]`, `bias` `[out]`.
    pub(crate) fn new(weight: Tensor<B, 4>, bias: Option<Tensor<B, 1>>) -> Self {
        #[cfg(feature = "flex")]
        if let Some(host) = crate::host::explicit::Doubling::new(&weight, bias.as_ref()) {
            return Self::Host(Box::new(host));
        }
        Self::Tensors { weight, bias }
    }

    pub(crate) fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        match self {
            Self::Tensors { weight, bias } => {
                #[cfg(feature = "cuda")]
                if let Some(done) = cuda::convolve(&x, weight, cuda::Form::Doubling, 1) {
                    return with_bias(done, bias.as_ref());
                }
                let options = ConvTransposeOptions::new([2, 2], [1, 1], [0, 0], [1, 1], 1);
                conv_transpose2d(x, weight.clone(), bias.clone(), options)
            }
            #[cfg(feature = "flex")]
            Self::Host(host) => host.forward(x),
        }
    }

    pub(crate) fn vjp(&self, gradient: Tensor<B, 4>) -> Tensor<B, 4> {
        match self {
            Self::Tensors { weight, .. } => {
                #[cfg(feature = "cuda")]
                if let Some(done) = cuda::convolve(&gradient, weight, cuda::Form::Halving, 1) {
                    return done;
                }
                let options = ConvOptions::new([2, 2], [1, 1], [1, 1], 1);
                conv2d(gradient, weight.clone(), None, options)
            }
            #[cfg(feature = "flex")]
            Self::Host(host) => host.vjp(gradient),
        }
    }
}

pub(super) struct Saved<B: Backend> {
    /// GELU's slope after each layer but the last.
    slopes: Vec<Tensor<B, 4>>,
    /// `1 - tanh²`.
    last: Tensor<B, 4>,
}

impl<B: Backend> Output<B> {
    pub(super) fn new(layers: &[ConvTranspose2d<B>]) -> Self {
        Self {
            layers: layers
                .iter()
                .map(|layer| {
                    let bias = layer.bias.as_ref().map(|bias| bias.val());
                    Deconv::new(layer.weight.val(), bias)
                })
                .collect(),
        }
    }

    /// Images `[n, c, h, w]` of features `[n, n_f, size, size]`.
    pub(super) fn forward(&self, features: Tensor<B, 4>) -> (Tensor<B, 4>, Saved<B>) {
        let mut image = features;
        let mut slopes = Vec::new();
        for (j, layer) in self.layers.iter().enumerate() {
            image = layer.forward(image);
            if j + 1 < self.layers.len() {
                let (activation, slope) = gelu_with_slope(image);
                image = activation;
                slopes.push(slope);
            }
        }
        let image = image.tanh();
        let last = -image.clone().square() + 1.0;
        (image, Saved { slopes, last })
    }

    pub(super) fn vjp(&self, gradient: Tensor<B, 4>, saved: Saved<B>) -> Tensor<B, 4> {
        let mut gradient = gradient * saved.last;
        let mut slopes = saved.slopes.into_iter().rev();
        for layer in self.layers.iter().rev() {
            gradient = layer.vjp(gradient);
            if let Some(slope) = slopes.next() {
                gradient = gradient * slope;
            }
        }
        gradient
    }
}

/// First to third derivatives of `m (tanh(a) - x)² / (2 σ²)` in a, the image before tanh.
///
/// # Shapes
/// a `[n, 1, c h w]`, as are the results
pub(super) fn pixel_energy<B: Backend>(
    before: Tensor<B, 3>,
    observation: &Observation<B>,
) -> [Tensor<B, 3>; 3] {
    let shape = before.dims();
    let image = before.tanh();
    let residual = observation.residual(image.clone().reshape(observation.images().dims()));
    let pull = residual.reshape(shape) * observation.precision();
    let precision = observation.pixel_precision().reshape(shape);
    let first = -image.clone().square() + 1.0;
    let second = image.clone() * first.clone() * -2.0;
    let third = first.clone() * (image.square() * 6.0 - 2.0);
    [
        pull.clone() * first.clone(),
        precision.clone() * first.clone().square() + pull.clone() * second.clone(),
        precision * first * second * 3.0 + pull * third,
    ]
}
