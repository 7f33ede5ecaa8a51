//! The settings of a training run.

use serde::{Deserialize, Serialize};
use shortrun_langevin::{ShortRun, StepSize, StepSizes};
use shortrun_model::Precision;

use crate::{LearningRate, Sigma, TrainError, TuningConfig};

/// The settings of a training run. In `config.toml` these are the top-level keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Seed of weights, batches and noise.
    pub seed: u64,
    /// Learning steps of the whole run.
    pub iterations: u64,
    /// Minutes of training, over all sessions and without looks at test images, after which the run ends
    /// even if iterations remain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minutes: Option<f64>,
    /// What the generator's products are computed in, where the backend has a choice; bf16 if it is not
    /// said. Whoever runs a session sets it for the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// Images in each iteration, at most 100,000.
    pub batch_size: usize,
    /// Learning rate of Adam.
    pub learning_rate: LearningRate,
    /// Standard deviation of a pixel under the model.
    pub sigma: Sigma,
    /// Iterations between lines in `metrics.jsonl`.
    pub log_every: u64,
    /// Skipped updates in a row that stop the run.
    pub max_skipped: u64,
    /// The chain that infers latents.
    pub langevin: LangevinConfig,
    /// How the chain's step size is tuned on the way.
    #[serde(default)]
    pub step_size: TuningConfig,
    /// The optimiser.
    pub adam: AdamConfig,
    /// When to save, and what to keep.
    pub checkpoint: CheckpointConfig,
    /// What is looked at with every checkpoint.
    pub evaluation: EvaluationConfig,
}

/// The chain that infers latents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LangevinConfig {
    /// K, at most [`ShortRun::MOST_STEPS`].
    pub steps: usize,
    /// One step size or one for each step, by convention: `{ eta = 0.05 }` or
    /// `{ drift = 0.00125 }`. It is the step at the final sigma.
    pub step_size: StepSizes,
    /// Whether eta is kept in proportion to sigma while sigma is annealed. The curvature of the
    /// energy grows as 1 / sigma², so this keeps the chain as stable as it is at the end.
    pub follow_sigma: bool,
    /// Whether chains go on from where the image's last chain ended instead of starting afresh.
    pub persistent: bool,
    /// The share of diverged chains above which an update is not taken. Up to it, only the diverged
    /// chains are left out. Either way steps and learning are slower for a while.
    pub max_diverged: f64,
}

/// Adam (Kingma and Ba, 2015), with epsilon as PyTorch counts it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdamConfig {
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// The largest norm of the loss's gradient in all weights: a longer one is shortened to it
    /// (Pascanu, Mikolov and Bengio, 2013). None: all are taken as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
}

/// When to save, and what to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Iterations between checkpoints.
    pub every: u64,
    /// How many of the last to keep, beside the best.
    pub keep: usize,
}

/// What is looked at with every checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationConfig {
    /// Test images to reconstruct, at most 1,000,000.
    pub images: usize,
    /// Images to synthesise, likewise.
    pub samples: usize,
}

impl Default for TrainConfig {
    /// The paper's settings: 3e5 iterations of 100 images, K = 25, sigma annealed to 0.15, eta 0.05.
    fn default() -> Self {
        Self {
            seed: 1,
            iterations: 300_000,
            minutes: None,
            precision: None,
            batch_size: 100,
            learning_rate: LearningRate::Pieces(vec![(0, 1e-4), (100_000, 5e-5), (200_000, 1e-5)]),
            sigma: Sigma::Annealed {
                start: 0.3,
                end: 0.15,
                iterations: 10_000,
            },
            log_every: 10,
            max_skipped: 20,
            langevin: LangevinConfig {
                steps: 25,
                step_size: StepSizes::Constant(
                    StepSize::from_eta(0.05)
                        .unwrap_or_else(|_| unreachable!("0.05 is a step size")),
                ),
                follow_sigma: true,
                persistent: false,
                max_diverged: 0.1,
            },
            step_size: TuningConfig::default(),
            adam: AdamConfig {
                beta1: 0.5,
                beta2: 0.999,
                epsilon: 1e-8,
                clip: None,
            },
            checkpoint: CheckpointConfig {
                every: 1_000,
                keep: 2,
            },
            evaluation: EvaluationConfig {
                images: 64,
                samples: 64,
            },
        }
    }
}

