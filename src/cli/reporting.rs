//! Doing a command's work on a backend, and saying what came of it.

use std::fmt::{self, Display};

use clap::Args;
use serde::Serialize;
use shortrun_langevin::{StepSize, StepSizes};
use shortrun_train::Evaluated;

use super::{Exit, Failure, options::BackendOption, run::RunOption, versions::invocation};
use crate::backend::{BackendName, OnBackend};

/// Where to work, and how to say the result.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Reporting {
    #[command(flatten)]
    backend: BackendOption,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
}

impl Reporting {
    /// Does the work and prints its report, in words or as JSON.
    pub(super) fn run<R: Serialize + Display>(
        self,
        work: impl OnBackend<Output = Result<R, Failure>>,
    ) -> Result<Exit, Failure> {
        self.run_and_judge(work, |_| Exit::Done)
    }

    /// As [`run`](Self::run), with an exit code that depends on the report.
    pub(super) fn run_and_judge<R: Serialize + Display>(
        self,
        work: impl OnBackend<Output = Result<R, Failure>>,
        judge: impl FnOnce(&R) -> Exit,
    ) -> Result<Exit, Failure> {
        let report = self.backend.name()?.run(work)??;
        self.print(&report)?;
        Ok(judge(&report))
    }

    /// As [`run`](Self::run), and keeps the report in the run's folder, where `shortrun report` finds
    /// what the command `name` found out.
    pub(super) fn run_kept<R: Serialize + Display>(
        self,
        name: &str,
        run: RunOption,
        work: impl OnBackend<Output = Result<R, Failure>>,
    ) -> Result<Exit, Failure> {
        let backend = self.backend.name()?;
        let report = backend.run(work)??;
        if let Err(reason) = keep(name, &run, backend, &report) {
            // Somebody else's run may be read-only.
            err!("warning: the result is not kept in the run folder: {reason}");
        }
        self.print(&report)?;
        Ok(Exit::Done)
    }

    /// Where the work is done.
    pub(super) fn backend(self) -> Result<BackendName, Failure> {
        self.backend.name()
    }

    fn print<R: Serialize + Display>(self, report: &R) -> Result<(), Failure> {
        if self.json {
            out!("{}", to_json(report)?);
        } else {
            out!("{report}");
        }
        Ok(())
    }
}

fn keep(
    name: &str,
    run: &RunOption,
    backend: BackendName,
    report: &impl Serialize,
) -> Result<(), Failure> {
    let folder = run.folder()?;
    let report = serde_json::to_value(report).map_err(|e| Failure::Other(e.to_string()))?;
    let looked_at = report["checkpoint"].as_u64().unwrap_or(0);
    let evaluated = Evaluated::new(&folder, invocation(looked_at, backend), report);
    Ok(folder.keep(name, &evaluated)?)
}

/// One JSON object, indented.
pub(super) fn to_json(report: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(report).map_err(|e| Failure::Other(e.to_string()))
}

/// Step sizes in both conventions: one, one for each step, or one for each layer.
#[derive(Clone, Debug, Serialize)]
pub(super) struct StepSizeReport {
    pub(super) eta: Vec<f64>,
    pub(super) drift: Vec<f64>,
}

impl From<&StepSizes> for StepSizeReport {
    fn from(sizes: &StepSizes) -> Self {
        let list = |value: fn(StepSize) -> f64| sizes.sizes().iter().map(|s| value(*s)).collect();
        Self {
            eta: list(StepSize::eta),
            drift: list(StepSize::drift),
        }
    }
}

impl Display for StepSizeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |values: &[f64]| {
            let written = values.iter().map(|value| match value {
                small if small.abs() < 1e-3 => format!("{small:.2e}"),
                value => format!("{value:.5}"),
            });
            written.collect::<Vec<_>>().join(", ")
        };
        write!(f, "{} (drift s {})", list(&self.eta), list(&self.drift))
    }
}
