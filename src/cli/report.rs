//! Doing a command's work on a backend, and saying what came of it.

use std::fmt::Display;

use clap::Args;
use serde::Serialize;

use super::{Exit, Failure, options::BackendOption};
use crate::backend::OnBackend;

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
        let report = self.backend.name()?.run(work)??;
        if self.json {
            out!("{}", to_json(&report)?);
        } else {
            out!("{report}");
        }
        Ok(Exit::Done)
    }
}

/// One JSON object, indented.
pub(super) fn to_json(report: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(report).map_err(|e| Failure::Other(e.to_string()))
}
