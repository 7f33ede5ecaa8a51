//! Learning a generator and an inference network together, by the bound.

use burn::{
    backend::Autodiff,
    module::{AutodiffModule, ModuleVisitor, Param},
    prelude::*,
};
use shortrun_data::Images;
use shortrun_eval::{Reconstruction, host, image_batches, reconstruct_by, sample_batches};
use shortrun_langevin::{NoiseKey, Purpose};
use shortrun_model::{MultiLayerGenerator, Observation};
use shortrun_train::{
    Checkpoint, CheckpointFile, Density, DensityKind, Learned, Measured, Method, Optimised,
    Parameters, Samples, Skip, State, TrainConfig, TrainError,
};

use crate::InferenceNetwork;

/// A generator with the network that infers its latents, and an optimiser for each: variational
/// autoencoders of all kinds.
///
/// Both learn from the same draw, `e` of `q(e | x)` by the reparameterisation trick, to lower
/// [`Inferred::loss`](crate::Inferred::loss). The loss reported is the negative bound, whatever the
/// warm-up; beside it stand its parts, `misfit` (`|x - g(e)|² / (2 σ²)`) and `kl`.
pub struct Amortised<B: Backend, N: Amortising<B>> {
    generator: Optimised<B, MultiLayerGenerator<Autodiff<B>>>,
    network: Optimised<B, N>,
    warm_up: u64,
    config: TrainConfig,
    device: B::Device,
}

/// An inference network that can be trained on backend `B`: shorthand for the bounds.
pub trait Amortising<B: Backend>:
    InferenceNetwork<Autodiff<B>>
    + AutodiffModule<Autodiff<B>, InnerModule: InferenceNetwork<B>>
    + 'static
{
}

impl<B: Backend, N> Amortising<B> for N where
    N: InferenceNetwork<Autodiff<B>>
        + AutodiffModule<Autodiff<B>, InnerModule: InferenceNetwork<B>>
        + 'static
{
}

impl<B: Backend, N: Amortising<B>> Amortised<B, N> {
    /// A generator and a network made for it. Over the first `warm_up` iterations the weight of the
    /// divergence in the loss grows in proportion from 0 to 1.
    pub(crate) fn new(
        generator: MultiLayerGenerator<Autodiff<B>>,
        network: N,
        warm_up: u64,
        config: &TrainConfig,
        device: &B::Device,
    ) -> Self {
        Self {
            generator: Optimised::new("generator", generator, &config.adam),
            network: Optimised::new("inference", network, &config.adam),
            warm_up,
            config: config.clone(),
            device: device.clone(),
        }
    }

    /// The generator with its present weights.
    pub fn generator(&self) -> &MultiLayerGenerator<Autodiff<B>> {
        &self.generator.module
    }

    /// The inference network with its present weights.
    pub fn network(&self) -> &N {
        &self.network.module
    }

    /// The weight of the divergence at an iteration, counted from 0.
    fn warmth(&self, iteration: u64) -> f64 {
        if iteration >= self.warm_up {
            1.0
        } else {
            iteration as f64 / self.warm_up as f64
        }
    }

    fn dim(&self) -> usize {
        self.generator().config().latents.dim()
    }
}

/// How many numbers of a module are learned: running moments are counted by Burn, but are none.
fn learned<B: Backend>(module: &impl Module<Autodiff<B>>) -> usize {
    struct Learned(usize);
    impl<B: Backend> ModuleVisitor<Autodiff<B>> for Learned {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<B>, D>>) {
            let values = param.val();
            if values.is_require_grad() {
                self.0 += values.shape().num_elements();
            }
        }
    }
    let mut learned = Learned(0);
    module.visit(&mut learned);
    learned.0
}

impl<B: Backend, N: Amortising<B>> Method<B> for Amortised<B, N> {
    fn image_shape(&self) -> [usize; 3] {
        self.generator().config().image_shape()
    }

