//! Tuning the step size of the chain while the generator learns.

use burn::prelude::*;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use shortrun_data::Images;
use shortrun_eval::{EvalError, StepSizeTask};
use shortrun_langevin::{LatentLayers, NoiseKey, Purpose, StepSizes};
use shortrun_model::Learnable;
use shortrun_stepsize_vi::{
    Adam, AdamState, Arrangement, GridSearch, LanczosConfig, MemoryBudget, Model, Objective,
    ObjectiveError, ObjectiveName, Point, Problem, RefineSearch, Search, SearchName,
};

use crate::TrainError;

/// How the step size is tuned while the generator learns: `[step_size]` in `config.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TuningConfig {
    /// T_s: iterations between updates of the step size; 0 leaves it as set.
    pub every: u64,
    /// Training images that each update looks at.
    pub examples: usize,
    /// What is minimised.
    pub objective: ObjectiveName,
    /// How. A gradient search takes a few steps of Adam on `log s` at each update.
    pub search: SearchName,
    /// One step size, one for each step, or one for each layer.
    pub per: Arrangement,
    /// Of a gradient search: Adam on `log s`, which goes on from one update to the next.
    pub adam: Adam,
    /// Of a gradient search: Adam's steps at each update, on the same images and noise.
    pub updates: usize,
    /// Of a grid search: the etas to try.
    pub grid: Vec<f64>,
    /// Of a refined search.
    pub refine: RefineSearch,
    /// Of the Lanczos objective.
    pub lanczos: LanczosConfig,
    /// Memory for Hessians, in MiB.
    pub memory_mib: usize,
}

impl Default for TuningConfig {
    /// Off. Once switched on: the exact objective and its gradient, on 2 images.
    fn default() -> Self {
        Self {
            every: 0,
            examples: 2,
            objective: ObjectiveName::Exact,
            search: SearchName::Gradient,
            per: Arrangement::Constant,
            adam: Adam::default(),
            updates: 1,
            grid: GridSearch::default().etas,
            refine: RefineSearch::default(),
            lanczos: LanczosConfig::default(),
            memory_mib: 1024,
        }
    }
}

/// Of whatever is counted here, at most.
const MOST: u64 = 1_000_000;

impl TuningConfig {
    /// Whether the step size is to be updated before iteration `iteration`, counted from 0.
    pub fn due(&self, iteration: u64) -> bool {
        self.every > 0 && iteration > 0 && iteration.is_multiple_of(self.every)
    }

    /// The objective by its name, with its settings.
    pub fn objective(&self) -> Objective {
        self.objective.with(self.lanczos)
    }

    /// Checks that the settings make sense.
    ///
    /// # Errors
    /// Names the first that does not.
    pub(crate) fn check(&self) -> Result<(), TrainError> {
        if self.every == 0 {
            return Ok(());
        }
        let counts = [
            ("step_size.examples", self.examples),
            ("step_size.updates", self.updates),
            ("step_size.memory_mib", self.memory_mib),
            ("step_size.lanczos.steps", self.lanczos.steps),
            ("step_size.lanczos.probes", self.lanczos.probes),
        ];
        TrainError::check_counts(counts.map(|(setting, count)| (setting, count as u64, MOST)))?;
        let fault = |setting, reason| Err(TrainError::Setting { setting, reason });
        if (self.objective, self.search) == (ObjectiveName::Lanczos, SearchName::Gradient) {
            let reason = "is gradient, but the lanczos objective has no gradient: use grid or \
                          refine, or the exact or augmented objective";
            return fault("step_size.search", reason.to_owned());
        }
        for (setting, checked) in [
            ("step_size.grid", self.grid_search().steps().map(drop)),
            ("step_size.refine", self.refine.check()),
            ("step_size.adam", self.adam.check()),
        ] {
            match checked {
                Ok(()) => {}
                Err(ObjectiveError::Setting {
                    setting: within,
                    reason,
                }) => return fault(setting, format!("({within}) {reason}")),
                Err(other) => return fault(setting, other.to_string()),
            }
        }
        Ok(())
    }

    fn grid_search(&self) -> GridSearch {
        GridSearch {
            etas: self.grid.clone(),
        }
    }
}

/// The tuned step size and what tuning it further needs: part of every checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tuned {
    /// The step sizes, at the final sigma if eta follows sigma.
    pub step_sizes: StepSizes,
    /// Moments of Adam on `log s`.
    pub adam: AdamState,
}

/// One update of the step size: a line in `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tuning {
    /// The iteration, counted from 1, from which on the new step size holds.
    pub iteration: u64,
    /// New step sizes, noise form.
    pub eta: Vec<f64>,
    /// New step sizes, drift form.
    pub drift: Vec<f64>,
    /// The objective in nats an image: of the best that was tried or, of a gradient search, before
    /// its last step; null if it is not finite.
    pub objective: Option<f64>,
    /// `dF / d log s` of a gradient search, before its last step; empty otherwise.
    pub slope: Vec<f64>,
    /// What a grid or refined search tried: the (geometric mean of the) etas, and the objective;
    /// null where a chain exploded.
    pub curve: Vec<(f64, Option<f64>)>,
    /// Why the step size was lowered instead, if it was.
    pub failed: Option<String>,
    /// Seconds taken.
    pub seconds: f64,
}

