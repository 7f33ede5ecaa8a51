//! Opening a run folder to look at its model.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use burn::prelude::*;
use clap::Args;
use shortrun_eval::Inference;
use shortrun_langevin::StepSizes;
use shortrun_model::MultiLayerGenerator;
use shortrun_train::{Checkpoint, RunFolder};

use super::{
    Failure,
    options::{ChainOptions, check_output},
};
use crate::run_config::RunConfig;

/// Which run, and which of its checkpoints.
#[derive(Clone, Debug, Args)]
pub(super) struct RunOption {
    /// Folder of the run.
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// Use the checkpoint with the lowest test error, not the newest.
    #[arg(long)]
    best: bool,
}

/// A run's configuration and one of its checkpoints.
pub(super) struct LoadedRun {
    pub(super) config: RunConfig,
    pub(super) checkpoint: Checkpoint,
    pub(super) folder: RunFolder,
}

/// The configuration in a run folder.
pub(super) fn read_config(folder: &RunFolder) -> Result<RunConfig, Failure> {
    let place = folder.path().join("config.toml");
    let text = folder.config()?;
    Ok(RunConfig::from_toml(&place.display().to_string(), &text)?)
}

/// The newest whole checkpoint; what is wrong with newer ones is said.
pub(super) fn newest_checkpoint(folder: &RunFolder) -> Result<Checkpoint, Failure> {
    let (checkpoint, damaged) = Checkpoint::newest(folder)?;
    for message in damaged {
        err!("warning: {message}; an older checkpoint is used");
    }
    Ok(checkpoint)
}

impl RunOption {
    pub(super) fn load(&self) -> Result<LoadedRun, Failure> {
        let folder = RunFolder::open(&self.run)?;
        let config = read_config(&folder)?;
        let mut checkpoint = newest_checkpoint(&folder)?;
        if let (true, Some((iteration, _))) = (self.best, checkpoint.state.best) {
            checkpoint = Checkpoint::open(&folder, iteration)?;
        }
        Ok(LoadedRun {
            config,
            checkpoint,
            folder,
        })
    }
}

impl LoadedRun {
    /// The generator with the checkpoint's weights.
    pub(super) fn generator<B: Backend>(
        &self,
        device: &B::Device,
    ) -> Result<MultiLayerGenerator<B>, Failure> {
        let shape = self.config.generator.try_init::<B>(0, device)?;
        Ok(self.checkpoint.generator::<B, _>(shape, device)?)
    }

    /// The iteration the checkpoint's weights came from, counted from 0.
    pub(super) fn last_iteration(&self) -> u64 {
        self.checkpoint.state.iteration.saturating_sub(1)
    }

    /// Standard deviation of a pixel at this checkpoint.
    pub(super) fn sigma(&self) -> f64 {
        self.config.training.sigma.at(self.last_iteration())
    }

    /// The step sizes at this checkpoint.
    pub(super) fn step_sizes(&self) -> StepSizes {
        let state = &self.checkpoint.state;
        state.step_sizes(&self.config.training, self.last_iteration())
    }

    /// How latents are inferred at this checkpoint, with what the options change.
    pub(super) fn inference(&self, options: &ChainOptions) -> Result<Inference, Failure> {
        Ok(Inference {
            chain: options.chain(self)?,
            sigma: self.sigma(),
            seed: options.seed.unwrap_or(self.config.training.seed),
            layers: self.config.generator.latents.clone(),
        })
    }

    /// Where a command writes its picture: in the run folder, as `name`, if it is not told.
    pub(super) fn picture(&self, out: Option<PathBuf>, name: &str) -> Result<PathBuf, Failure> {
        let out = out.unwrap_or_else(|| self.folder.path().join(name));
        let extension = Path::new(name).extension().and_then(OsStr::to_str);
        check_output(&out, extension.unwrap_or_default())?;
        Ok(out)
    }
}
