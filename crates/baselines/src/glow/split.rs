//! Half the channels become latents before the next level.

use burn::{module::Module, nn::conv::Conv2d, prelude::*};
use shortrun_model::Init;

use super::coupling::{halves, same, zero_conv};

/// Takes the second half of the channels out of the flow, as noise given the first half:
/// `e = (x_b - mu(x_a)) exp(-s(x_a))`, with mu and s from one convolution that begins at zero.
#[derive(Module, Debug)]
pub struct Split<B: Backend> {
    /// 3x3, from `c / 2` channels to mu and s.
    pub conv: Conv2d<B>,
}

impl<B: Backend> Split<B> {
    pub(crate) fn new(channels: usize, init: &mut Init<'_, B>) -> Self {
        Self {
            conv: zero_conv([channels / 2, channels], init),
        }
    }

    /// What goes on, the noise, and `log |det|`.
    ///
    /// # Shapes
    /// `[n, c, h, w]` to twice `[n, c / 2, h, w]` and `[n]`
    pub fn forward(&self, x: Tensor<B, 4>) -> (Tensor<B, 4>, Tensor<B, 4>, Tensor<B, 1>) {
        let (kept, out) = halves(x);
        let (mean, log_scale) = halves(same(&self.conv, kept.clone()));
        let noise = (out - mean) * (-log_scale.clone()).exp();
        let logs: Tensor<B, 2> = log_scale.flatten(1, 3);
        (kept, noise, -logs.sum_dim(1).squeeze_dim::<1>(1))
    }

    /// The inverse of [`forward`](Self::forward).
    pub fn inverse(&self, kept: Tensor<B, 4>, noise: Tensor<B, 4>) -> Tensor<B, 4> {
        let (mean, log_scale) = halves(same(&self.conv, kept.clone()));
        Tensor::cat(vec![kept, noise * log_scale.exp() + mean], 1)
    }
}
