//! Hessian-vector products: tangents down, adjoint tangents up.

use burn::prelude::*;

use super::{
    ExplicitCurvature,
    point::{Point, halves},
    rows::times,
};

/// What a layer's tangents leave for the way up.
struct Kept<B: Backend> {
    block: Vec<Tensor<B, 3>>,
    after: Vec<Tensor<B, 3>>,
    /// Absent in the top layer and in a ladder.
    given: Option<KeptGiven<B>>,
    /// The directions' own part, `[n, m, d_i]`.
    vectors: Tensor<B, 3>,
}

struct KeptGiven<B: Backend> {
    heads: Vec<Tensor<B, 3>>,
    /// Tangents of the scale head's output, `[n, m, d_i]`.
    raw: Tensor<B, 3>,
}

impl<B: Backend> ExplicitCurvature<B> {
    /// `H v`, `[n, m, d]`, of vectors `[n, m, d]`.
    pub(super) fn products_at(&self, point: &Point<B>, vectors: Tensor<B, 3>) -> Tensor<B, 3> {
        let mut features: Option<Tensor<B, 3>> = None;
        let mut kept = Vec::with_capacity(point.layers.len());
        for (i, (layer, columns)) in point.layers.iter().zip(self.layers.ranges()).enumerate() {
            let vectors = vectors.clone().slice_dim(2, columns);
            let mut latents = vectors.clone();
            let given = features.clone().zip(layer.given.as_ref());
            let given = given.map(|(features, given)| {
                let heads = &self.heads[i - 1];
                let (maps, tangents) = heads.maps.tangents(features, &given.heads);
                let [mean, raw] = halves(heads.last.apply(maps));
                let by_scale = given.scale_slopes[0].clone() * given.noise.clone();
                latents = mean
                    + times(raw.clone(), by_scale)
                    + times(latents.clone(), given.scale.clone());
                KeptGiven {
                    heads: tangents,
                    raw,
                }
            });
            let (added, block) = self.blocks[i].tangents(latents, &layer.block);
            let sum = match features {
                Some(features) => features + added,
                None => added,
            };
            let (below, after) = self.after[i].tangents(sum, &layer.after);
            features = Some(below);
            kept.push(Kept {
                block,
                after,
                given,
                vectors,
            });
        }
        let Some(features) = features else {
            unreachable!("a generator without layers")
        };
        let (last, image) = self.image.tangents(features, &point.image);
        let pixels = times(self.to_image.apply(last), point.pixels[1].clone());

        let last = self.to_image.transposed(pixels);
        let mut features = self.image.adjoint_tangents(last, &point.image, &image);
        let mut products = Vec::with_capacity(kept.len());
        for (i, (layer, kept)) in point.layers.iter().zip(kept).enumerate().rev() {
            features = self.after[i].adjoint_tangents(features, &layer.after, &kept.after);
            let latents =
                self.blocks[i].adjoint_tangents(features.clone(), &layer.block, &kept.block);
            let (Some(given), Some(tangents)) = (&layer.given, kept.given) else {
                products.push(kept.vectors + latents);
                continue;
            };
            let [slope, second, _] = given.scale_slopes.clone();
            let pull = given.latent_adjoint.clone();
            let scale = times(tangents.raw.clone(), slope.clone());
            products.push(
                kept.vectors.clone()
                    + times(latents.clone(), given.scale.clone())
                    + times(scale, pull.clone()),
            );
            let to_scale =
                times(latents.clone(), given.noise.clone()) + times(kept.vectors, pull.clone());
            let to_raw =
                times(to_scale, slope) + times(tangents.raw, pull * given.noise.clone() * second);
            let heads = &self.heads[i - 1];
            let maps = heads.last.transposed(Tensor::cat(vec![latents, to_raw], 2));
            let above = heads
                .maps
                .adjoint_tangents(maps, &given.heads, &tangents.heads);
            features = features + above;
        }
        products.reverse();
        Tensor::cat(products, 2)
    }
}
