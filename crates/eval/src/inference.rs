//! Inferring latents with a trained generator.

use burn::{prelude::*, tensor::TensorData};
use shortrun_data::{ImageShape, Images};
use shortrun_langevin::{Divergence, LatentLayers, Noise, NoiseKey, Purpose, Run, ShortRun};
use shortrun_model::{Generator, Learnable, Observation};

use crate::EvalError;

/// How many images are inferred at once: a fixed number, so that the noise of an image depends on
/// the seed and the image's place alone.
pub(crate) const CHUNK: usize = 50;

/// Chains that run at once where each image has several.
const ROWS: usize = 128;

/// How many images have their chains run at once: a number that does not depend on how many there
/// are.
pub(crate) fn images_at_once(chains: usize) -> usize {
    (ROWS / chains.max(1)).max(1)
}

/// How latents are inferred: the chain, the observation noise, and the seed of its noise.
#[derive(Clone, Debug)]
pub struct Inference {
    /// The chain.
    pub chain: ShortRun,
    /// Standard deviation of a pixel.
    pub sigma: f64,
    /// Seed of starts and Langevin noise.
    pub seed: u64,
    /// The latent layers.
    pub layers: LatentLayers,
}

/// Latents inferred from images.
#[derive(Clone, Debug)]
pub struct Inferred<B: Backend> {
    /// Where the chains ended, `[n, d]`.
    pub latents: Tensor<B, 2>,
    /// The chains that diverged, if any.
    pub divergence: Option<Divergence>,
}

impl Inference {
    /// Infers the latents of the first `count` images.
    ///
    /// # Errors
    /// If there are no images, or the chain or sigma make no sense.
    pub fn infer<B: Backend, G: Learnable<B>>(
        &self,
        generator: &G,
        images: &Images,
        count: usize,
        device: &B::Device,
    ) -> Result<Inferred<B>, EvalError> {
        let mut energies = vec![Vec::new(); self.chain.steps() + 1];
        let mut latents = Vec::new();
        self.run(generator, images, count, device, |observation, run| {
            let ends = generator.valid().energy(run.latents.clone(), &observation);
            let n = run.latents.dims()[0];
            let along = [host(run.energy), host(ends)].concat();
            for (all, some) in energies.iter_mut().zip(along.chunks(n)) {
                all.extend_from_slice(some);
            }
            latents.push(run.latents);
        })?;
        let latents = Tensor::cat(latents, 0);
        let [n, d] = latents.dims();
        Ok(Inferred {
            latents,
            divergence: Divergence::find(&energies.concat(), n, d),
        })
    }

    /// Runs the chain on the first `count` images, some at a time, and hands each observation and
    /// the run on it to `each`.
    pub(crate) fn run<B: Backend, G: Learnable<B>>(
        &self,
        generator: &G,
        images: &Images,
        count: usize,
        device: &B::Device,
        each: impl FnMut(Observation<B>, Run<B>),
    ) -> Result<(), EvalError> {
        self.run_masked(generator, images, None, count, device, each)
    }