    fn parameters(&self) -> Parameters {
        Parameters {
            generator: self.generator().num_params(),
            inference: learned(self.network()),
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
        let (sigma, rate) = (
            self.config.sigma.at(iteration),
            self.config.learning_rate.at(iteration),
        );
        let key = NoiseKey {
            seed: self.config.seed,
            iteration,
            purpose: Purpose::Reparameterisation,
        };
        let [n, shape @ ..] = images.dims();
        let values: usize = shape.iter().product();
        let noise = key.normal([n, self.dim()], 0, &self.device);
        // Batch normalisation counts a batch while it looks at it, skipped or not.
        let before = self.network().valid();

        let images: Tensor<Autodiff<B>, 4> = Tensor::from_inner(images);
        let inferred =
            self.network()
                .infer(self.generator(), images.clone(), Tensor::from_inner(noise));
        let observation = Observation::new(images, sigma)?;
        let loss = inferred.loss(&observation, self.warmth(iteration)).mean();
        let kl = scalar(inferred.divergence.clone().mean());
        let misfit = scalar(observation.energy(inferred.generated).mean());

        let mut learned = Learned {
            loss: misfit + kl,
            parts: vec![("misfit", misfit), ("kl", kl)],
            measured: measure.then_some(Measured {
                mse: misfit * 2.0 * sigma * sigma / values as f64,
                weight_gradient: f64::NAN,
                latent_gradient: f64::NAN,
            }),
            skipped: Skip::of_loss(misfit + kl, Skip::off_by_one(values, sigma)),
            ..Learned::new(sigma, rate)
        };
        if learned.skipped.is_none() {
            let mut tape = loss.backward();
            let for_generator = self.generator.gradients(&mut tape);
            let for_network = self.network.gradients(&mut tape);
            let size = self.generator.size(&for_generator);
            let size = size.and(self.network.size(&for_network));
            if let Some(measured) = &mut learned.measured {
                measured.weight_gradient = size.norm();
            }
            if size.finite {
                self.generator.step(rate, for_generator, size.norm());
                self.network.step(rate, for_network, size.norm());
                return Ok(learned);
            }
            learned.skipped = Some(Skip::Gradient);
        }
        self.network.module = N::from_inner(before);
        Ok(learned)
    }

    /// What the generator makes of the latents in the middle of the posterior: of noise 0.
    fn reconstruct(
        &self,
        _state: &State,
        images: &Images,
        count: usize,
    ) -> Result<Reconstruction, TrainError> {
        let (network, generator) = (self.network().valid(), self.generator().valid());
        let reconstruction = reconstruct_by(images, count, &self.device, |images| {
            let noise = Tensor::zeros([images.dims()[0], self.dim()], &self.device);
            network.infer(&generator, images, noise).generated
        })?;
        Ok(reconstruction)
    }

    /// The bound with one draw of the posterior for each image.
    fn log_density(
        &self,
        state: &State,
        images: &Images,
        count: usize,
    ) -> Result<Option<Density>, TrainError> {
        let sigma = self.config.sigma.at(state.iteration.saturating_sub(1));
        let (network, generator) = (self.network().valid(), self.generator().valid());
        let mut nats = Vec::new();
        for (chunk, images) in image_batches(images, count, &self.device)?.enumerate() {
            let key = NoiseKey {
                seed: self.config.seed,
                iteration: chunk as u64,
                purpose: Purpose::Evaluation,
            };
            let noise = key.normal([images.dims()[0], self.dim()], 0, &self.device);
            let inferred = network.infer(&generator, images.clone(), noise);
            let bounds: Tensor<B, 1> = inferred.evidence_bound(&Observation::new(images, sigma)?);
            nats.extend(host(bounds).into_iter().map(f64::from));
        }
        Ok(Some(Density {
            nats,
            kind: DensityKind::LowerBound,
        }))
    }

    fn samples(&self, count: usize, batch_size: usize) -> Result<Samples<'_, B>, TrainError> {
        let (generator, seed) = (self.generator(), self.config.seed);
        let layers = &generator.config().latents;
        let batches =
            sample_batches::<B, _>(generator, layers, count, batch_size, seed, &self.device)?;
        Ok(Box::new(batches))
    }

    fn save(&self) -> Result<Vec<CheckpointFile>, TrainError> {
        Ok([self.generator.save()?, self.network.save()?].concat())
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        self.generator.load(checkpoint, &self.device)?;
        self.network.load(checkpoint, &self.device)
    }
}

fn scalar<B: Backend>(tensor: Tensor<B, 1>) -> f64 {
    tensor.into_scalar().elem()
}
