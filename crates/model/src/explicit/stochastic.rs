//! The heads `mu_l` and `sigma_l`.

use burn::prelude::*;

use super::{
    conv::{ConvGelu, Convolution},
    dense::Dense,
};
use crate::{ScaleForm, stochastic};

/// Both heads; their convolutions run as one, with the channels side by side.
#[derive(Clone, Debug)]
pub(super) struct Stochastic<B: Backend> {
    convs: ConvGelu<B>,
    mean: Dense<B>,
    scale: Dense<B>,
    form: ScaleForm,
}

/// Both heads' convolutions as one, the mean's channels first.
pub(super) fn convolutions<B: Backend>(heads: &stochastic::Stochastic<B>) -> Convolution<B> {
    let [mean, scale] = [&heads.mean.conv, &heads.scale.conv].map(Convolution::from_conv);
    Convolution {
        weight: Tensor::cat(vec![mean.weight, scale.weight], 0),
        bias: match (mean.bias, scale.bias) {
            (Some(mean), Some(scale)) => Some(Tensor::cat(vec![mean, scale], 0)),
            _ => None,
        },
        padding: mean.padding,
    }
}

pub(super) struct Saved<B: Backend> {
    conv_slope: Tensor<B, 4>,
    scale_slope: Tensor<B, 2>,
}

impl<B: Backend> Stochastic<B> {
    pub(super) fn new(heads: &stochastic::Stochastic<B>) -> Self {
        Self {
            convs: ConvGelu::new(convolutions(heads)),
            mean: Dense::new(&heads.mean.linear),
            scale: Dense::new(&heads.scale.linear),
            form: heads.form,
        }
    }

    /// `mu_l`, `sigma_l` (each `[n, d_l]`) and what the way back needs.
    pub(super) fn forward(&self, features: Tensor<B, 4>) -> (Tensor<B, 2>, Tensor<B, 2>, Saved<B>) {
        let (maps, conv_slope) = self.convs.forward(features, vec![]);
        let flat: Tensor<B, 2> = maps.flatten(1, 3);
        let mut halves = flat.chunk(2, 1).into_iter();
        let (Some(for_mean), Some(for_scale)) = (halves.next(), halves.next()) else {
            unreachable!("two heads, side by side")
        };
        let mean = self.mean.forward(for_mean);
        let raw = self.scale.forward(for_scale);
        let (scale, scale_slope) = self.form.scale_with_slope(raw);
        (
            mean,
            scale,
            Saved {
                conv_slope,
                scale_slope,
            },
        )
    }

    /// From gradients in mean and scale to the gradient in the features, plus `add`.
    pub(super) fn vjp(
        &self,
        mean: Tensor<B, 2>,
        scale: Tensor<B, 2>,
        saved: Saved<B>,
        add: Tensor<B, 4>,
    ) -> Tensor<B, 4> {
        let for_mean = self.mean.vjp(mean);
        let for_scale = self.scale.vjp(scale * saved.scale_slope);
        let maps = Tensor::cat(vec![for_mean, for_scale], 1).reshape(saved.conv_slope.dims());
        self.convs.vjp(maps, saved.conv_slope, vec![add])
    }
}
