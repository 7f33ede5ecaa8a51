//! The gradient of `T = tr(W H(e))`, W held fixed.
//!
//! Down go the tangents along the basis, `y'_j`, and one weighted second-order coefficient for each
//! unit, `Y'' = sum_jk W_jk y''_jk` (the forward Laplacian with weights). Then
//!
//! ```text
//! T = tr W + sum over pixels of E''(a) sum_jk W_jk a'_j a'_k + E'(a) A''
//! ```
//!
//! with E the energy of a pixel in the image before tanh. Up go the adjoints of T: those of `Y''`
//! are the plain adjoints u, those of `y'_j` are adjoint tangents (kept halved, so that they are the
//! adjoint tangents of the direction `W b_j`), and those of y are what is asked for.

use std::ops::Range;

use burn::prelude::*;

use super::{
    ExplicitCurvature,
    hessian::{features_below, identity, with_own},
    point::{Given, Point, halves},
    rows::{directions, multiply, quadratic, times},
    segment::Weighted,
};

/// What a layer leaves for the way up.
struct Kept<B: Backend> {
    /// The layer's columns in the flat vector.
    columns: Range<usize>,
    block: Vec<Weighted<B>>,
    /// Tangents of the block's output in the directions of `z_i`, `[n, d_i, units]`.
    local: Tensor<B, 3>,
    after: Vec<Weighted<B>>,
    /// Absent in the top layer and in a ladder.
    given: Option<KeptGiven<B>>,
}

struct KeptGiven<B: Backend> {
    heads: Vec<Weighted<B>>,
    /// Tangents of the scale head's output, their partners (`[n, D, d_i]`), quadratic form and
    /// second-order coefficient (`[n, 1, d_i]`).
    raw: Weighted<B>,
    /// `sigma''`
    scale_laplacian: Tensor<B, 3>,
    /// Z: tangents of `z_i` in all `D_i` directions, `[n, D_i, d_i]`.
    latents: Tensor<B, 3>,
}

impl<B: Backend> ExplicitCurvature<B> {
    /// `[n, d]`; weights `[n, d, d]`.
    pub(super) fn trace_gradient_at(
        &self,
        point: &Point<B>,
        weights: Tensor<B, 3>,
    ) -> Tensor<B, 2> {
        let block_of = |rows: usize| weights.clone().slice_dim(1, 0..rows).slice_dim(2, 0..rows);
        // Tangents and second-order coefficients of the features.
        let mut features: Option<[Tensor<B, 3>; 2]> = None;
        let mut kept = Vec::with_capacity(point.layers.len());
        for (i, (layer, columns)) in point.layers.iter().zip(self.layers.ranges()).enumerate() {
            let identity = identity(point, columns.len());
            let (given, local_weights, laplacian) = match (&features, &layer.given) {
                (Some(features), Some(given)) => {
                    let above = block_of(columns.start);
                    let crossed = weights
                        .clone()
                        .slice_dim(1, 0..columns.start)
                        .slice_dim(2, columns.clone());
                    let (given, laplacian) =
                        self.latents_down(i, given, features.clone(), above, crossed);
                    let all = given.latents.clone();
                    let local = multiply(all.clone().swap_dims(1, 2), block_of(columns.end));
                    (Some(given), multiply(local, all), laplacian)
                }
                _ => (
                    None,
                    block_of(columns.end)
                        .slice_dim(1, columns.clone())
                        .slice_dim(2, columns.clone()),
                    identity.clone().slice_dim(1, 0..1).zeros_like(),
                ),
            };
            let ([local, added], block) =
                self.blocks[i].weighted([identity, laplacian], &local_weights, &layer.block);
            let sum = match (features, &given, &layer.given) {
                (Some([tangents, laplacian]), Some(kept), Some(given)) => {
                    let above = directions(kept.latents.clone(), 0..columns.start);
                    let tangents =
                        features_below(tangents, above, local.clone(), given.scale.clone());
                    [tangents, laplacian + added]
                }
                (Some([tangents, laplacian]), ..) => [
                    Tensor::cat(vec![tangents, local.clone()], 1),
                    laplacian + added,
                ],
                (None, ..) => [local.clone(), added],
            };
            let (below, after) = self.after[i].weighted(sum, &block_of(columns.end), &layer.after);
            features = Some(below);
            kept.push(Kept {
                columns,
                block,
                local,
                after,
                given,
            });
        }
        let Some(features) = features else {
            unreachable!("a generator without layers")
        };
        let (last, image) = self.image.weighted(features, &weights, &point.image);

        let [tangents, laplacian] = last.map(|last| self.to_image.apply(last));
        let partners = multiply(weights.clone(), tangents.clone());
        let quadratic = quadratic(tangents, partners.clone());
        let [_, second, third] = point.pixels.clone();
        let value = third * quadratic + second.clone() * laplacian;
        let seeds = [times(partners, second), value];
        let seeds = seeds.map(|seed| self.to_image.transposed(seed));
        let [mut tangents, mut value] = self.image.third(seeds, &point.image, &image);

        let mut gradients = Vec::with_capacity(kept.len());
        for (i, (layer, kept)) in point.layers.iter().zip(kept).enumerate().rev() {
            let columns = kept.columns;
            [tangents, value] = self.after[i].third([tangents, value], &layer.after, &kept.after);
            // The adjoint of `R` in `J = Z R`.
            let local = match &kept.given {
                Some(given) => multiply(given.latents.clone().swap_dims(1, 2), tangents.clone()),
                None => directions(tangents.clone(), columns.clone()),
            };
            let block = &self.blocks[i];
            let [_, latent] = block.third([local, value.clone()], &layer.block, &kept.block);
            let (Some(given), Some(passed)) = (&layer.given, kept.given) else {
                gradients.push(latent);
                if i > 0 {
                    tangents = directions(tangents, 0..columns.start);
                }
                continue;
            };
            let weighted = multiply(block_of(columns.end), passed.latents.clone());
            let latents = multiply(tangents.clone(), kept.local.swap_dims(1, 2))
                + multiply(weighted, block.hessian_of(&layer.block, &kept.block));
            let crossed = weights
                .clone()
                .slice_dim(1, 0..columns.start)
                .slice_dim(2, columns.clone());
            let (gradient, to_features) =
                self.latents_up(i, given, passed, [latents, latent], crossed);
            gradients.push(gradient);
            let [to_tangents, to_value] = to_features;
            tangents = to_tangents + directions(tangents, 0..columns.start);
            value = value + to_value;
        }
        gradients.reverse();
        Tensor::cat(gradients, 2).squeeze_dim(1)
    }

