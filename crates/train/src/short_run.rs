//! Algorithm 1: short-run Langevin inference, and learning from the latents it finds.

use burn::{backend::Autodiff, prelude::*};
use shortrun_data::Images;
use shortrun_eval::{Inference, Reconstruction, host, reconstruct, sample_batches};
use shortrun_langevin::{
    Divergence, LatentLayers, Noise, NoiseKey, PersistentChains, Purpose, Run, ShortRun, StepSizes,
};
use shortrun_model::{Generator, Learnable, Observation};

use crate::{
    Checkpoint, CheckpointFile, Learned, Measured, Method, Optimised, Parameters, Samples, Skip,
    State, TrainConfig, TrainError, Tuned, Tuning, WeightGradients, back_off::rate_factor,
    fallback::Fallback, tuning::Tuner,
};

const CHAINS: &str = "chains.bin";

/// A generator that learns from latents inferred by short chains, with its optimiser.
pub struct ShortRunMethod<B: Backend, G: Learnable<B>> {
    generator: Optimised<B, G>,
    fallback: Fallback<G>,
    /// The chains of every training image, if they persist.
    persistent: Option<PersistentChains>,
    config: TrainConfig,
    layers: LatentLayers,
    device: B::Device,
}

impl<B: Backend, G: Learnable<B>> ShortRunMethod<B, G> {
    /// A generator whose latents have these layers, about to learn from so many `images`.
    pub fn new(
        generator: G,
        layers: LatentLayers,
        config: &TrainConfig,
        images: usize,
        device: &B::Device,
    ) -> Self {
        let persistent = config.langevin.persistent;
        Self {
            generator: Optimised::new("generator", generator, &config.adam),
            fallback: Fallback::new(),
            persistent: persistent.then(|| PersistentChains::new(images, layers.dim())),
            config: config.clone(),
            layers,
            device: device.clone(),
        }
    }

    /// The generator with its present weights.
    pub fn generator(&self) -> &G {
        &self.generator.module
    }

    /// The energies `[n]` of latents `[n, d]`, with a tape to the weights.
    fn energy(&self, latents: Tensor<B, 2>, observation: Observation<B>) -> Tensor<Autodiff<B>, 1> {
        self.generator().energy(
            Tensor::from_inner(latents),
            &Observation::from_inner(observation),
        )
    }

    /// The gradient of the mean of the energies in all weights.
    fn gradients(&self, energies: Tensor<Autodiff<B>, 1>) -> WeightGradients {
        self.generator.gradients(&mut energies.mean().backward())
    }

    /// One update of the weights at given latents `[n, d]`; false, and no update, if the gradient is
    /// not finite.
    pub fn update(
        &mut self,
        latents: Tensor<B, 2>,
        observation: Observation<B>,
        rate: f64,
    ) -> bool {
        let gradients = self.gradients(self.energy(latents, observation));
        let size = self.generator.size(&gradients);
        if size.finite {
            self.generator.step(rate, gradients, size.norm());
        }
        size.finite
    }

    /// The chains, with their diagnostics if `measure`.
    fn infer(
        &self,
        iteration: u64,
        observation: &Observation<B>,
        places: &[usize],
        step_sizes: &StepSizes,
        measure: bool,
    ) -> Result<Run<B>, TrainError> {
        let key = |purpose| NoiseKey {
            seed: self.config.seed,
            iteration,
            purpose,
        };
        let noise = key(Purpose::Start).normal([places.len(), self.layers.dim()], 0, &self.device);
        let mut start = self.generator().valid().latents_from_noise(noise);
        if let Some(chains) = &self.persistent {
            start = chains.start(places, start);
        }
        let posterior = self.generator().posterior(observation.clone());
        let mut chain = ShortRun::new(self.config.langevin.steps, step_sizes.clone())?;
        if measure {
            chain = chain.with_diagnostics(self.layers.clone());
        }
        Ok(chain.run(&posterior, start, Noise::Keyed(key(Purpose::Langevin)))?)
    }

