//! Learning by latent optimisation in a training run.

use burn::{backend::Autodiff, prelude::*};
use shortrun_data::Images;
use shortrun_eval::{EvalError, Reconstruction, reconstruct_by};
use shortrun_langevin::{LatentLayers, NoiseKey, Purpose};
use shortrun_model::{Generator, Learnable};
use shortrun_train::{
    Checkpoint, CheckpointFile, Learned, Measured, Method, Optimised, Parameters, Samples, Skip,
    State, TrainConfig, TrainError,
};

use super::{GloConfig, LatentGaussian, Latents, laplacian::ImageLoss, search::minimise};
use shortrun_eval::host;

/// A generator with its optimiser, and a latent for each training image.
///
/// The loss is that of the settings per value, not in nats.
pub struct GloMethod<B: Backend, G: Learnable<B>> {
    generator: Optimised<B, G>,
    latents: Latents,
    loss: ImageLoss<Autodiff<B>>,
    image: [usize; 3],
    settings: GloConfig,
    config: TrainConfig,
    device: B::Device,
}

impl<B: Backend, G: Learnable<B>> GloMethod<B, G> {
    /// A generator whose latents have these layers, about to learn from so many `images`.
    ///
    /// # Errors
    /// If a setting makes no sense.
    pub fn new(
        generator: G,
        layers: &LatentLayers,
        images: usize,
        settings: &GloConfig,
        config: &TrainConfig,
        device: &B::Device,
    ) -> Result<Self, TrainError> {
        settings.check()?;
        let zero = Tensor::zeros([1, layers.dim()], device);
        let [_, image @ ..] = generator.valid().forward(zero).dims();
        Ok(Self {
            generator: Optimised::new("generator", generator, &config.adam),
            latents: Latents::drawn(config.seed, images, layers.dim()),
            loss: ImageLoss::new(settings, image, device),
            image,
            settings: *settings,
            config: config.clone(),
            device: device.clone(),
        })
    }

    /// The generator with its present weights.
    pub fn generator(&self) -> &G {
        &self.generator.module
    }

    /// The latents of the training images, as learned so far.
    pub fn latents(&self) -> &Latents {
        &self.latents
    }
}

/// What a generator makes of latents z `[n, d]` in the unit ball: `[n, c, h, w]`.
fn generate<B: Backend>(generator: &impl Generator<B>, latents: Tensor<B, 2>) -> Tensor<B, 4> {
    let scale = (latents.dims()[1] as f64).sqrt();
    generator.forward(generator.latents_from_noise(latents * scale))
}

impl<B: Backend, G: Learnable<B>> Method<B> for GloMethod<B, G> {
    fn image_shape(&self) -> [usize; 3] {
        self.image
    }

    fn parameters(&self) -> Parameters {
        Parameters {
            generator: self.generator().num_params(),
            inference: self.latents.dims().iter().product(),
        }
    }

    fn learn(
        &mut self,
        state: &State,
        images: Tensor<B, 4>,
        places: &[usize],
        measure: bool,
    ) -> Result<Learned, TrainError> {
        let iteration = state.iteration;
        let rate = self.config.learning_rate.at(iteration);
        let before = self.latents.of::<B>(places, &self.device);
        let leaf = Tensor::<Autodiff<B>, 2>::from_inner(before.clone()).require_grad();
        let generated = generate(self.generator(), leaf.clone());
        let error = (generated.clone().inner() - images.clone()).square().mean();
        let loss = self.loss.of(generated, Tensor::from_inner(images)).mean();

        let mut learned = Learned::new(self.config.sigma.at(iteration), rate);
        learned.loss = host(loss.clone().inner())[0].into();
        learned.skipped = Skip::of_loss(learned.loss, f64::INFINITY);
        if learned.skipped.is_some() {
            return Ok(learned);
        }
        let mut tape = loss.backward();
        // The loss is a mean; each latent follows its own image's.
        let slope = leaf.grad(&tape).unwrap_or_else(|| before.zeros_like()) * places.len() as f64;
        let gradients = self.generator.gradients(&mut tape);
        let size = self.generator.size(&gradients);
        let norms = host(slope.clone().square().sum_dim(1).sqrt());
        learned.measured = measure.then(|| Measured {
            mse: host(error)[0].into(),
            weight_gradient: size.norm(),
            latent_gradient: norms.iter().map(|v| f64::from(*v)).sum::<f64>() / norms.len() as f64,
        });
        if size.finite && norms.iter().all(|norm| norm.is_finite()) {
            self.generator.step(rate, gradients, size.norm());
            let after = before - slope * self.settings.latent_rate;
            self.latents.set(places, after);
        } else {
            learned.skipped = Some(Skip::Gradient);
        }
        Ok(learned)
    }

    /// What the generator makes of latents found by [`SearchConfig`](super::SearchConfig).
    fn reconstruct(
        &self,
        _state: &State,
        images: &Images,
        count: usize,
    ) -> Result<Reconstruction, TrainError> {
        let (frozen, generator) = (self.generator().clone().no_grad(), self.generator().valid());
        let [_, dim] = self.latents.dims();
        Ok(reconstruct_by(images, count, &self.device, |images| {
            let start = Tensor::zeros([images.dims()[0], dim], &self.device);
            let target = Tensor::from_inner(images);
            let found = minimise(self.settings.search, start, |latents| {
                self.loss.of(generate(&frozen, latents), target.clone())
            });
            generate(&generator, found)
        })?)
    }

    /// Of latents from the Gaussian fitted to those of the training images.
    fn samples(&self, count: usize, batch_size: usize) -> Result<Samples<'_, B>, TrainError> {
        if count == 0 || batch_size == 0 {
            return Err(EvalError::NoImages.into());
        }
        let key = NoiseKey {
            seed: self.config.seed,
            iteration: 0,
            purpose: Purpose::Samples,
        };
        let [_, dim] = self.latents.dims();
        let noise: Tensor<B, 2> = key.normal([count, dim], 0, &self.device);
        let latents = LatentGaussian::fit(&self.latents)?.draw(noise);
        let generator = self.generator().valid();
        let batches = latents.split(batch_size, 0).into_iter();
        Ok(Box::new(
            batches.map(move |latents| generate(&generator, latents)),
        ))
    }

    fn save(&self) -> Result<Vec<CheckpointFile>, TrainError> {
        let mut files = self.generator.save()?;
        files.push(self.latents.file());
        Ok(files)
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        self.generator.load(checkpoint, &self.device)?;
        self.latents.load(checkpoint)
    }
}
