//! One iteration of Algorithm 1.

use burn::{
    backend::Autodiff,
    optim::{
        Adam, AdamConfig as BurnAdamConfig, GradientsParams, Optimizer, adaptor::OptimizerAdaptor,
    },
    prelude::*,
};
use shortrun_langevin::{
    Divergence, LatentLayers, Noise, NoiseKey, PersistentChains, Purpose, ShortRun, StepSizes,
};
use shortrun_model::{Generator, Learnable, Observation};

use crate::{TrainConfig, TrainError};

type Optimiser<B, G> = OptimizerAdaptor<Adam, G, Autodiff<B>>;

/// A generator with its optimiser.
pub struct Learner<B: Backend, G: Learnable<B>> {
    /// The generator with its present weights.
    pub generator: G,
    pub(crate) optimiser: Optimiser<B, G>,
    /// The chains of every training image, if they persist.
    pub(crate) persistent: Option<PersistentChains>,
    config: TrainConfig,
    layers: LatentLayers,
    device: B::Device,
}

/// What an iteration did.
#[derive(Clone, Debug)]
pub struct Learned {
    /// Mean of `-log p(x, e_K)` (without constants) before the update, in nats.
    pub loss: f64,
    /// Mean of the energy at the start of the chains, in nats.
    pub start_energy: f64,
    /// Mean squared error of the generator at the end of the chains, per value in [-1, 1]; present
    /// if it was asked for.
    pub mse: Option<f64>,
    /// The share of chains that diverged and were left out.
    pub diverged: f64,
    /// Why the update was not taken, if it was not.
    pub skipped: Option<Skip>,
    /// Sigma at this iteration.
    pub sigma: f64,
    /// The learning rate at this iteration.
    pub learning_rate: f64,
    /// The step sizes of this iteration.
    pub step_sizes: StepSizes,
}

/// Why an update was not taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Skip {
    /// Too many chains diverged.
    Diverged(Divergence),
    /// The loss is not a finite number.
    Loss(f64),
}

impl Skip {
    /// What happened, in words.
    pub fn reason(&self, sigma: f64, step_sizes: &StepSizes) -> String {
        match self {
            Self::Diverged(found) => format!(
                "{:.0} % of the chains diverged at step {} (mean energy fell to {:.4e}, then rose \
                 to {:.4e}) with sigma {sigma:.4} and step size {step_sizes}",
                100.0 * found.share,
                found.step,
                found.lowest,
                found.last,
            ),
            Self::Loss(loss) => format!("the loss is {loss}"),
        }
    }

    /// What to change.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Diverged(_) => {
                "Lower the step size (--set langevin.step_size.eta=…), anneal sigma to a higher \
                 value (--set sigma=…), or let the step follow sigma (--set \
                 langevin.follow_sigma=true)."
            }
            Self::Loss(_) => "Lower the learning rate (--set learning_rate=…).",
        }
    }
}

impl<B: Backend, G: Learnable<B>> Learner<B, G> {
    /// A learner with a fresh optimiser.
    pub fn new(
        generator: G,
        layers: LatentLayers,
        config: &TrainConfig,
        images: usize,
        device: &B::Device,
    ) -> Self {
        let adam = BurnAdamConfig::new()
            .with_beta_1(config.adam.beta1)
            .with_beta_2(config.adam.beta2)
            .with_epsilon(config.adam.epsilon);
        Self {
            generator,
            optimiser: adam.init(),
            persistent: config
                .langevin
                .persistent
                .then(|| PersistentChains::new(images, layers.dim())),
            config: config.clone(),
            layers,
            device: device.clone(),
        }
    }

