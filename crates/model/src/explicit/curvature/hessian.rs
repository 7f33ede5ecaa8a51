//! The Hessian, by Gram matrices of tangents: nothing has to go back up.
//!
//! An elementwise node `y = f(a)` that the energy pulls at with `u` adds `J^T diag(u f'') J`, with
//! J the tangents of `a`; so does the energy of the pixels. A product `z = mu + sigma e` adds
//! `u (sigma' e'^T + e' sigma'^T)`.

use burn::prelude::*;

use super::{
    ExplicitCurvature,
    point::{Point, halves},
    rows::{gram, multiply, times},
};

impl<B: Backend> ExplicitCurvature<B> {
    /// `[n, d, d]`, symmetric to the last bit.
    pub(super) fn hessian_at(&self, point: &Point<B>) -> Tensor<B, 3> {
        // The Hessian in the directions so far, and the tangents of the features: `[n, D_i, D_i]`
        // and `[n, D_i, units]`.
        let mut above: Option<(Tensor<B, 3>, Tensor<B, 3>)> = None;
        for (i, (layer, size)) in point.layers.iter().zip(self.layers.sizes()).enumerate() {
            let identity = identity(point, *size);
            let (local, gram_of_block) = self.blocks[i].hessian(identity.clone(), &layer.block);
            let (hessian, features) = match (above, &layer.given) {
                (Some((hessian, features)), Some(given)) => {
                    let heads = &self.heads[i - 1];
                    let (maps, gram_of_heads) = heads.maps.hessian(features.clone(), &given.heads);
                    let [mean, raw] = halves(heads.last.apply(maps));
                    let [slope, second, _] = given.scale_slopes.clone();
                    let pull = given.latent_adjoint.clone();
                    let bend = pull.clone() * given.noise.clone() * second;
                    let scale = raw.clone() * slope;
                    // Tangents of z in the directions above; in its own they are diag(sigma).
                    let latents = mean + scale.clone() * given.noise.clone();
                    let crossed = scale * pull;
                    let above = hessian + gram_of_heads + gram(raw, bend);
                    let hessian = bordered(above, crossed, identity);
                    let all = with_own(latents.clone(), given.scale.clone());
                    let passed = multiply(all.clone(), gram_of_block);
                    (
                        hessian + multiply(passed, all.swap_dims(1, 2)),
                        features_below(features, latents, local, given.scale.clone()),
                    )
                }
                (Some((hessian, features)), None) => {
                    let ([n, above, _], [_, own, _]) = (hessian.dims(), identity.dims());
                    let crossed = Tensor::zeros([n, above, own], &hessian.device());
                    (
                        bordered(hessian, crossed, identity + gram_of_block),
                        Tensor::cat(vec![features, local], 1),
                    )
                }
                (None, _) => (identity + gram_of_block, local),
            };
            let (features, gram_below) = self.after[i].hessian(features, &layer.after);
            above = Some((hessian + gram_below, features));
        }
        let Some((hessian, features)) = above else {
            unreachable!("a generator without layers")
        };
        let (last, gram_of_image) = self.image.hessian(features, &point.image);
        let image = self.to_image.apply(last);
        let hessian = hessian + gram_of_image + gram(image, point.pixels[1].clone());
        (hessian.clone() + hessian.swap_dims(1, 2)) * 0.5
    }
}

/// A symmetric matrix with the rows and columns of one more layer.
fn bordered<B: Backend>(
    above: Tensor<B, 3>,
    crossed: Tensor<B, 3>,
    own: Tensor<B, 3>,
) -> Tensor<B, 3> {
    let rows = [
        vec![above, crossed.clone()],
        vec![crossed.swap_dims(1, 2), own],
    ];
    Tensor::cat(rows.map(|row| Tensor::cat(row, 2)).to_vec(), 1)
}

/// `[n, size, size]` for the examples of the point.
pub(super) fn identity<B: Backend>(point: &Point<B>, size: usize) -> Tensor<B, 3> {
    let like = &point.pixels[0];
    let eye = Tensor::<B, 2>::eye(size, &like.device());
    eye.unsqueeze_dim::<3>(0)
        .expand([like.dims()[0], size, size])
}

/// Tangents of `z` in all directions: above, `[n, D, d]`, and its own, `diag(sigma)`.
pub(super) fn with_own<B: Backend>(above: Tensor<B, 3>, scale: Tensor<B, 3>) -> Tensor<B, 3> {
    let [n, _, d] = above.dims();
    let eye = Tensor::<B, 2>::eye(d, &above.device()).unsqueeze_dim::<3>(0);
    Tensor::cat(vec![above, times(eye.expand([n, d, d]), scale)], 1)
}

/// Tangents of the features with a block added, `h' + Z R`: R the block's own, `[n, d, units]`, and
/// Z as in [`with_own`].
pub(super) fn features_below<B: Backend>(
    features: Tensor<B, 3>,
    above: Tensor<B, 3>,
    local: Tensor<B, 3>,
    scale: Tensor<B, 3>,
) -> Tensor<B, 3> {
    let own = local.clone() * scale.swap_dims(1, 2);
    Tensor::cat(vec![multiply(above, local) + features, own], 1)
}
