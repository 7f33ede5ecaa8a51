//! What each layer of latents does to the image (Nijkamp et al., 2020, section 5.4).
//!
//! The noise `e_l` of one layer is drawn again from its prior N(0, I) while that of all others is
//! held. Where layers are given one another this moves the latents below too, `z_m = mu_m + sigma_m
//! e_m`: it is the effect of the layer on everything that depends on it.

use burn::prelude::*;
use shortrun_langevin::{ChainError, LatentLayers};
use shortrun_model::Learnable;

use crate::{
    EvalError,
    inference::host,
    reconstruct::mse,
    sample::{images_of_noise, noise_of},
};

/// Images, and what becomes of them when one layer is drawn again.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    /// The generator's images of the noise that is held, `[n, c, h, w]` in [-1, 1], row by row.
    pub base: Vec<f32>,
    /// One for each layer, top first.
    pub layers: Vec<Redrawn>,
    /// With all layers drawn again at once: what single layers are compared with.
    pub all: Redrawn,
}

/// Images of which part of the noise was drawn again.
#[derive(Clone, Debug)]
pub struct Redrawn {
    /// All redraws of the first image, then of the next: `[n * redraws, c, h, w]`.
    pub images: Vec<f32>,
    /// Mean squared change per value of each image, `[n]`, over its redraws.
    pub change_by_image: Vec<f64>,
    /// Mean square of what was replaced, per dimension: 1 of noise from the prior. Inferred noise far
    /// from 1 has left the places where redraws come from.
    pub replaced_square: f64,
}

/// A mean and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Its standard error; `None` of a single number.
    pub standard_error: Option<f64>,
}

impl Estimate {
    /// The mean of independent numbers.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares = values.iter().map(|value| (value - mean).powi(2));
        let variance = squares.sum::<f64>() / (n - 1.0);
        Self {
            mean,
            standard_error: (values.len() > 1).then(|| (variance / n).sqrt()),
        }
    }
}

impl Redrawn {
    /// Mean squared change per value, `E |g(e') - g(e)|^2 / D`, with the standard error that the
    /// choice of images leaves.
    pub fn change(&self) -> Estimate {
        Estimate::of(&self.change_by_image)
    }
}

/// Draws each layer of `base` (noise, `[n, d]`) again `redraws` times, and then all at once.
///
/// `base` is the noise behind inferred latents
/// ([`noise_from_latents`](shortrun_model::Generator::noise_from_latents)) or of the prior
/// ([`prior_noise`](crate::prior_noise)).
///
/// # Errors
/// If there are no images or no redraws, or the layers do not add up to d.
pub fn resample_layers<B: Backend, G: Learnable<B>>(
    generator: &G,
    layers: &LatentLayers,
    base: Tensor<B, 2>,
    redraws: usize,
    seed: u64,
) -> Result<Hierarchy, EvalError> {
    let [n, latents] = base.dims();
    let (d, device) = (layers.dim(), base.device());
    if n == 0 || redraws == 0 {
        return Err(EvalError::NoImages);
    }
    check_layers(layers, latents)?;
    let images = images_of_noise(generator, base.clone());
    let values = images.len() / n;
    let repeated = base.clone().unsqueeze_dim::<3>(1).repeat_dim(1, redraws);
    let repeated: Tensor<B, 2> = repeated.reshape([n * redraws, d]);
    // Draw 0 is the noise of samples, which may be the base.
    let redraw = |draw: u64, columns: std::ops::Range<usize>| {
        let rows = n * redraws;
        let replaced = host(base.clone().slice_dim(1, columns.clone()));
        let fresh = noise_of(seed, draw, [rows, columns.len()], &device);
        let noise = repeated.clone().slice_assign([0..rows, columns], fresh);
        let redrawn = images_of_noise(generator, noise);
        let change = images
            .chunks_exact(values)
            .zip(redrawn.chunks_exact(redraws * values))
            .map(|(base, redrawn)| {
                let changes = redrawn.chunks_exact(values).map(|image| mse(base, image));
                changes.sum::<f64>() / redraws as f64
            });
        Redrawn {
            change_by_image: change.collect(),
            replaced_square: mean_square(&replaced),
            images: redrawn,
        }
    };
    Ok(Hierarchy {
        layers: (1..)
            .zip(layers.ranges())
            .map(|(draw, l)| redraw(draw, l))
            .collect(),
        all: redraw(layers.count() as u64 + 1, 0..d),
        base: images,
    })
}

fn mean_square(values: &[f32]) -> f64 {
    let squares = values.iter().map(|value| f64::from(*value).powi(2));
    squares.sum::<f64>() / values.len() as f64
}

pub(crate) fn check_layers(layers: &LatentLayers, latents: usize) -> Result<(), ChainError> {
    let layers = layers.dim();
    if layers == latents {
        return Ok(());
    }
    Err(ChainError::LayerSize { layers, latents })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_has_the_textbook_standard_error() {
        let found = Estimate::of(&[1.0, 2.0, 3.0, 6.0]);
        assert_eq!(found.mean, 3.0);
        // Variance 14 / 3 of one, 14 / 12 of the mean of four.
        assert_eq!(found.standard_error, Some((14.0_f64 / 12.0).sqrt()));
        assert_eq!(Estimate::of(&[1.0]).standard_error, None);
    }
}
