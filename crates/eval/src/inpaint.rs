//! Inpainting: the chain sees some pixels, the generator fills in the rest (Nijkamp et al., 2020,
//! section 5.3).

use burn::prelude::*;
use shortrun_data::Images;
use shortrun_model::Learnable;

use crate::{
    EvalError, Inference, Mask,
    inference::{generate, host},
};

/// Images with hidden pixels, and what the model makes of them.
#[derive(Clone, Debug)]
pub struct Inpainting {
    /// The whole images, `[n, c, h, w]` in [-1, 1], row by row; so all that follow.
    pub originals: Vec<f32>,
    /// The same with 0, mid-grey, where a pixel was hidden.
    pub occluded: Vec<f32>,
    /// The generator's image of one chain's latents, whole: it shows how well the seen pixels are
    /// met, too.
    pub inpainted: Vec<f32>,
    /// Mean over all chains of an image.
    pub mean: Vec<f32>,
    /// Standard deviation over all chains of an image: where the posterior is unsure.
    pub deviation: Vec<f32>,
    /// Mean squared error of [`inpainted`](Self::inpainted) on hidden pixels, per value.
    pub hidden_mse: f64,
    /// Likewise on the pixels that were seen.
    pub visible_mse: f64,
    /// Mean squared error of the mean over chains on hidden pixels, per value.
    pub mean_hidden_mse: f64,
}

impl Inpainting {
    /// The rows of a picture: originals, occluded, inpainted, mean and deviation, the last so that
    /// black is none.
    pub fn rows(&self) -> [Vec<f32>; 5] {
        // Deviations lie in [0, 1].
        let deviation = self.deviation.iter().map(|d| 2.0 * d - 1.0).collect();
        [
            self.originals.clone(),
            self.occluded.clone(),
            self.inpainted.clone(),
            self.mean.clone(),
            deviation,
        ]
    }
}

/// Inpaints the first `count` images with `samples` chains each.
///
/// # Errors
/// If there are no images or no samples, or the mask does not fit them.
pub fn inpaint<B: Backend, G: Learnable<B>>(
    generator: &G,
    images: &Images,
    count: usize,
    mask: &Mask,
    samples: usize,
    inference: &Inference,
    device: &B::Device,
) -> Result<Inpainting, EvalError> {
    let (count, shape) = (count.min(images.len()), images.shape());
    if count == 0 || samples == 0 {
        return Err(EvalError::NoImages);
    }
    let seen = mask.seen(shape, count, inference.seed)?;
    let pixels: Vec<bool> = seen
        .iter()
        .flat_map(|image| std::iter::repeat_n(image, shape.channels).flatten())
        .copied()
        .collect();
    let mut originals = Vec::new();
    let mut chains = Vec::new();
    for sample in 0..samples as u64 {
        let inference = Inference {
            seed: inference.seed.wrapping_add(sample),
            ..inference.clone()
        };
        let mut generated = Vec::new();
        originals.clear();
        inference.run_masked(
            generator,
            images,
            Some(&seen),
            count,
            device,
            |seen, run| {
                originals.extend(host(seen.images().clone()));
                generated.extend(host(generate(generator, run.latents)));
            },
        )?;
        chains.push(generated);
    }
    let (mean, deviation) = spread(&chains);
    let inpainted = chains.swap_remove(0);
    let error = |image: &[f32], of: bool| {
        let pairs = originals.iter().zip(image).zip(&pixels);
        let chosen = pairs.filter(|(_, seen)| **seen == of);
        let squares: Vec<f64> = chosen
            .map(|((original, made), _)| f64::from(original - made).powi(2))
            .collect();
        squares.iter().sum::<f64>() / squares.len() as f64
    };
    let occluded = originals.iter().zip(&pixels);
    Ok(Inpainting {
        occluded: occluded
            .map(|(value, seen)| if *seen { *value } else { 0.0 })
            .collect(),
        hidden_mse: error(&inpainted, false),
        visible_mse: error(&inpainted, true),
        mean_hidden_mse: error(&mean, false),
        originals,
        inpainted,
        mean,
        deviation,
    })
}

/// Mean and standard deviation over the chains, value by value.
fn spread(chains: &[Vec<f32>]) -> (Vec<f32>, Vec<f32>) {
    let n = chains.len() as f32;
    let values = chains.first().map_or(0, Vec::len);
    let moments = (0..values).map(|at| {
        let mean = chains.iter().map(|chain| chain[at]).sum::<f32>() / n;
        let squares = chains.iter().map(|chain| (chain[at] - mean).powi(2));
        (mean, (squares.sum::<f32>() / n).sqrt())
    });
    moments.unzip()
}
