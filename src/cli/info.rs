//! `shortrun info`.

use std::{fmt, path::PathBuf};

use burn::prelude::*;
use clap::Args;
use serde::Serialize;
use shortrun_baselines::MethodConfig;
use shortrun_model::{GeneratorConfig, Preset, Summary};
use shortrun_train::{Checkpoint, Method, MetricsLog, Parameters, RunFolder, State, TrainConfig};

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
    method: MethodConfig,
    training: TrainConfig,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<DataConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<State>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_evaluation: Option<shortrun_train::Evaluation>,
    /// Of the generator, one by one.
    parameters: Summary,
    learned: Parameters,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (generator, method) = (&self.generator, self.method.name());
        if !method.has_generator() {
            let name = method.name();
            writeln!(f, "method: {name}, {} parameters", self.learned.generator)?;
            return self.rest(f);
        }
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
        let (name, inference) = (method.name(), self.learned.inference);
        writeln!(f, "method: {name}, {inference} parameters for inference")?;
        self.rest(f)
    }
}

impl Report {
    /// What does not depend on the method.
    fn rest(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
            write!(f, "\n{evaluation}, at iteration {}", evaluation.iteration)?;
        }
        Ok(())
    }
}

impl OnBackend for InfoArgs {
    type Output = Result<Report, Failure>;

    fn run<B: Backend>(self, device: B::Device) -> Self::Output {
        let (generator, method, training, data, state, last_evaluation) =
            match (&self.run, self.preset) {
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
                        config.method,
                        config.training,
                        Some(config.data),
                        state,
                        last,
                    )
                }
                (None, preset) => {
                    let preset = preset.unwrap_or(Preset::Quick);
                    let (generator, training) = (preset.config(32, 3)?, training_of(preset));
                    (
                        generator,
                        MethodConfig::default(),
                        training,
                        None,
                        None,
                        None,
                    )
                }
            };
        let parameters = Summary::of(&generator.try_init::<B>(0, &device)?);
        let images = state.as_ref().map_or(1, |state| state.images);
        let built = method.build::<B>(&generator, &training, images, &device)?;
        Ok(Report {
            learned: built.parameters(),
            generator,
            method,
            training,
            data,
            state,
            last_evaluation,
            parameters,
        })
    }
}