    /// One iteration on `images` `[n, c, h, w]`, which stand at `places` in the data set. With
    /// `with_mse` the error of the reconstructions is reported as well, for one more forward pass.
    ///
    /// # Errors
    /// If the chain or sigma make no sense.
    pub fn iterate(
        &mut self,
        iteration: u64,
        images: Tensor<B, 4>,
        places: &[usize],
        with_mse: bool,
    ) -> Result<Learned, TrainError> {
        let sigma = self.config.sigma.at(iteration);
        let step_sizes = self.config.step_sizes(iteration);
        let observation = Observation::new(images, sigma)?;
        let (latents, energies) = self.infer(iteration, &observation, places, &step_sizes)?;
        let [n, dim] = latents.dims();

        let mut learned = Learned {
            loss: f64::NAN,
            start_energy: mean(&energies[..n]),
            mse: None,
            diverged: 0.0,
            skipped: None,
            sigma,
            learning_rate: self.config.learning_rate.at(iteration),
            step_sizes,
        };
        if with_mse {
            let generated = self.generator.valid().forward(latents.clone());
            let error = (generated - observation.images().clone()).square().mean();
            learned.mse = Some(host(error.unsqueeze::<1>())[0].into());
        }

        let energy = self.generator.energy(
            Tensor::from_inner(latents.clone()),
            &Observation::from_inner(observation),
        );
        let ends = host(energy.clone().inner());
        let energies = [energies, ends.clone()].concat();
        let (kept, skipped) = self.judge(&energies, n, dim);
        learned.diverged = 1.0 - kept.iter().sum::<f32>() as f64 / n as f64;
        learned.skipped = skipped;
        if skipped.is_some() {
            learned.loss = mean(&ends);
            return Ok(learned);
        }
        let loss = mean_of_kept(energy, &kept, &self.device);
        learned.loss = host(loss.clone().inner())[0].into();
        if !learned.loss.is_finite() {
            learned.skipped = Some(Skip::Loss(learned.loss));
            return Ok(learned);
        }
        self.learn(loss, learned.learning_rate);
        if let Some(chains) = &mut self.persistent {
            chains.keep(places, latents);
        }
        Ok(learned)
    }

    /// The ends of the chains `[n, d]`, and the energies `U(e_0), …, U(e_{K-1})`, row by row.
    fn infer(
        &self,
        iteration: u64,
        observation: &Observation<B>,
        places: &[usize],
        step_sizes: &StepSizes,
    ) -> Result<(Tensor<B, 2>, Vec<f32>), TrainError> {
        let key = |purpose| NoiseKey {
            seed: self.config.seed,
            iteration,
            purpose,
        };
        let noise = key(Purpose::Start).normal([places.len(), self.layers.dim()], 0, &self.device);
        let mut start = self.generator.valid().latents_from_noise(noise);
        if let Some(chains) = &self.persistent {
            start = chains.start(places, start);
        }
        let posterior = self.generator.posterior(observation.clone());
        let chain = ShortRun::new(self.config.langevin.steps, step_sizes.clone())?;
        let run = chain.run(&posterior, start, Noise::Keyed(key(Purpose::Langevin)))?;
        Ok((run.latents, host(run.energy)))
    }

    /// Which chains count (1) and which diverged (0), and whether there are too many of these.
    fn judge(&self, energies: &[f32], n: usize, dim: usize) -> (Vec<f32>, Option<Skip>) {
        let Some(found) = Divergence::find(energies, n, dim) else {
            return (vec![1.0; n], None);
        };
        let kept = (0..n)
            .map(|chain| {
                let along: Vec<f32> = energies[chain..].iter().step_by(n).copied().collect();
                match Divergence::find(&along, 1, dim) {
                    Some(_) => 0.0,
                    None => 1.0,
                }
            })
            .collect();
        let skip = found.share > self.config.langevin.max_diverged;
        (kept, skip.then_some(Skip::Diverged(found)))
    }

    fn learn(&mut self, loss: Tensor<Autodiff<B>, 1>, rate: f64) {
        let gradients = GradientsParams::from_grads(loss.backward(), &self.generator);
        self.generator = self.optimiser.step(rate, self.generator.clone(), gradients);
    }
}

/// The mean energy of the chains that count, without letting the others' gradients in.
fn mean_of_kept<B: Backend>(
    energy: Tensor<Autodiff<B>, 1>,
    kept: &[f32],
    device: &B::Device,
) -> Tensor<Autodiff<B>, 1> {
    let count: f32 = kept.iter().sum();
    if count as usize == kept.len() {
        return energy.mean();
    }
    let places: Vec<i64> = (0_i64..)
        .zip(kept)
        .filter(|(_, kept)| **kept > 0.0)
        .map(|(place, _)| place)
        .collect();
    let places = Tensor::<Autodiff<B>, 1, Int>::from_data(places.as_slice(), device);
    energy.select(0, places).mean()
}

fn mean(values: &[f32]) -> f64 {
    values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len() as f64
}

fn host<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().iter().collect()
}