    /// The chains that did not diverge, and whether too many did.
    fn judge(&self, energies: &[f32], n: usize, dim: usize) -> (Vec<usize>, Option<Skip>) {
        let Some(found) = Divergence::find(energies, n, dim) else {
            return ((0..n).collect(), None);
        };
        let kept: Vec<usize> = (0..n)
            .filter(|chain| {
                let along: Vec<f32> = energies[*chain..].iter().step_by(n).copied().collect();
                Divergence::find(&along, 1, dim).is_none()
            })
            .collect();
        let skip = kept.is_empty() || found.share > self.config.langevin.max_diverged;
        (kept, skip.then_some(Skip::Diverged(found)))
    }
}

impl<B: Backend, G: Learnable<B>> Method<B> for ShortRunMethod<B, G> {
    fn image_shape(&self) -> [usize; 3] {
        let zero = Tensor::zeros([1, self.layers.dim()], &self.device);
        let [_, channels, height, width] = self.generator().valid().forward(zero).dims();
        [channels, height, width]
    }

    fn parameters(&self) -> Parameters {
        Parameters {
            generator: self.generator().num_params(),
            inference: 0,
        }
    }

    fn tune(
        &mut self,
        state: &mut State,
        images: &Images,
    ) -> Result<Option<(StepSizes, Tuning)>, TrainError> {
        let (config, iteration) = (&self.config, state.iteration);
        if !config.step_size.due(iteration) {
            return Ok(None);
        }
        let tuner = Tuner {
            config: &config.step_size,
            seed: config.seed,
            steps: config.langevin.steps,
            layers: &self.layers,
            sigma: config.sigma.at(iteration),
        };
        // Without the back-off: that passes, and is no finding of the objective.
        let scale = config.step_scale(iteration);
        let (now, mut adam) = match &state.tuned {
            Some(tuned) => (tuned.step_sizes.scaled(scale), tuned.adam.clone()),
            None => (config.langevin.step_size.scaled(scale), Default::default()),
        };
        let (sizes, tuning) = tuner.update::<B, G>(
            iteration,
            self.generator(),
            images,
            &now,
            &mut adam,
            &self.device,
        )?;
        state.tuned = Some(Tuned {
            step_sizes: sizes.scaled(1.0 / scale),
            adam,
        });
        Ok(Some((sizes, tuning)))
    }

    fn learn(
        &mut self,
        state: &State,
        images: Tensor<B, 4>,
        places: &[usize],
        measure: bool,
    ) -> Result<Learned, TrainError> {
        let iteration = state.iteration;
        let sigma = self.config.sigma.at(iteration);
        let rate = self.config.learning_rate.at(iteration) * rate_factor(state);
        let step_sizes = state.step_sizes(&self.config, iteration);
        let observation = Observation::new(images, sigma)?;
        let run = self.infer(iteration, &observation, places, &step_sizes, measure)?;
        let latents = run.latents;
        let [n, dim] = latents.dims();
        let energy = self.energy(latents.clone(), observation.clone());
        // The device goes back through the generator while the host waits for the energies.
        let mut gradients = self.gradients(energy.clone());
        let energies = host(run.energy);
        let values: usize = observation.images().dims()[1..].iter().product();

        let mut learned = Learned {
            start_energy: mean(&energies[..n]),
            step_sizes: Some(step_sizes),
            ..Learned::new(sigma, rate)
        };
        if let Some(diagnostics) = run.diagnostics {
            let generated = self.generator().valid().forward(latents.clone());
            let error = (generated - observation.images().clone()).square().mean();
            let norms = host(diagnostics.gradient_norm);
            learned.measured = Some(Measured {
                mse: host(error.unsqueeze::<1>())[0].into(),
                weight_gradient: f64::NAN,
                latent_gradient: mean(&norms[norms.len() - n..]),
            });
        }

        let found = host(energy.inner());
        learned.loss = mean(&found);
        let energies = [energies.as_slice(), &found].concat();
        let (kept, skipped) = self.judge(&energies, n, dim);
        learned.diverged = 1.0 - kept.len() as f64 / n as f64;
        learned.skipped = skipped;
        if skipped.is_some() {
            return Ok(learned);
        }
        let mut ends = latents;
        if kept.len() < n {
            // Afresh, without the diverged chains: 0 times their infinities is not a number.
            let rows: Vec<i64> = kept.iter().map(|row| *row as i64).collect();
            let rows = Tensor::<B, 1, Int>::from_data(rows.as_slice(), &self.device);
            ends = ends.select(0, rows.clone());
            let images = observation.images().clone().select(0, rows);
            gradients = self.gradients(self.energy(ends.clone(), Observation::new(images, sigma)?));
            learned.loss = kept.iter().map(|row| f64::from(found[*row])).sum::<f64>();
            learned.loss /= kept.len() as f64;
        }
        let off_by_one = Skip::off_by_one(values, sigma);
        learned.error = Some(learned.loss / off_by_one);
        learned.skipped = Skip::of_loss(learned.loss, off_by_one);
        if learned.skipped.is_some() {
            return Ok(learned);
        }
        let size = self.generator.size(&gradients);
        if let Some(measured) = &mut learned.measured {
            measured.weight_gradient = size.norm();
        }
        if !size.finite {
            learned.skipped = Some(Skip::Gradient);
            return Ok(learned);
        }
        self.generator.step(rate, gradients, size.norm());
        if let Some(chains) = &mut self.persistent {
            let places: Vec<usize> = kept.iter().map(|row| places[*row]).collect();
            chains.keep(&places, ends);
        }
        Ok(learned)
    }