    /// As [`run`](Self::run), with only some pixels of each image seen (`[count][h * w]`).
    pub(crate) fn run_masked<B: Backend, G: Learnable<B>>(
        &self,
        generator: &G,
        images: &Images,
        seen: Option<&[Vec<bool>]>,
        count: usize,
        device: &B::Device,
        mut each: impl FnMut(Observation<B>, Run<B>),
    ) -> Result<(), EvalError> {
        let count = count.min(images.len());
        if count == 0 {
            return Err(EvalError::NoImages);
        }
        let places: Vec<usize> = (0..count).collect();
        for (chunk, places) in places.chunks(CHUNK).enumerate() {
            let mut observation = Observation::new(to_tensor(images, places, device), self.sigma)?;
            if let Some(seen) = seen {
                let shape = images.shape();
                let pixels = places.iter().flat_map(|place| &seen[*place]);
                let pixels: Vec<f32> = pixels.map(|seen| f32::from(u8::from(*seen))).collect();
                let shape = [places.len(), 1, shape.height, shape.width];
                let mask = Tensor::from_data(TensorData::new(pixels, shape), device);
                observation = observation.with_mask(mask)?;
            }
            let key = |purpose| NoiseKey {
                seed: self.seed,
                iteration: chunk as u64,
                purpose,
            };
            let noise =
                key(Purpose::EvaluationStart).normal([places.len(), self.layers.dim()], 0, device);
            let valid = generator.valid();
            let start = valid.latents_from_noise(noise);
            if chunk == 0 {
                check_shape(&valid, &start, images)?;
            }
            let posterior = generator.posterior(observation.clone());
            let run = self
                .chain
                .run(&posterior, start, Noise::Keyed(key(Purpose::Evaluation)))?;
            each(observation, run);
        }
        Ok(())
    }
}

/// Refuses images of another shape than the generator makes of the first of these latents.
pub(crate) fn check_shape<B: Backend>(
    generator: &impl Generator<B>,
    latents: &Tensor<B, 2>,
    images: &Images,
) -> Result<(), EvalError> {
    let one = generator.forward(latents.clone().slice_dim(0, ..1));
    let [_, channels, height, width] = one.dims();
    let generator = ImageShape {
        channels,
        height,
        width,
    };
    let images = images.shape();
    if images == generator {
        return Ok(());
    }
    Err(EvalError::ImageShape { images, generator })
}

/// The first `count` images, `[n, c, h, w]` in [-1, 1], some at a time: always as many, so that
/// what is drawn for an image depends on its place alone.
///
/// # Errors
/// If there are none.
pub fn image_batches<'a, B: Backend>(
    images: &'a Images,
    count: usize,
    device: &'a B::Device,
) -> Result<impl Iterator<Item = Tensor<B, 4>> + use<'a, B>, EvalError> {
    let places: Vec<usize> = (0..count.min(images.len())).collect();
    if places.is_empty() {
        return Err(EvalError::NoImages);
    }
    let chunks: Vec<Vec<usize>> = places.chunks(CHUNK).map(<[usize]>::to_vec).collect();
    let batches = chunks.into_iter();
    Ok(batches.map(|places| to_tensor(images, &places, device)))
}

/// Images at these places as `[n, c, h, w]`, values in [-1, 1].
pub(crate) fn to_tensor<B: Backend>(
    images: &Images,
    places: &[usize],
    device: &B::Device,
) -> Tensor<B, 4> {
    let shape = images.shape();
    let shape = [places.len(), shape.channels, shape.height, shape.width];
    Tensor::from_data(TensorData::new(images.to_f32(places), shape), device)
}

/// A tensor's values on the host, row by row.
pub fn host<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().iter().collect()
}

/// Whether the generator's latents are their own noise, and so standard normal, at `noise` `[n, d]`.
pub(crate) fn standard_normal<B: Backend>(
    generator: &impl Generator<B>,
    noise: Tensor<B, 2>,
) -> bool {
    let moved = generator.latents_from_noise(noise.clone()) - noise;
    host(moved.abs().max()) == [0.0]
}

/// Images `[n, c, h, w]` of latents `[n, d]` on the host, row by row; some at a time.
pub(crate) fn images_of<B: Backend, G: Learnable<B>>(
    generator: &G,
    latents: Tensor<B, 2>,
) -> Vec<f32> {
    let parts = latents.split(CHUNK, 0).into_iter();
    parts
        .flat_map(|latents| host(generate(generator, latents)))
        .collect()
}

/// `forward` of the generator without a tape: `[n, d]` to `[n, c, h, w]`.
pub(crate) fn generate<B: Backend, G: Learnable<B>>(
    generator: &G,
    latents: Tensor<B, 2>,
) -> Tensor<B, 4> {
    generator.valid().forward(latents)
}
