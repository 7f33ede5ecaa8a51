//! Opening a run folder to look at its model.
//!
//! ```no_run
//! # #[cfg(feature = "flex")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use burn::backend::{Autodiff, Flex};
//! use shortrun::{data::Split, eval::reconstruct, run::LoadedRun};
//!
//! let (run, device) = (LoadedRun::open("runs/svhn")?, Default::default());
//! let generator = run.generator::<Autodiff<Flex>>(&device)?;
//! let part = run.config.data.spec()?.load_split(Split::Test, Some(64))?;
//! let found = reconstruct(&generator, &part.images, 64, &run.own_inference()?, &device)?;
//! println!("MSE {:.4} on {}", found.mse(), part.provenance);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "flex"))]
//! # fn main() {}
//! ```

use std::path::PathBuf;

use burn::prelude::*;
use shortrun_eval::Inference;
use shortrun_langevin::{ChainError, ShortRun, StepSizes};
use shortrun_model::MultiLayerGenerator;
use shortrun_train::{Checkpoint, Method, Metrics, MetricsLog, RunFolder, last_update};

use crate::run_config::{RunConfig, RunConfigError};

/// A run's configuration and one of its checkpoints.
#[derive(Clone, Debug)]
pub struct LoadedRun {
    /// Everything it was made with.
    pub config: RunConfig,
    /// Weights and counters.
    pub checkpoint: Checkpoint,
    /// Where it is.
    pub folder: RunFolder,
    /// What is wrong with newer checkpoints, if anything.
    pub damaged: Vec<String>,
}

impl LoadedRun {
    /// The run with its newest whole checkpoint.
    ///
    /// # Errors
    /// If there is no run, its configuration cannot be read, or no checkpoint is whole.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, RunConfigError> {
        let folder = RunFolder::open(path)?;
        let config = RunConfig::read(&folder)?;
        let (checkpoint, damaged) = Checkpoint::newest(&folder)?;
        Ok(Self {
            config,
            checkpoint,
            folder,
            damaged,
        })
    }

    /// The same run with the checkpoint of the lowest test error, if it has measured one.
    ///
    /// # Errors
    /// If that checkpoint is not whole.
    pub fn best(mut self) -> Result<Self, RunConfigError> {
        if let Some((iteration, _)) = self.checkpoint.state.best {
            self.checkpoint = Checkpoint::open(&self.folder, iteration)?;
        }
        Ok(self)
    }

    /// The generator with the checkpoint's weights.
    ///
    /// # Errors
    /// If the weights are not those of the configuration, or the run's method has no generator.
    pub fn generator<B: Backend>(
        &self,
        device: &B::Device,
    ) -> Result<MultiLayerGenerator<B>, RunConfigError> {
        let method = self.config.method.name();
        if !method.has_generator() {
            return Err(RunConfigError::NoGenerator(method.name()));
        }
        let shape = self.config.generator.try_init::<B>(0, device)?;
        Ok(self.checkpoint.generator::<B, _>(shape, device)?)
    }

    /// All that was learned, as the run's method has it.
    ///
    /// # Errors
    /// If the checkpoint is not that of the configuration.
    pub fn method<B: Backend>(
        &self,
        device: &B::Device,
    ) -> Result<Box<dyn Method<B>>, RunConfigError> {
        let config = &self.config;
        config.generator.check()?;
        let images = self.checkpoint.state.images;
        let mut method =
            config
                .method
                .build::<B>(&config.generator, &config.training, images, device)?;
        method.load(&self.checkpoint)?;
        Ok(method)
    }

    /// The last update in the log, if there is one.
    ///
    /// # Errors
    /// If `metrics.jsonl` cannot be read.
    pub fn last_update(&self) -> Result<Option<Metrics>, RunConfigError> {
        Ok(last_update(&MetricsLog::read(&self.folder)?).cloned())
    }

    /// The iteration the checkpoint's weights came from, counted from 0.
    pub fn last_iteration(&self) -> u64 {
        self.checkpoint.state.iteration.saturating_sub(1)
    }

    /// The step sizes at this checkpoint.
    pub fn step_sizes(&self) -> StepSizes {
        let state = &self.checkpoint.state;
        state.step_sizes(&self.config.training, self.last_iteration())
    }

    /// The standard deviation of a pixel at this checkpoint.
    pub fn sigma(&self) -> f64 {
        self.config.training.sigma.at(self.last_iteration())
    }

    /// How training inferred latents at this checkpoint, with the run's seed.
    ///
    /// # Errors
    /// If the configuration has step sizes for another number of steps.
    pub fn own_inference(&self) -> Result<Inference, ChainError> {
        let training = &self.config.training;
        Ok(Inference {
            chain: ShortRun::new(training.langevin.steps, self.step_sizes())?,
            sigma: self.sigma(),
            seed: training.seed,
            layers: self.config.generator.latents.clone(),
        })
    }
}
