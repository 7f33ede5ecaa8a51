//! Reconstruction: infer the latents of images, and generate from them.

use burn::prelude::*;
use shortrun_data::Images;
use shortrun_langevin::Divergence;
use shortrun_model::Learnable;

use crate::{
    EvalError, Inference,
    inference::{host, image_batches, images_of},
};

/// Images beside what the generator makes of their inferred latents.
#[derive(Clone, Debug)]
pub struct Reconstruction {
    /// The images, `[n, c, h, w]` in [-1, 1], row by row.
    pub originals: Vec<f32>,
    /// The generator's images of the inferred latents, likewise.
    pub generated: Vec<f32>,
    /// Mean squared error of each image, per value in [-1, 1].
    pub mse_by_image: Vec<f64>,
    /// The chains that diverged, if any.
    pub divergence: Option<Divergence>,
}

impl Reconstruction {
    /// The first images beside those generated for them.
    fn of(images: &Images, generated: Vec<f32>, divergence: Option<Divergence>) -> Self {
        let values = images.shape().values();
        let places: Vec<usize> = (0..generated.len() / values).collect();
        let originals = images.to_f32(&places);
        let pairs = originals
            .chunks_exact(values)
            .zip(generated.chunks_exact(values));
        Self {
            mse_by_image: pairs.map(|(a, b)| mse(a, b)).collect(),
            divergence,
            originals,
            generated,
        }
    }

    /// Mean squared error over all images, per value in [-1, 1].
    pub fn mse(&self) -> f64 {
        self.mse_by_image.iter().sum::<f64>() / self.mse_by_image.len() as f64
    }
}

/// Reconstructs the first `count` images.
///
/// # Errors
/// If there are no images or they are not of the generator's shape, or the chain or sigma make no
/// sense.
pub fn reconstruct<B: Backend, G: Learnable<B>>(
    generator: &G,
    images: &Images,
    count: usize,
    inference: &Inference,
    device: &B::Device,
) -> Result<Reconstruction, EvalError> {
    let found = inference.infer(generator, images, count, device)?;
    let generated = images_of(generator, found.latents);
    Ok(Reconstruction::of(images, generated, found.divergence))
}

/// Reconstructs the first `count` images by a method without chains: `by` makes its images
/// `[n, c, h, w]` of given ones, some at a time.
///
/// # Errors
/// If there are no images.
pub fn reconstruct_by<B: Backend>(
    images: &Images,
    count: usize,
    device: &B::Device,
    mut by: impl FnMut(Tensor<B, 4>) -> Tensor<B, 4>,
) -> Result<Reconstruction, EvalError> {
    let batches = image_batches(images, count, device)?;
    let generated = batches.flat_map(|images| host(by(images))).collect();
    Ok(Reconstruction::of(images, generated, None))
}

/// Mean squared error that predicting `mean` (one image) for each of the first `count` images
/// makes, per value in [-1, 1]: what a model has to beat.
pub fn mean_image_mse(mean: &[f32], images: &Images, count: usize) -> f64 {
    let count = count.min(images.len());
    let sum: f64 = (0..count)
        .map(|place| mse(&images.to_f32(&[place]), mean))
        .sum();
    sum / count as f64
}

/// Mean squared difference of two images, per value.
pub(crate) fn mse(a: &[f32], b: &[f32]) -> f64 {
    let squares = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2));
    squares.sum::<f64>() / a.len() as f64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use shortrun_data::ImageShape;

    #[test]
    fn the_mean_image_is_scored_by_the_variance() {
        let shape = ImageShape {
            channels: 1,
            height: 1,
            width: 1,
        };
        let images = Images::new(shape, vec![0, 255], None).unwrap();
        assert!((mean_image_mse(&images.mean_image(), &images, 2) - 1.0).abs() < 1e-6);
    }
}
