//! The transposed convolutions to the image.

use burn::{
    nn::conv::ConvTranspose2d,
    prelude::*,
    tensor::{
        module::{conv_transpose2d, conv2d},
        ops::{ConvOptions, ConvTransposeOptions},
    },
};

use crate::gelu::gelu_with_slope;

/// Transposed convolutions with GELU between them and tanh at the end.
#[derive(Clone, Debug)]
pub(super) struct Output<B: Backend> {
    layers: Vec<Deconv<B>>,
}

/// A transposed convolution of any stride.
#[derive(Clone, Debug)]
struct Deconv<B: Backend> {
    /// `[in, out, k, k]`
    weight: Tensor<B, 4>,
    bias: Option<Tensor<B, 1>>,
    stride: usize,
    padding: usize,
}

impl<B: Backend> Deconv<B> {
    fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let options =
            ConvTransposeOptions::new([self.stride; 2], [self.padding; 2], [0, 0], [1, 1], 1);
        conv_transpose2d(x, self.weight.clone(), self.bias.clone(), options)
    }

    fn vjp(&self, gradient: Tensor<B, 4>) -> Tensor<B, 4> {
        let options = ConvOptions::new([self.stride; 2], [self.padding; 2], [1, 1], 1);
        conv2d(gradient, self.weight.clone(), None, options)
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
        let layers = layers
            .iter()
            .map(|layer| Deconv {
                weight: layer.weight.val(),
                bias: layer.bias.as_ref().map(|bias| bias.val()),
                stride: layer.stride[0],
                padding: layer.padding[0],
            })
            .collect();
        Self { layers }
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
