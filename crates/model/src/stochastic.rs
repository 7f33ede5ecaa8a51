//! The stochastic part of a layer: the mean `mu_l` and scale `sigma_l` of the next latents.

use burn::{
    module::Module,
    nn::{Linear, conv::Conv2d},
    prelude::*,
    tensor::activation::{self, sigmoid},
};

use crate::{GeneratorConfig, ScaleForm, conv_gelu::conv_gelu, dense::dense, init::Init};

/// The kernel of the heads' convolutions; without padding, so a map loses `HEAD_KERNEL - 1`.
pub(crate) const HEAD_KERNEL: usize = 5;

/// A head: convolution 5x5 without padding, GELU, linear.
#[derive(Module, Debug)]
pub struct Head<B: Backend> {
    /// 5x5, no padding.
    pub conv: Conv2d<B>,
    /// To the latent dimensions.
    pub linear: Linear<B>,
}

impl<B: Backend> Head<B> {
    fn new(config: &GeneratorConfig, latent: usize, init: &mut Init<'_, B>) -> Self {
        let channels = config.head_channels(latent);
        let size = config.feature_size() + 1 - HEAD_KERNEL;
        Self {
            conv: init.conv([config.features, channels], HEAD_KERNEL, 0),
            linear: init.linear(channels * size * size, latent),
        }
    }

    /// # Shapes
    /// `[n, n_f, size, size]` to `[n, d_l]`
    pub fn forward(&self, features: Tensor<B, 4>) -> Tensor<B, 2> {
        let bias = self.conv.bias.as_ref().map(|bias| bias.val());
        let maps = conv_gelu(features, self.conv.weight.val(), bias, 0);
        dense(&self.linear, maps.flatten(1, 3))
    }
}

/// From the features of one layer to the distribution of the next layer's latents.
#[derive(Module, Debug)]
pub struct Stochastic<B: Backend> {
    /// Gives `mu_l`.
    pub mean: Head<B>,
    /// Gives what [`ScaleForm`] turns into `sigma_l`.
    pub scale: Head<B>,
    #[module(skip)]
    pub(crate) form: ScaleForm,
}

impl<B: Backend> Stochastic<B> {
    pub(crate) fn new(config: &GeneratorConfig, latent: usize, init: &mut Init<'_, B>) -> Self {
        Self {
            mean: Head::new(config, latent, init),
            scale: Head::new(config, latent, init),
            form: config.scale,
        }
    }

    /// `mu_l` and `sigma_l`.
    ///
    /// # Shapes
    /// `[n, n_f, size, size]` to two of `[n, d_l]`
    pub fn forward(&self, features: Tensor<B, 4>) -> (Tensor<B, 2>, Tensor<B, 2>) {
        let raw = self.scale.forward(features.clone());
        (self.mean.forward(features), self.form.scale(raw))
    }
}

const LOG_VARIANCE_LIMIT: f64 = 10.0;
const SMALLEST_SOFTPLUS_SCALE: f64 = 1e-3;

impl ScaleForm {
    /// `sigma_l` of the scale head's output.
    pub(crate) fn scale<B: Backend>(self, raw: Tensor<B, 2>) -> Tensor<B, 2> {
        let limit = LOG_VARIANCE_LIMIT;
        match self {
            Self::SoftplusLogVariance => (softplus(raw).clamp(0.0, limit) * 0.5).exp(),
            Self::LogVariance => (raw.clamp(-limit, limit) * 0.5).exp(),
            Self::Softplus => softplus(raw) + SMALLEST_SOFTPLUS_SCALE,
        }
    }

    /// `sigma_l` and its derivative in the scale head's output.
    pub(crate) fn scale_with_slope<B: Backend>(
        self,
        raw: Tensor<B, 2>,
    ) -> (Tensor<B, 2>, Tensor<B, 2>) {
        let scale = self.scale(raw.clone());
        let slope = match self {
            Self::SoftplusLogVariance => {
                let inside = softplus(raw.clone()).lower_elem(LOG_VARIANCE_LIMIT);
                scale.clone() * sigmoid(raw) * inside.float() * 0.5
            }
            Self::LogVariance => {
                let inside = raw.abs().lower_elem(LOG_VARIANCE_LIMIT);
                scale.clone() * inside.float() * 0.5
            }
            Self::Softplus => sigmoid(raw),
        };
        (scale, slope)
    }

    /// The second and third derivatives of `sigma_l` in the scale head's output.
    pub(crate) fn scale_bends<B: Backend>(self, raw: Tensor<B, 2>) -> [Tensor<B, 2>; 2] {
        let (scale, slope) = self.scale_with_slope(raw.clone());
        match self {
            // With g = softplus(v) / 2: scale = exp(g), g' = s / 2, and so on.
            Self::SoftplusLogVariance => {
                let inside = softplus(raw.clone()).lower_elem(LOG_VARIANCE_LIMIT);
                let bounded = scale * inside.float();
                let first = sigmoid(raw.clone()) * 0.5;
                let [second, third] = sigmoid_slopes(raw).map(|slope| slope * 0.5);
                let square = first.clone().square();
                [
                    bounded.clone() * (second.clone() + square.clone()),
                    bounded * (third + first.clone() * (second * 3.0 + square)),
                ]
            }
            Self::LogVariance => [slope.clone() * 0.5, slope * 0.25],
            Self::Softplus => sigmoid_slopes(raw),
        }
    }
}

/// Where `log(1 + exp(v))` is `v` in float32.
const LINEAR: f64 = 20.0;

/// `log(1 + exp(v))`, also where `exp(v)` is no float32: there Burn's has no finite derivative, which
/// bounds on its value do not mend.
fn softplus<B: Backend>(raw: Tensor<B, 2>) -> Tensor<B, 2> {
    let beyond = (raw.clone() - LINEAR).clamp_min(0.0);
    activation::softplus(raw.clamp_max(LINEAR), 1.0) + beyond
}

/// The first and second derivatives of the logistic function.
fn sigmoid_slopes<B: Backend>(x: Tensor<B, 2>) -> [Tensor<B, 2>; 2] {
    let value = sigmoid(x);
    let first = value.clone() * (-value.clone() + 1.0);
    [first.clone(), first * (value * -2.0 + 1.0)]
}

#[cfg(test)]
mod tests {
    use burn::backend::{Autodiff, Flex};

    use super::*;

    type B = Autodiff<Flex>;

    /// Values and derivatives, beside those that the explicit passes use, where `exp(v)` is no float32.
    #[test]
    fn the_scale_of_a_large_output_has_a_finite_derivative() {
        let raw = [-200.0_f32, -1.0, 0.5, 9.0, 30.0, 89.0, 500.0];
        for form in [
            ScaleForm::SoftplusLogVariance,
            ScaleForm::LogVariance,
            ScaleForm::Softplus,
        ] {
            let given = Tensor::<B, 2>::from_floats([raw], &Default::default()).require_grad();
            let scale = form.scale(given.clone());
            let (value, slope) = form.scale_with_slope(given.clone().inner());
            let found = given.grad(&scale.clone().sum().backward());
            let found = found.map(|found| found.into_data());
            let tolerance = burn::tensor::Tolerance::<f32>::rel_abs(1e-5, 1e-6);
            scale
                .inner()
                .into_data()
                .assert_approx_eq(&value.into_data(), tolerance);
            match found {
                Some(found) => found.assert_approx_eq(&slope.into_data(), tolerance),
                None => panic!("{form:?} has no derivative"),
            }
        }
    }
}
