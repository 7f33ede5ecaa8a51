//! The network's values and plain adjoints at the point where derivatives are wanted.

use burn::prelude::*;

use super::{ExplicitCurvature, Heads, segment::Node};
use crate::{Observation, explicit::output::pixel_energy};

/// Everything the three derivatives need of the point `e`; all tensors `[n, 1, ..]`.
pub(super) struct Point<B: Backend> {
    pub(super) layers: Vec<Layer<B>>,
    /// Nodes between the last features and the image before tanh.
    pub(super) image: Vec<Node<B>>,
    /// Derivatives, first to third, of the energy in the image before tanh.
    pub(super) pixels: [Tensor<B, 3>; 3],
}

pub(super) struct Layer<B: Backend> {
    pub(super) block: Vec<Node<B>>,
    pub(super) after: Vec<Node<B>>,
    /// Absent in the top layer and in a ladder.
    pub(super) given: Option<Given<B>>,
}

/// `z = mu + sigma e` of one layer, `sigma = phi(v)`.
pub(super) struct Given<B: Backend> {
    pub(super) heads: Vec<Node<B>>,
    pub(super) noise: Tensor<B, 3>,
    pub(super) scale: Tensor<B, 3>,
    /// `phi', phi'', phi'''`
    pub(super) scale_slopes: [Tensor<B, 3>; 3],
    /// `dU/dz`
    pub(super) latent_adjoint: Tensor<B, 3>,
}

impl<B: Backend> ExplicitCurvature<B> {
    /// The heads that give the latents of layer `i`.
    fn heads_above(&self, i: usize) -> Option<&Heads<B>> {
        self.heads.get(i.checked_sub(1)?)
    }

    /// Values down, plain adjoints up; latents `[n, d]`.
    pub(super) fn point(&self, latents: Tensor<B, 2>, observation: &Observation<B>) -> Point<B> {
        let mut features: Option<Tensor<B, 3>> = None;
        let mut passed = Vec::new();
        for (i, noise) in self.layers.split(latents).into_iter().enumerate() {
            let noise: Tensor<B, 3> = noise.unsqueeze_dim(1);
            let given = features.clone().zip(self.heads_above(i));
            let given = given.map(|(features, heads)| {
                let (maps, nodes) = heads.maps.value(features);
                let [mean, raw] = halves(heads.last.value(maps));
                let raw: Tensor<B, 2> = raw.squeeze_dim(1);
                let (scale, slope) = heads.form.scale_with_slope(raw.clone());
                let [second, third] = heads.form.scale_bends(raw);
                let slopes = [slope, second, third].map(|slope| slope.unsqueeze_dim::<3>(1));
                (nodes, mean, scale.unsqueeze_dim::<3>(1), slopes)
            });
            let latent = match &given {
                Some((_, mean, scale, _)) => mean.clone() + scale.clone() * noise.clone(),
                None => noise.clone(),
            };
            let (added, block) = self.blocks[i].value(latent);
            let sum = match features {
                Some(features) => features + added,
                None => added,
            };
            let (below, after) = self.after[i].value(sum);
            features = Some(below);
            passed.push((block, after, given, noise));
        }
        let Some(features) = features else {
            unreachable!("a generator without layers")
        };
        let (last, image) = self.image.value(features);
        let before_tanh = self.to_image.value(last);
        let pixels = pixel_energy(before_tanh, observation);

        let to_last = self.to_image.transposed(pixels[0].clone());
        let (mut adjoint, image) = self.image.adjoint(to_last, image);
        let mut layers = Vec::with_capacity(passed.len());
        for (i, (block, after, given, noise)) in passed.into_iter().enumerate().rev() {
            let (to_sum, after) = self.after[i].adjoint(adjoint, after);
            adjoint = to_sum;
            let (latent_adjoint, block) = self.blocks[i].adjoint(adjoint.clone(), block);
            let given = given.map(|(nodes, _, scale, scale_slopes)| {
                let heads = &self.heads[i - 1];
                let raw = latent_adjoint.clone() * noise.clone() * scale_slopes[0].clone();
                let both = Tensor::cat(vec![latent_adjoint.clone(), raw], 2);
                let (to_features, nodes) = heads.maps.adjoint(heads.last.transposed(both), nodes);
                adjoint = adjoint.clone() + to_features;
                Given {
                    heads: nodes,
                    noise,
                    scale,
                    scale_slopes,
                    latent_adjoint,
                }
            });
            layers.push(Layer {
                block,
                after,
                given,
            });
        }
        layers.reverse();
        Point {
            layers,
            image,
            pixels,
        }
    }
}

/// What belongs to the mean and what belongs to the scale.
pub(super) fn halves<B: Backend>(both: Tensor<B, 3>) -> [Tensor<B, 3>; 2] {
    let half = both.dims()[2] / 2;
    [
        both.clone().slice_dim(2, 0..half),
        both.slice_dim(2, half..2 * half),
    ]
}
