//! Second and third derivatives of the built-in generator's energy, without a tape.
//!
//! The network is linear maps, elementwise functions and the products `z = mu + sigma e`, so
//! tangents go down it by the same maps and adjoint tangents up by their transposes. Two
//! properties of the network save most of the work:
//!
//! - Features of layer i depend on the latents of layers 0 to i only: `D_i` directions, not d.
//! - A block sees its layer's latents `z_i` only. Its tangents are taken in the `d_i` directions of
//!   `z_i` and combined afterwards: `J = Z R`, with Z `[D_i, d_i]` the tangents of `z_i`.
//!
//! Both architectures are `h_i = a_i(h_{i-1} + b_i(z_i))`. Conditional: `b_i = d_i p_i` and `a_i`
//! changes nothing. Ladder: `b_i = p_i`, `a_i = d_i`, and `z_i = e_i` has tangents in its own
//! directions only.

mod hessian;
mod linear;
mod point;
mod products;
mod rows;
mod segment;
mod trace;

use std::ops::Range;

use burn::{nn::conv::Conv2d, prelude::*};
use shortrun_langevin::{Curvature, EnergyGradient, LatentLayers};
use thiserror::Error;

use self::{
    linear::Linear,
    segment::{Group, Segment},
};
use super::{ExplicitPosterior, conv::Convolution, stochastic::convolutions};
use crate::{
    Architecture, MultiLayerGenerator, Observation, ScaleForm, block, stochastic::Stochastic,
};

/// Energy, gradient, Hessian and its derivative of the built-in generator's posterior, explicitly.
///
/// Holds the weights, so make one for each chain. One example with all directions of its latents is
/// the least that `rows` can ask of [`hessian`](Curvature::hessian) and
/// [`trace_gradient`](Curvature::trace_gradient).
#[derive(Clone, Debug)]
pub struct ExplicitCurvature<B: Backend> {
    gradient: ExplicitPosterior<B>,
    layers: LatentLayers,
    /// `b_i`
    blocks: Vec<Segment<B>>,
    /// `a_i`
    after: Vec<Segment<B>>,
    /// From block i to latents i + 1. None in a ladder.
    heads: Vec<Heads<B>>,
    /// Last features to the input of the last transposed convolution.
    image: Segment<B>,
    /// The last transposed convolution; tanh is part of the pixels' energy.
    to_image: Linear<B>,
    observation: Observation<B>,
}

#[derive(Clone, Debug)]
struct Heads<B: Backend> {
    /// Both heads' convolutions, side by side.
    maps: Segment<B>,
    /// To the mean and the scale before its [`ScaleForm`], side by side.
    last: Linear<B>,
    form: ScaleForm,
}

/// Explicit second derivatives exist for the non-centred form only.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "explicit second derivatives are for parameterisation non-centred only; nested autodiff has \
     the centred ones"
)]
pub struct CentredError;

impl<B: Backend> ExplicitCurvature<B> {
    /// The posterior of `observation` under the present weights of `generator`.
    ///
    /// # Errors
    /// If the generator's chain moves the latents themselves
    /// ([`Centred`](crate::Parameterisation::Centred)).
    pub fn new(
        generator: &MultiLayerGenerator<B>,
        observation: Observation<B>,
    ) -> Result<Self, CentredError> {
        let config = generator.config();
        if config.is_centred() {
            return Err(CentredError);
        }
        let ladder = config.architecture == Architecture::Ladder;
        let size = config.feature_size();
        let conv = |conv: &Conv2d<B>| Linear::convolution(Convolution::from_conv(conv), size);
        let project = |block: &block::Block<B>| {
            let deconv = Convolution::from_deconv(&block.project.deconv);
            let project = [
                Linear::dense(&block.project.linear),
                Linear::convolution(deconv, size),
            ];
            group(project, false)
        };
        let residual =
            |block: &block::Block<B>| group([&block.conv1, &block.conv2].map(conv), true);
        let [blocks, after] = [false, true].map(|after| {
            let groups = generator.blocks.iter().map(|block| match (ladder, after) {
                (false, false) => vec![project(block), residual(block)],
                (false, true) => vec![],
                (true, false) => vec![project(block)],
                (true, true) => vec![residual(block)],
            });
            groups.map(Segment::new).collect()
        });
        let heads = |heads: &Stochastic<B>| Heads {
            maps: Segment::new(vec![group(
                [Linear::convolution(convolutions(heads), size)],
                false,
            )]),
            last: Linear::halves(&heads.mean.linear, &heads.scale.linear),
            form: heads.form,
        };
        let refine = generator
            .refine
            .iter()
            .map(|block| group([&block.conv1, &block.conv2].map(conv), true));
        let mut doublings: Vec<_> = generator
            .output
            .iter()
            .enumerate()
            .map(|(i, deconv)| Linear::doubling(deconv, size << i))
            .collect();
        let Some(to_image) = doublings.pop() else {
            unreachable!("a generator without output layers")
        };
        let doublings = doublings.into_iter().map(|map| group([map], false));
        Ok(Self {
            gradient: ExplicitPosterior::new(generator, observation.clone()),
            layers: config.latents.clone(),
            blocks,
            after,
            heads: generator.stochastic.iter().map(heads).collect(),
            image: Segment::new(refine.chain(doublings).collect()),
            to_image,
            observation,
        })
    }

