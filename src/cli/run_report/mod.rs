//! `shortrun report`: all there is to see of a run, as one HTML page.

mod looks;
mod origin;
mod pages;
mod watch;

use std::{fmt, path::PathBuf};

use burn::prelude::*;
use clap::Args;
use serde::Serialize;
use shortrun_stepsize_vi::ObjectiveName;

use super::{
    Failure,
    options::{check_output, one_of},
    reporting::Reporting,
    run::Subject,
};
use crate::backend::OnBackend;
use pages::Pages;

/// Arguments of `shortrun report`.
#[derive(Clone, Debug, Args)]
pub(super) struct ReportArgs {
    #[command(flatten)]
    subject: Subject,
    /// Page to write [default: RUN/report.html].
    #[arg(long, value_name = "FILE.html")]
    out: Option<PathBuf>,
    /// Write the page again whenever training has got further, until it ends or you interrupt; a
    /// browser that shows the page loads it again by itself.
    #[arg(long)]
    watch: bool,
    /// With --watch: seconds between looks at the run folder, a day (86400) at most.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(1..=86_400),
        requires = "watch"
    )]
    every: u64,
    /// Objective of the step size whose curve is shown; exact takes from a second (preset quick) to
    /// minutes (released).
    #[arg(long, value_name = "NAME", default_value = "exact", value_parser = one_of(ObjectiveName::ALL, ObjectiveName::name))]
    objective: ObjectiveName,
    /// Leave out the curve of that objective.
    #[arg(long, conflicts_with = "objective")]
    no_objective: bool,
    #[command(flatten)]
    pub(super) reporting: Reporting,
}

/// What was written.
#[derive(Serialize)]
pub(super) struct Report {
    out: PathBuf,
    bytes: usize,
    /// Times it was written.
    written: usize,
    /// running, finished, stopped, diverged or cut off.
    status: &'static str,
    /// Iterations logged.
    iteration: u64,
    /// The iteration of the weights that were looked at; null if there is no checkpoint.
    checkpoint: Option<u64>,
    sections: Vec<&'static str>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({} kB): run {} at iteration {}, ",
            self.out.display(),
            self.bytes / 1000,
            self.status,
            self.iteration
        )?;
        match self.checkpoint {
            Some(iteration) => write!(f, "checkpoint {iteration}"),
            None => write!(f, "no checkpoint yet"),
        }
    }
}

impl OnBackend for ReportArgs {
    type Output = Result<Report, Failure>;

    fn run<B: Backend>(self, device: B::Device) -> Self::Output {
        let folder = self.subject.run.folder()?;
        let out = self.out.clone();
        let out = out.unwrap_or_else(|| folder.path().join("report.html"));
        check_output(&out, "html")?;
        let watch = self.watch.then_some(self.every);
        let mut pages = Pages::<B>::new(self, folder, out, device)?;
        match watch {
            Some(every) => watch::watch(&mut pages, every),
            None => pages.write(None),
        }
    }
}