    /// From the features above to `z = mu + sigma e`: `z''`, and what is kept. `above` are the
    /// weights of the directions above, `crossed` `[n, D, d_i]` those between them and e.
    fn latents_down(
        &self,
        i: usize,
        given: &Given<B>,
        features: [Tensor<B, 3>; 2],
        above: Tensor<B, 3>,
        crossed: Tensor<B, 3>,
    ) -> (KeptGiven<B>, Tensor<B, 3>) {
        let heads = &self.heads[i - 1];
        let (maps, nodes) = heads.maps.weighted(features, &above, &given.heads);
        let [tangents, laplacians] = maps.map(|maps| halves(heads.last.apply(maps)));
        let [mean, raw] = tangents;
        let [mean_laplacian, raw_laplacian] = laplacians;
        let [slope, second, _] = given.scale_slopes.clone();
        let raw = Weighted::new(raw, raw_laplacian, &above);
        let scale = times(raw.tangents.clone(), slope.clone());
        let scale_laplacian = slope * raw.laplacian.clone() + second * raw.quadratic.clone();
        let laplacian = mean_laplacian
            + scale_laplacian.clone() * given.noise.clone()
            + quadratic(scale.clone(), crossed) * 2.0;
        let latents = mean + times(scale, given.noise.clone());
        let kept = KeptGiven {
            heads: nodes,
            raw,
            scale_laplacian,
            latents: with_own(latents, given.scale.clone()),
        };
        (kept, laplacian)
    }

    /// From the adjoints of z (of its tangents in all directions, and of its value) to those of e,
    /// `[n, 1, d_i]`, and of the features above.
    fn latents_up(
        &self,
        i: usize,
        given: &Given<B>,
        kept: KeptGiven<B>,
        latents: [Tensor<B, 3>; 2],
        crossed: Tensor<B, 3>,
    ) -> (Tensor<B, 3>, [Tensor<B, 3>; 2]) {
        let [tangents, value] = latents;
        let [_, above, d] = crossed.dims();
        let own = directions(tangents.clone(), above..above + d);
        let tangents = directions(tangents, 0..above);
        let diagonal = Tensor::<B, 2>::eye(d, &own.device()).unsqueeze_dim::<3>(0);
        let own: Tensor<B, 3> = (own * diagonal).sum_dim(1);
        let [slope, second, third] = given.scale_slopes.clone();
        let (pull, noise) = (given.latent_adjoint.clone(), given.noise.clone());
        let raw = kept.raw;

        let scale = times(raw.tangents.clone(), slope.clone());
        let gradient = value.clone() * given.scale.clone()
            + quadratic(tangents.clone(), scale) * 2.0
            + pull.clone() * kept.scale_laplacian;

        let scale_value = value.clone() * noise.clone() + own * 2.0;
        let scale_tangents = times(tangents.clone(), noise.clone()) + times(crossed, pull.clone());
        let bend = pull.clone() * noise.clone() * second.clone();
        let raw_value = slope.clone() * scale_value
            + second * quadratic(raw.tangents, scale_tangents.clone()) * 2.0
            + bend.clone() * raw.laplacian
            + pull * noise * third * raw.quadratic;
        let raw_tangents = times(scale_tangents, slope) + times(raw.partners, bend);

        let heads = &self.heads[i - 1];
        let both = [[tangents, raw_tangents], [value, raw_value]];
        let maps = both.map(|both| heads.last.transposed(Tensor::cat(both.to_vec(), 2)));
        (gradient, heads.maps.third(maps, &given.heads, &kept.heads))
    }
}
