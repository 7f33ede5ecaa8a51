//! The top-down pass of a ladder of posteriors.

use burn::prelude::*;

use crate::{Gaussian, Inferred, TopDown};

/// The posterior that a bottom-up pass and the generator make together (Sønderby et al., 2016).
///
/// `bottom_up` holds what the image says of each layer, `N(m_l, s_l²)`, top first. On the way down it is multiplied
/// with what the layers above say, the generator's own prior:
///
/// ```text
/// q(z_L | x)            = N(m_L, s_L²)
/// q(z_l | z_{l+1..}, x) ∝ N(m_l, s_l²) N(mu_l(z_{l+1..}), sigma_l(z_{l+1..})²)
/// ```
///
/// A layer that is standard normal whatever is above takes what the image says alone, as the top does.
/// With one layer this is the posterior of a plain variational autoencoder. The divergence is the sum
/// of each layer's `KL(q(z_l | ..., x) || p(z_l | ...))` in closed form, at the latents drawn above;
/// it is the same in the variables z_l and `e_l = (z_l - mu_l) / sigma_l`.
///
/// # Shapes
/// `bottom_up` one `[n, d_l]` for each layer, standard normal `noise` `[n, d]`
///
/// # Panics
/// If `bottom_up` has another number of layers than the generator.
pub fn top_down_posterior<B: Backend>(
    generator: &impl TopDown<B>,
    bottom_up: &[Gaussian<B>],
    noise: Tensor<B, 2>,
) -> Inferred<B> {
    assert_eq!(bottom_up.len(), generator.layer_sizes().len());
    let n = noise.dims()[0];
    let mut divergence = Tensor::zeros([n], &noise.device());
    let mut start = 0;
    let generated = generator.choose_latents(&mut |layer, prior| {
        let seen = &bottom_up[layer];
        let (posterior, prior) = match prior {
            None => (seen.clone(), seen.standard_like()),
            Some(prior) => (seen.product(&prior), prior),
        };
        divergence = divergence.clone() + posterior.divergence(&prior);
        let end = start + generator.layer_sizes()[layer];
        let latents = posterior.at(noise.clone().slice([0..n, start..end]));
        start = end;
        latents
    });
    Inferred {
        generated,
        divergence,
    }
}
