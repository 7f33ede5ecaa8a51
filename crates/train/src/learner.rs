//! One iteration of Algorithm 1.

use burn::{
    backend::Autodiff,
    module::{ModuleVisitor, Param},
    optim::{GradientsParams, Optimizer, adaptor::OptimizerAdaptor},
    prelude::*,
};
use shortrun_langevin::{
    Divergence, LatentLayers, Noise, NoiseKey, PersistentChains, Purpose, Run, ShortRun, StepSizes,
};
use shortrun_model::{Generator, Learnable, Observation, gradient_sums};

use crate::{TrainConfig, TrainError, adam::Adam};

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
    /// Present if it was asked for.
    pub measured: Option<Measured>,
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

/// What is not needed to learn, but to watch.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Mean squared error of the generator at the end of the chains, per value in [-1, 1].
    pub mse: f64,
    /// Norm of the loss's gradient in all weights, of the update that was taken or refused; not a
    /// number if it did not come to that.
    pub weight_gradient: f64,
    /// Mean over the chains of `|∇U(e_{K-1})|`, the last gradient each of them followed.
    pub latent_gradient: f64,
}

/// Why an update was not taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Skip {
    /// Too many chains diverged.
    Diverged(Divergence),
    /// The loss is not a finite number, or beyond all measure.
    Loss {
        /// The loss.
        loss: f64,
        /// The loss of a generator that is off by 1 in every value.
        off_by_one: f64,
    },
    /// The loss is a finite number but its gradient is not.
    Gradient,
}

/// How often the loss of a generator that is off by 1 in every value is taken for an explosion.
/// (Images lie in [-1, 1], so that loss is already a very bad one.)
const EXPLODED: f64 = 1e4;

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
            Self::Loss { loss, .. } if !loss.is_finite() => format!("the loss is {loss}"),
            Self::Loss { loss, off_by_one } => format!(
                "the loss is {loss:.4e}, with sigma {sigma:.4}; off by 1 in every value it would \
                 be {off_by_one:.4e}"
            ),
            Self::Gradient => "the gradient of the weights is not a finite number".to_owned(),
        }
    }

    /// What to change.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Diverged(_) => {
                "Each time the step size is lowered for a while; if it goes on, lower the learning \
                 rate (--set learning_rate=…) or the step size (--set langevin.step_size.eta=…), or \
                 keep sigma higher (--set sigma=…)."
            }
            Self::Loss { .. } | Self::Gradient => {
                "Lower the learning rate (--set learning_rate=…)."
            }
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
        Self {
            generator,
            optimiser: Adam::new(config.adam).optimiser(),
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
    /// `measure` [`Measured`] is reported as well, for one more forward pass.
    ///
    /// # Errors
    /// If the chain or sigma make no sense.
    pub fn iterate(
        &mut self,
        iteration: u64,
        images: Tensor<B, 4>,
        places: &[usize],
        step_sizes: StepSizes,
        measure: bool,
    ) -> Result<Learned, TrainError> {
        let sigma = self.config.sigma.at(iteration);
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
            loss: f64::NAN,
            start_energy: mean(&energies[..n]),
            measured: None,
            diverged: 0.0,
            skipped: None,
            sigma,
            learning_rate: self.config.learning_rate.at(iteration),
            step_sizes,
        };
        if let Some(diagnostics) = run.diagnostics {
            let generated = self.generator.valid().forward(latents.clone());
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
        let off_by_one = values as f64 / (2.0 * sigma * sigma);
        if !learned.loss.is_finite() || learned.loss > EXPLODED * off_by_one {
            learned.skipped = Some(Skip::Loss {
                loss: learned.loss,
                off_by_one,
            });
            return Ok(learned);
        }
        let rate = learned.learning_rate;
        let norm = learned.measured.as_mut().map(|m| &mut m.weight_gradient);
        if !self.learn(gradients, rate, norm) {
            learned.skipped = Some(Skip::Gradient);
            return Ok(learned);
        }
        if let Some(chains) = &mut self.persistent {
            let places: Vec<usize> = kept.iter().map(|row| places[*row]).collect();
            chains.keep(&places, ends);
        }
        Ok(learned)
    }

    /// The energies `[n]` of latents `[n, d]`, with a tape to the weights.
    fn energy(&self, latents: Tensor<B, 2>, observation: Observation<B>) -> Tensor<Autodiff<B>, 1> {
        self.generator.energy(
            Tensor::from_inner(latents),
            &Observation::from_inner(observation),
        )
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
        let mut start = self.generator.valid().latents_from_noise(noise);
        if let Some(chains) = &self.persistent {
            start = chains.start(places, start);
        }
        let posterior = self.generator.posterior(observation.clone());
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

    /// One update of the weights at given latents `[n, d]`; false, and no update, if the gradient is
    /// not finite.
    pub fn update(
        &mut self,
        latents: Tensor<B, 2>,
        observation: Observation<B>,
        rate: f64,
    ) -> bool {
        let gradients = self.gradients(self.energy(latents, observation));
        self.learn(gradients, rate, None)
    }

    /// The gradient of the mean of the energies in all weights.
    fn gradients(&self, energies: Tensor<Autodiff<B>, 1>) -> GradientsParams {
        GradientsParams::from_grads(energies.mean().backward(), &self.generator)
    }

    /// One step of the optimiser, unless the gradient is not finite: then false, and nothing is
    /// changed. The norm of the gradient goes to `norm`.
    fn learn(&mut self, gradients: GradientsParams, rate: f64, norm: Option<&mut f64>) -> bool {
        let mut flat = Flat {
            gradients: &gradients,
            found: Vec::new(),
        };
        self.generator.visit(&mut flat);
        let sums = gradient_sums(&flat.found);
        if let Some(norm) = norm {
            *norm = sums.iter().map(|[_, squares]| squares).sum::<f64>().sqrt();
        }
        if !sums.iter().all(|[sum, _]| sum.is_finite()) {
            return false;
        }
        self.generator = self.optimiser.step(rate, self.generator.clone(), gradients);
        true
    }
}

/// Collects the weights' gradients, each value by value.
struct Flat<'a, B: Backend> {
    gradients: &'a GradientsParams,
    found: Vec<Tensor<B, 1>>,
}

impl<B: Backend> ModuleVisitor<Autodiff<B>> for Flat<'_, B> {
    fn visit_float<const D: usize>(&mut self, weight: &Param<Tensor<Autodiff<B>, D>>) {
        if let Some(gradient) = self.gradients.get::<B, D>(weight.id) {
            self.found.push(gradient.flatten(0, D - 1));
        }
    }
}

fn mean(values: &[f32]) -> f64 {
    values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len() as f64
}

fn host<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().iter().collect()
}
