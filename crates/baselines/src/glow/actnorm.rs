//! Activation normalisation.

use burn::{
    module::{Module, Param},
    prelude::*,
};
use shortrun_model::Init;

/// Keeps the scale of a channel that is constant in the first batch finite.
const LEAST_DEVIATION: f64 = 1e-6;

/// A shift and a scale for each channel, `y = (x + b) exp(s)`, set once from data so that its
/// output there has mean 0 and variance 1, and learned from then on.
#[derive(Module, Debug)]
pub struct ActNorm<B: Backend> {
    /// b: `[c]`
    pub bias: Param<Tensor<B, 1>>,
    /// s: `[c]`
    pub log_scale: Param<Tensor<B, 1>>,
}

impl<B: Backend> ActNorm<B> {
    /// The identity.
    pub(crate) fn new(channels: usize, init: &Init<'_, B>) -> Self {
        Self {
            bias: init.given(vec![0.0; channels], [channels]),
            log_scale: init.given(vec![0.0; channels], [channels]),
        }
    }

    /// Normalises this batch `[n, c, h, w]`: mean 0 and variance 1 of each channel.
    pub(crate) fn initialised(self, x: &Tensor<B, 4>) -> Self {
        let values: Tensor<B, 2> = x.clone().detach().swap_dims(0, 1).flatten(1, 3);
        let mean = values.clone().mean_dim(1);
        let variance = (values - mean.clone()).square().mean_dim(1);
        let log_scale = -(variance.sqrt() + LEAST_DEVIATION).log();
        Self {
            bias: set(self.bias, -mean.squeeze_dim(1)),
            log_scale: set(self.log_scale, log_scale.squeeze_dim(1)),
        }
    }

    /// # Shapes
    /// `[n, c, h, w]`, and `log |det|`: `[1]`
    pub fn forward(&self, x: Tensor<B, 4>) -> (Tensor<B, 4>, Tensor<B, 1>) {
        let [_, _, h, w] = x.dims();
        let log_det = self.log_scale.val().sum() * (h * w) as f64;
        (
            (x + channels(&self.bias)) * channels(&self.log_scale).exp(),
            log_det,
        )
    }

    /// The inverse of [`forward`](Self::forward).
    pub fn inverse(&self, y: Tensor<B, 4>) -> Tensor<B, 4> {
        y * (-channels(&self.log_scale)).exp() - channels(&self.bias)
    }
}

/// `[c]` to `[1, c, 1, 1]`.
fn channels<B: Backend>(values: &Param<Tensor<B, 1>>) -> Tensor<B, 4> {
    let count = values.dims()[0];
    values.val().reshape([1, count, 1, 1])
}

/// The parameter with another value, as ready to be learned as before.
fn set<B: Backend>(parameter: Param<Tensor<B, 1>>, value: Tensor<B, 1>) -> Param<Tensor<B, 1>> {
    parameter.map(|old| value.set_require_grad(old.is_require_grad()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::{Autodiff, Flex};
    use shortrun_langevin::{NoiseKey, Purpose};

    #[test]
    fn the_first_batch_comes_out_with_mean_0_and_variance_1() {
        let device = Default::default();
        let key = NoiseKey {
            seed: 1,
            iteration: 0,
            purpose: Purpose::Samples,
        };
        let x = key.normal::<Autodiff<Flex>, 4>([5, 3, 4, 6], 0, &device) * 0.02 + 7.0;
        let actnorm = ActNorm::new(3, &Init::new(0, Purpose::Weights, &device)).initialised(&x);
        let (y, log_det) = actnorm.forward(x.clone());
        let values: Tensor<_, 2> = y.clone().swap_dims(0, 1).flatten(1, 3);
        let mean = values.clone().mean_dim(1);
        let variance = (values - mean.clone()).square().mean_dim(1);
        let worst = |error: Tensor<Autodiff<Flex>, 2>| f64::from(error.abs().max().into_scalar());
        assert!(worst(mean) < 1e-4);
        assert!(worst(variance - 1.0) < 1e-3);
        // Three channels of deviation 0.02 and 24 pixels each: 72 times log 50 ± 5 %.
        let log_det = f64::from(log_det.into_scalar());
        assert!(
            (log_det / (72.0 * 50_f64.ln()) - 1.0).abs() < 0.05,
            "{log_det}"
        );
        assert!(actnorm.bias.is_require_grad() && actnorm.log_scale.is_require_grad());
    }
}
