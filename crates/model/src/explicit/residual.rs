//! The residual block `d_l`.

use burn::{nn::conv::Conv2d, prelude::*};

use super::conv::{ConvGelu, Convolution};

/// `GELU(conv2(GELU(conv1(h)))) + h`.
#[derive(Clone, Debug)]
pub(super) struct Residual<B: Backend> {
    conv1: ConvGelu<B>,
    conv2: ConvGelu<B>,
}

/// GELU's slopes at both convolutions.
pub(super) struct Saved<B: Backend>(Tensor<B, 4>, Tensor<B, 4>);

impl<B: Backend> Residual<B> {
    pub(super) fn new(conv1: &Conv2d<B>, conv2: &Conv2d<B>) -> Self {
        Self {
            conv1: ConvGelu::new(Convolution::from_conv(conv1)),
            conv2: ConvGelu::new(Convolution::from_conv(conv2)),
        }
    }

    /// `d(h)`, plus `above` if there is any.
    pub(super) fn forward(
        &self,
        features: Tensor<B, 4>,
        above: Option<Tensor<B, 4>>,
    ) -> (Tensor<B, 4>, Saved<B>) {
        let (inner, slope1) = self.conv1.forward(features.clone(), vec![]);
        let skips = [Some(features), above].into_iter().flatten().collect();
        let (outer, slope2) = self.conv2.forward(inner, skips);
        (outer, Saved(slope1, slope2))
    }

    pub(super) fn vjp(&self, gradient: Tensor<B, 4>, saved: Saved<B>) -> Tensor<B, 4> {
        let inner = self.conv2.vjp(gradient.clone(), saved.1, vec![]);
        self.conv1.vjp(inner, saved.0, vec![gradient])
    }
}