/// What an update works on.
pub(crate) struct Tuner<'a> {
    pub(crate) config: &'a TuningConfig,
    pub(crate) seed: u64,
    /// K.
    pub(crate) steps: usize,
    pub(crate) layers: &'a LatentLayers,
    pub(crate) sigma: f64,
}

/// What is left of eta where a chain exploded.
const RETREAT: f64 = 0.7;

impl Tuner<'_> {
    /// Updates the step sizes `now` of this iteration, counted from 0.
    ///
    /// # Errors
    /// If the objective cannot be had at all. Chains that explode only lower the step size.
    pub(crate) fn update<B: Backend, G: Learnable<B>>(
        &self,
        iteration: u64,
        generator: &G,
        images: &Images,
        now: &StepSizes,
        adam: &mut AdamState,
        device: &B::Device,
    ) -> Result<(StepSizes, Tuning), TrainError> {
        let begun = std::time::Instant::now();
        let key = NoiseKey {
            seed: self.seed,
            iteration,
            purpose: Purpose::StepSize,
        };
        // After the streams of starts and noise, which are 0 to K.
        let mut rng = key.rng(self.steps as u64 + 1);
        let places: Vec<usize> = (0..self.config.examples)
            .map(|_| rng.random_range(0..images.len()))
            .collect();
        let task = StepSizeTask {
            steps: self.steps,
            sigma: self.sigma,
            latents: self.layers.dim(),
            key,
            budget: MemoryBudget::mib(self.config.memory_mib),
        };
        let now = self.config.per.of(now, self.steps, self.layers);
        let found = task.run(generator, images, &places, device, |model, problem| {
            self.step(model, problem, &now, adam)
        });
        let step = match found {
            Ok(step) => step,
            Err(EvalError::Objective(
                error @ (ObjectiveError::AllExploded { .. } | ObjectiveError::Energy { .. }),
            )) => Step::retreat(&now, error.to_string()),
            Err(other) => return Err(other.into()),
        };
        let finite = |value: f64| value.is_finite().then_some(value);
        let sizes = step.sizes;
        let curve = step.curve.iter();
        let tuning = Tuning {
            iteration: iteration + 1,
            eta: sizes.sizes().iter().map(|step| step.eta()).collect(),
            drift: sizes.sizes().iter().map(|step| step.drift()).collect(),
            objective: finite(step.objective),
            slope: step.slope,
            curve: curve
                .map(|point| (point.step_sizes.mean().eta(), finite(point.objective)))
                .collect(),
            failed: step.failed,
            seconds: begun.elapsed().as_secs_f64(),
        };
        Ok((sizes, tuning))
    }

    fn step<B: Backend>(
        &self,
        model: &Model<'_, B>,
        problem: &Problem<B>,
        now: &StepSizes,
        adam: &mut AdamState,
    ) -> Result<Step, ObjectiveError> {
        let objective = self.config.objective();
        let search = match self.config.search {
            SearchName::Grid => Search::Grid(self.config.grid_search()),
            SearchName::Refine => Search::Refine(self.config.refine),
            SearchName::Gradient => return self.descend(model, problem, now, adam),
        };
        let found = search.run(model, problem, objective, now)?;
        Ok(Step {
            objective: found.evaluation.mean(),
            sizes: found.step_sizes,
            slope: Vec::new(),
            curve: found.curve,
            failed: None,
        })
    }

    /// Some steps of Adam on `log s`.
    fn descend<B: Backend>(
        &self,
        model: &Model<'_, B>,
        problem: &Problem<B>,
        now: &StepSizes,
        adam: &mut AdamState,
    ) -> Result<Step, ObjectiveError> {
        let mut step = Step {
            sizes: now.clone(),
            objective: f64::NAN,
            slope: Vec::new(),
            curve: Vec::new(),
            failed: None,
        };
        for _ in 0..self.config.updates {
            let found = self.config.objective().slope(model, problem, &step.sizes)?;
            let by_log = found.by_log_drift(&step.sizes);
            if !by_log.iter().all(|slope| slope.is_finite()) {
                *adam = AdamState::default();
                let reason = format!("a chain exploded at {}", step.sizes);
                return Ok(Step::retreat(&step.sizes, reason));
            }
            step.objective = found.evaluation.mean();
            let moved = self.config.adam.update(adam, &step.sizes, &by_log, 1.0);
            if !moved.sizes().iter().all(|size| size.eta().is_normal()) {
                *adam = AdamState::default();
                let reason = format!("Adam left all bounds at {}", step.sizes);
                return Ok(Step::retreat(&step.sizes, reason));
            }
            step.sizes = moved;
            step.slope = by_log;
        }
        Ok(step)
    }
}

/// What an update came to.
struct Step {
    sizes: StepSizes,
    objective: f64,
    slope: Vec<f64>,
    curve: Vec<Point>,
    failed: Option<String>,
}

impl Step {
    /// Smaller sizes, where chains exploded.
    fn retreat(from: &StepSizes, reason: String) -> Self {
        Self {
            sizes: from.scaled(RETREAT),
            objective: f64::NAN,
            slope: Vec::new(),
            curve: Vec::new(),
            failed: Some(reason),
        }
    }
}
