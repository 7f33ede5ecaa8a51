//! `shortrun info`.

use std::{fmt, path::PathBuf};

use burn::prelude::*;
use clap::Args;
use serde::Serialize;
use shortrun_model::{GeneratorConfig, Preset, Summary};
use shortrun_train::{Checkpoint, MetricsLog, RunFolder, State, TrainConfig};

use super::{Failure, reporting::Reporting, run::warn_of_damage};
use crate::{
    backend::OnBackend,
    run_config::{DataConfig, RunConfig, training_of},
};

/// Arguments of `shortrun info`.
#[derive(Debug, Args)]
pub(super) struct InfoArgs {
    /// Folder of a run.
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with = "preset",
        required_unless_present = "preset"
    )]
    run: Option<PathBuf>,
    /// A preset: quick, l1, table4 or released (for 32x32 colour images).
    #[arg(long)]
    preset: Option<Preset>,
    #[command(flatten)]
    pub(super) reporting: Reporting,
}

#[derive(Serialize)]
pub(super) struct Report {
    generator: GeneratorConfig,
    training: TrainConfig,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<DataConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<State>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_evaluation: Option<shortrun_train::Evaluation>,
    parameters: Summary,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let generator = &self.generator;
        writeln!(
            f,
            "generator: L = {}, {} latents {:?} (top first), {} channels, images {} x {} x {}",
            generator.latents.count(),
            generator.architecture.name(),
            generator.latents.sizes(),
            generator.features,
            generator.image_channels,
            generator.image_size,
            generator.image_size,
        )?;
        writeln!(f, "{}", self.parameters)?;
        let training = &self.training;
        write!(
            f,
            "training: {} iterations of {} images, K = {}, step size {}, sigma {}",
            training.iterations,
            training.batch_size,
            training.langevin.steps,
            training.langevin.step_size,
            training.sigma,
        )?;
        if let Some(state) = &self.state {
            write!(
                f,
                "\nrun: {} iterations done on {} images of '{}', {} updates skipped",
                state.iteration, state.images, state.data, state.skipped
            )?;
        }
        if let Some(evaluation) = &self.last_evaluation {
            write!(
                f,
                "\ntest MSE {:.5} on {} images at iteration {} (mean image {:.5})",
                evaluation.test_mse.unwrap_or(f64::NAN),
                evaluation.images,
                evaluation.iteration,
                evaluation.mean_image_mse
            )?;
        }
        Ok(())
    }
}

impl OnBackend for InfoArgs {
    type Output = Result<Report, Failure>;

    fn run<B: Backend>(self, device: B::Device) -> Self::Output {
        let (generator, training, data, state, last_evaluation) = match (&self.run, self.preset) {
            (Some(path), _) => {
                let folder = RunFolder::open(path)?;
                let config = RunConfig::read(&folder)?;
                // A run that has just begun has no checkpoint yet; that is no error here.
                let state = match Checkpoint::newest(&folder) {
                    Ok((checkpoint, damaged)) => {
                        warn_of_damage(&damaged);
                        Some(checkpoint.state)
                    }
                    Err(error) => {
                        err!("warning: {error}");
                        None
                    }
                };
                let last = MetricsLog::last_evaluation(&folder).unwrap_or_default();
                (
                    config.generator,
                    config.training,
                    Some(config.data),
                    state,
                    last,
                )
            }
            (None, preset) => {
                let preset = preset.unwrap_or(Preset::Quick);
                (preset.config(32, 3)?, training_of(preset), None, None, None)
            }
        };
        let parameters = Summary::of(&generator.try_init::<B>(0, &device)?);
        Ok(Report {
            generator,
            training,
            data,
            state,
            last_evaluation,
            parameters,
        })
    }
}