/// Images that are learned from at once, at most.
const MOST_AT_ONCE: u64 = 100_000;
/// Images that are looked at, at most.
const MOST_IMAGES: u64 = 1_000_000;
/// Of what is waited for or counted, and kept nowhere.
const ANY: u64 = u64::MAX;

impl TrainConfig {
    /// Checks that the run can be made.
    ///
    /// # Errors
    /// Names the first setting that makes no sense.
    pub fn check(&self) -> Result<(), TrainError> {
        let fault =
            |setting: &'static str, reason: String| Err(TrainError::Setting { setting, reason });
        let EvaluationConfig { images, samples } = self.evaluation;
        let chain = self.langevin.steps as u64;
        TrainError::check_counts([
            ("batch_size", self.batch_size as u64, MOST_AT_ONCE),
            ("iterations", self.iterations, ANY),
            ("log_every", self.log_every, ANY),
            ("max_skipped", self.max_skipped, ANY),
            ("langevin.steps", chain, ShortRun::MOST_STEPS as u64),
            ("checkpoint.every", self.checkpoint.every, ANY),
            ("checkpoint.keep", self.checkpoint.keep as u64, ANY),
            ("evaluation.images", images as u64, MOST_IMAGES),
            ("evaluation.samples", samples as u64, MOST_IMAGES),
        ])?;
        if let Some(minutes) = self.minutes.filter(|m| !(m.is_finite() && *m > 0.0)) {
            return fault("minutes", format!("must be above 0; found {minutes}"));
        }
        if let Some(reason) = self.learning_rate.fault() {
            return fault("learning_rate", reason);
        }
        if let Some(reason) = self.sigma.fault() {
            return fault("sigma", reason);
        }
        let step_size = &self.langevin.step_size;
        if step_size.sizes().iter().any(|step| step.drift() == 0.0) {
            return fault(
                "langevin.step_size",
                "must be above 0, or nothing is inferred".to_owned(),
            );
        }
        let (steps, given) = (self.langevin.steps, step_size.count());
        if let Some(sizes) = given.filter(|sizes| *sizes != steps) {
            let reason = format!("has {sizes} sizes for {steps} steps");
            return fault("langevin.step_size", reason);
        }
        if !(0.0..=1.0).contains(&self.langevin.max_diverged) {
            let reason = format!("must be in [0, 1]; found {}", self.langevin.max_diverged);
            return fault("langevin.max_diverged", reason);
        }
        self.step_size.check()?;
        let adam = [
            ("adam.beta1", self.adam.beta1),
            ("adam.beta2", self.adam.beta2),
        ];
        if let Some((setting, beta)) = adam.into_iter().find(|(_, b)| !(0.0..1.0).contains(b)) {
            return fault(setting, format!("must be in [0, 1); found {beta}"));
        }
        if !(self.adam.epsilon.is_finite() && self.adam.epsilon > 0.0) {
            let reason = format!("must be above 0; found {}", self.adam.epsilon);
            return fault("adam.epsilon", reason);
        }
        if let Some(clip) = self.adam.clip.filter(|c| !(c.is_finite() && *c > 0.0)) {
            return fault("adam.clip", format!("must be above 0; found {clip}"));
        }
        Ok(())
    }

    /// What step sizes are multiplied by at an iteration (every eta): 1, or in proportion to sigma.
    pub fn step_scale(&self, iteration: u64) -> f64 {
        if self.langevin.follow_sigma {
            self.sigma.at(iteration) / self.sigma.last()
        } else {
            1.0
        }
    }
}
