//! Learning a [`Glow`] in a training run.

use burn::{backend::Autodiff, module::AutodiffModule, prelude::*};
use serde::{Deserialize, Serialize};
use shortrun_data::Images;
use shortrun_eval::{EvalError, Reconstruction, image_batches, reconstruct_by};
use shortrun_langevin::{NoiseKey, Purpose};
use shortrun_train::{
    Checkpoint, CheckpointFile, Density, DensityKind, Learned, Measured, Method, Optimised,
    Parameters, Samples, Skip, State, TrainConfig, TrainError,
};

use super::{
    Glow, GlowConfig, bits_per_dimension, byte_noise, centred, dequantise, log_density_of_images,
    to_images,
};
use shortrun_eval::host;

const PROGRESS: &str = "flow.json";

/// A flow that learns by maximum likelihood of dequantised images, with its optimiser.
///
/// The loss is `-log p(y)` in nats an image (of which [`bits_per_dimension`] says the convention),
/// and bits per dimension are reported beside it.
pub struct GlowMethod<B: Backend> {
    flow: Optimised<B, Glow<Autodiff<B>>>,
    progress: FlowProgress,
    settings: GlowConfig,
    config: TrainConfig,
    device: B::Device,
}

/// What a checkpoint has to say beside the weights.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FlowProgress {
    /// Whether the actnorms have been set from a first batch.
    initialised: bool,
}

impl<B: Backend> GlowMethod<B> {
    /// A flow on images `[c, h, w]`, about to be set from its first batch.
    ///
    /// # Errors
    /// If a setting makes no sense, or the images cannot be halved.
    pub fn new(
        image: [usize; 3],
        settings: &GlowConfig,
        config: &TrainConfig,
        device: &B::Device,
    ) -> Result<Self, TrainError> {
        let flow = settings.init(image, config.seed, device)?;
        Ok(Self {
            flow: Optimised::new("flow", flow, &config.adam),
            progress: FlowProgress { initialised: false },
            settings: *settings,
            config: config.clone(),
            device: device.clone(),
        })
    }

    /// The flow with its present weights.
    pub fn flow(&self) -> &Glow<Autodiff<B>> {
        &self.flow.module
    }

    /// `log p(y)` in nats of each of the first `count` images, spread over the width of a byte by
    /// one draw of noise; y lies in the flow's own scale, see [`bits_per_dimension`].
    ///
    /// # Errors
    /// If there are no images.
    fn log_densities(&self, images: &Images, count: usize) -> Result<Vec<f64>, TrainError> {
        let flow = self.flow().valid();
        let mut nats = Vec::new();
        for (chunk, images) in image_batches(images, count, &self.device)?.enumerate() {
            let key = self.key(chunk as u64, Purpose::Dequantisation);
            let noise = byte_noise(key, images.dims(), &self.device);
            let densities: Tensor<B, 1> = flow.log_density(dequantise(images, noise));
            nats.extend(host(densities).into_iter().map(f64::from));
        }
        Ok(nats)
    }

    fn key(&self, iteration: u64, purpose: Purpose) -> NoiseKey {
        NoiseKey {
            seed: self.config.seed,
            iteration,
            purpose,
        }
    }
}

impl<B: Backend> Method<B> for GlowMethod<B> {
    fn image_shape(&self) -> [usize; 3] {
        self.flow().image_shape()
    }

    fn parameters(&self) -> Parameters {
        Parameters {
            generator: self.flow().num_params(),
            inference: 0,
        }
    }

    fn learn(
        &mut self,
        state: &State,
        images: Tensor<B, 4>,
        _places: &[usize],
        measure: bool,
    ) -> Result<Learned, TrainError> {
        let iteration = state.iteration;
        let key = self.key(iteration, Purpose::TrainingDequantisation);
        let noise = byte_noise(key, images.dims(), &self.device);
        let y = Tensor::from_inner(dequantise(images, noise));
        if !self.progress.initialised {
            self.flow.module = self.flow.module.clone().initialised(y.clone());
            self.progress.initialised = true;
        }
        let loss = -self.flow().log_density(y).mean();
        let rate = self.config.learning_rate.at(iteration);
        let mut learned = Learned::new(self.config.sigma.at(iteration), rate);
        learned.loss = host(loss.clone().inner())[0].into();
        let bits = bits_per_dimension(-learned.loss, self.flow().dim());
        learned.parts.push(("bits_per_dimension", bits));
        learned.skipped = Skip::of_loss(learned.loss, f64::INFINITY);
        if learned.skipped.is_some() {
            return Ok(learned);
        }
        let gradients = self.flow.gradients(&mut loss.backward());
        let size = self.flow.size(&gradients);
        learned.measured = measure.then(|| Measured {
            mse: f64::NAN,
            weight_gradient: size.norm(),
            latent_gradient: f64::NAN,
        });
        if size.finite {
            self.flow.step(rate, gradients, size.norm());
        } else {
            learned.skipped = Some(Skip::Gradient);
        }
        Ok(learned)
    }

    /// The images from the middle of each byte to noise and back: the error is that of the inverse
    /// in float32, and says nothing of how well images are modelled.
    fn reconstruct(
        &self,
        _state: &State,
        images: &Images,
        count: usize,
    ) -> Result<Reconstruction, TrainError> {
        let flow = self.flow().valid();
        let there_and_back = |images| to_images(flow.decode(flow.encode(centred(images)).0));
        Ok(reconstruct_by(images, count, &self.device, there_and_back)?)
    }

    fn is_exact(&self) -> bool {
        true
    }

    /// Of the images with one draw of noise of a byte's width.
    fn log_density(
        &self,
        _state: &State,
        images: &Images,
        count: usize,
    ) -> Result<Option<Density>, TrainError> {
        let values = self.flow().dim();
        let nats = self.log_densities(images, count)?.into_iter();
        Ok(Some(Density {
            nats: nats
                .map(|nats| log_density_of_images(nats, values))
                .collect(),
            kind: DensityKind::Exact,
        }))
    }

    /// At the temperature of the settings.
    fn samples(&self, count: usize, batch_size: usize) -> Result<Samples<'_, B>, TrainError> {
        if count == 0 || batch_size == 0 {
            return Err(EvalError::NoImages.into());
        }
        let flow = self.flow().valid();
        let key = self.key(0, Purpose::Samples);
        let noise: Tensor<B, 2> = key.normal([count, flow.dim()], 0, &self.device);
        let cooled = noise * self.settings.temperature;
        let batches = cooled.split(batch_size, 0).into_iter();
        Ok(Box::new(
            batches.map(move |noise| to_images(flow.decode(noise))),
        ))
    }

    fn save(&self) -> Result<Vec<CheckpointFile>, TrainError> {
        let mut files = self.flow.save()?;
        files.push(CheckpointFile::of_json(PROGRESS, &self.progress)?);
        Ok(files)
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        self.flow.load(checkpoint, &self.device)?;
        self.progress = checkpoint.json(PROGRESS)?;
        Ok(())
    }
}