    /// Calls `work` for `many` examples at a time, with their latents and their observation, and
    /// joins what it returns.
    fn by_examples<const D: usize>(
        &self,
        latents: Tensor<B, 2>,
        many: usize,
        work: impl Fn(Range<usize>, Tensor<B, 2>, &Observation<B>) -> Tensor<B, D>,
    ) -> Tensor<B, D> {
        let n = latents.dims()[0];
        // A CPU's caches hold the tangents of one example: 17 ms each, 45 if four go together.
        #[cfg(feature = "flex")]
        let many = match crate::host::Values::of(latents.clone()) {
            Some(_) => 1,
            None => many,
        };
        let many = many.clamp(1, n.max(1));
        let done = (0..n)
            .step_by(many)
            .map(|from| {
                let range = from..n.min(from + many);
                let some = latents.clone().slice_dim(0, range.clone());
                work(range.clone(), some, &self.observation.examples(range))
            })
            .collect();
        Tensor::cat(done, 0)
    }
}

fn group<B: Backend>(nodes: impl Into<Vec<Linear<B>>>, skip: bool) -> Group<B> {
    Group {
        nodes: nodes.into(),
        skip,
    }
}

impl<B: Backend> EnergyGradient<B> for ExplicitCurvature<B> {
    fn energy_and_gradient(&self, latents: Tensor<B, 2>) -> (Tensor<B, 1>, Tensor<B, 2>) {
        self.gradient.energy_and_gradient(latents)
    }
}

impl<B: Backend> Curvature<B> for ExplicitCurvature<B> {
    fn hessian_products(
        &self,
        latents: Tensor<B, 2>,
        vectors: Tensor<B, 3>,
        rows: usize,
    ) -> Tensor<B, 3> {
        let [_, m, d] = vectors.dims();
        if 2 * m >= d {
            // The Hessian itself takes less: tangents down only, and fewer of them.
            let hessian = self.hessian(latents, rows);
            return rows::multiply(vectors, hessian);
        }
        let directions = rows.clamp(1, m.max(1));
        self.by_examples(latents, rows / m.max(1), |range, latents, observation| {
            let vectors = vectors.clone().slice_dim(0, range);
            let point = self.point(latents, observation);
            let products = (0..m)
                .step_by(directions)
                .map(|from| {
                    let some = vectors.clone().slice_dim(1, from..m.min(from + directions));
                    self.products_at(&point, some)
                })
                .collect();
            Tensor::cat(products, 1)
        })
    }

    fn trace_gradient(
        &self,
        latents: Tensor<B, 2>,
        weights: Tensor<B, 3>,
        rows: usize,
    ) -> Tensor<B, 2> {
        let many = rows / self.layers.dim();
        self.by_examples(latents, many, |range, latents, observation| {
            let point = self.point(latents, observation);
            self.trace_gradient_at(&point, weights.clone().slice_dim(0, range))
        })
    }

    fn hessian(&self, latents: Tensor<B, 2>, rows: usize) -> Tensor<B, 3> {
        let many = rows / self.layers.dim();
        self.by_examples(latents, many, |_, latents, observation| {
            self.hessian_at(&self.point(latents, observation))
        })
    }

    fn bytes_per_row(&self) -> usize {
        // Two tensors kept for every unit of the network.
        let blocks = self.blocks.iter().chain(&self.after);
        let blocks = blocks.map(Segment::units).sum::<usize>();
        let heads = self.heads.iter().map(|heads| heads.maps.units());
        let units = blocks + heads.sum::<usize>() + self.image.units() + self.to_image.outputs();
        2 * units * size_of::<f32>()
    }
}
