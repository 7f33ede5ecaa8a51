//! The projection `p_l`.

use burn::prelude::*;

use super::{
    conv::{ConvGelu, Convolution},
    dense::Dense,
};
use crate::{block, gelu::gelu_with_slope};

/// Linear, GELU, transposed convolution, GELU.
#[derive(Clone, Debug)]
pub(super) struct Project<B: Backend> {
    linear: Dense<B>,
    deconv: ConvGelu<B>,
    size: usize,
}

pub(super) struct Saved<B: Backend> {
    linear_slope: Tensor<B, 2>,
    deconv_slope: Tensor<B, 4>,
}

impl<B: Backend> Project<B> {
    pub(super) fn new(project: &block::Project<B>) -> Self {
        Self {
            linear: Dense::new(&project.linear),
            deconv: ConvGelu::new(Convolution::from_deconv(&project.deconv)),
            size: project.size(),
        }
    }

    pub(super) fn forward(&self, latent: Tensor<B, 2>) -> (Tensor<B, 4>, Saved<B>) {
        let (seed, linear_slope) = gelu_with_slope(self.linear.forward(latent));
        let (map, deconv_slope) = self.deconv.forward(block::as_map(seed, self.size), vec![]);
        (
            map,
            Saved {
                linear_slope,
                deconv_slope,
            },
        )
    }

    pub(super) fn vjp(&self, gradient: Tensor<B, 4>, saved: Saved<B>) -> Tensor<B, 2> {
        let seed: Tensor<B, 2> = self
            .deconv
            .vjp(gradient, saved.deconv_slope, vec![])
            .flatten(1, 3);
        self.linear.vjp(seed * saved.linear_slope)
    }
}