    fn keep_weights(&mut self, iteration: u64) {
        self.fallback.keep(iteration, &self.generator.module);
    }

    fn go_back(&mut self) -> Option<u64> {
        // Adam's moments stay: long gradients have made it cautious.
        let (iteration, module) = self.fallback.go_back()?;
        self.generator.module = module;
        Some(iteration)
    }

    fn reconstruct(
        &self,
        state: &State,
        images: &Images,
        count: usize,
    ) -> Result<Reconstruction, TrainError> {
        let last = state.iteration.saturating_sub(1);
        let inference = Inference {
            chain: ShortRun::new(
                self.config.langevin.steps,
                state.step_sizes(&self.config, last),
            )?,
            sigma: self.config.sigma.at(last),
            seed: self.config.seed,
            layers: self.layers.clone(),
        };
        let generator = self.generator();
        Ok(reconstruct::<B, G>(
            generator,
            images,
            count,
            &inference,
            &self.device,
        )?)
    }

    fn samples(&self, count: usize, batch_size: usize) -> Result<Samples<'_, B>, TrainError> {
        let (generator, seed) = (self.generator(), self.config.seed);
        let batches = sample_batches::<B, G>(
            generator,
            &self.layers,
            count,
            batch_size,
            seed,
            &self.device,
        )?;
        Ok(Box::new(batches))
    }

    fn save(&self) -> Result<Vec<CheckpointFile>, TrainError> {
        let mut files = self.generator.save()?;
        files.extend(self.fallback.save()?);
        let chains = self.persistent.as_ref();
        files.extend(chains.map(|chains| CheckpointFile::new(CHAINS, chains.to_bytes())));
        Ok(files)
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        self.generator.load(checkpoint, &self.device)?;
        let like = &self.generator.module;
        self.fallback.load(checkpoint, like, &self.device)?;
        if let Some(chains) = &mut self.persistent {
            let expected = chains.dims();
            *chains = PersistentChains::from_bytes(&checkpoint.bytes(CHAINS)?)
                .filter(|found| found.dims() == expected)
                .ok_or_else(|| TrainError::NoCheckpoint {
                    path: checkpoint.path().join(CHAINS),
                    reason: "it does not hold a chain for every image".to_owned(),
                })?;
        }
        Ok(())
    }
}

fn mean(values: &[f32]) -> f64 {
    values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len() as f64
}
