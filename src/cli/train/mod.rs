//! `shortrun train`, and the training examples.

mod learn_options;
mod plan;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::{Args, Parser};
use shortrun_model::Preset;
use shortrun_train::{Ending, RunFolder, Stop, Summary, TrainError};

pub(super) use self::learn_options::LearnOptions;
use self::plan::Plan;
use super::{Exit, Failure, interrupt::stop_on_interrupt};
use crate::{run_config::RunConfig, settings::difference};

/// Arguments of `shortrun train` and of the training examples.
#[derive(Debug, Args)]
pub(super) struct TrainArgs {
    #[command(flatten)]
    learn: LearnOptions,
    /// Folder of the run [default: the first free of runs/DATA, runs/DATA-2, …].
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Go on with the run in --run from its last checkpoint, bit-exactly.
    #[arg(long, requires = "run")]
    resume: bool,
    /// Print the summary as one JSON object, and no progress.
    #[arg(long)]
    json: bool,
}

/// What an example trains when it is not told.
#[derive(Clone, Copy, Debug)]
pub struct ExampleDefaults {
    /// The data set.
    pub data: &'static str,
    /// The generator.
    pub preset: Preset,
    /// Folder of the run, if free.
    pub run: &'static str,
    /// Settings that go with the data, as `--set` takes them; what a user sets goes before them.
    pub settings: &'static [&'static str],
}

/// The command line of a training example: `shortrun train` with other defaults.
pub fn example(defaults: ExampleDefaults) -> ExitCode {
    #[derive(Parser)]
    struct Example {
        #[command(flatten)]
        train: TrainArgs,
    }
    super::start_log();
    super::finish(main(Example::parse().train, Some(defaults)))
}

pub(super) fn main(args: TrainArgs, defaults: Option<ExampleDefaults>) -> Result<Exit, Failure> {
    let TrainArgs {
        learn,
        run,
        resume,
        json,
    } = args;
    let backend = learn.backend()?;
    let plan = if resume {
        Plan::resume(&learn, run.unwrap_or_default(), json)?
    } else {
        Plan::start(&learn, run, defaults, json)?
    };
    let run = plan.folder.clone();
    let summary = backend.run(plan.stopped_by(stop_on_interrupt(STOPPING)?))??;
    if json {
        out!("{}", super::reporting::to_json(&summary)?);
    } else {
        report(&summary, &run);
    }
    Ok(match summary.ending {
        Ending::Finished => Exit::Done,
        Ending::Stopped => Exit::Interrupted,
        Ending::Diverged => Exit::Diverged,
    })
}

/// What an interrupted run says.
pub(super) const STOPPING: &str = "stopping after this iteration";

/// One run of a sweep: begun, gone on with, or, if it is finished, only read.
pub(super) fn begin_or_resume(
    learn: &LearnOptions,
    folder: &Path,
    stop: &Arc<Stop>,
    quiet: bool,
) -> Result<Summary, Failure> {
    let backend = learn.backend()?;
    let Ok(opened) = RunFolder::open(folder) else {
        let plan = Plan::start(learn, Some(folder.to_owned()), None, quiet)?;
        return backend.run(plan.stopped_by(stop.clone()))?;
    };
    let plan = Plan::resume(learn, folder.to_owned(), quiet)?;
    let stored = RunConfig::read(&opened)?.training;
    if let Some(difference) = difference("training", &stored, &plan.config.training) {
        let path = folder.to_owned();
        return Err(TrainError::OtherRun { path, difference }.into());
    }
    match Summary::read(&opened) {
        Some(summary) if summary.ending != Ending::Stopped => Ok(summary),
        _ => backend.run(plan.stopped_by(stop.clone()))?,
    }
}

fn report(summary: &Summary, run: &Path) {
    let run = run.display();
    out!("data: {}", summary.data);
    if let Some(evaluation) = &summary.evaluation {
        out!("{evaluation}");
    }
    match summary.ending {
        Ending::Finished => out!(
            "{} iterations done in {:.0} s; pictures: {run}/reconstructions, {run}/samples",
            summary.iterations,
            summary.seconds
        ),
        Ending::Stopped | Ending::Diverged => out!(
            "stopped and saved at iteration {}; go on with: shortrun train --run {run} --resume",
            summary.iterations
        ),
    }
}
