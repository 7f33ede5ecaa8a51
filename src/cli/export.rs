//! `shortrun export`.

use std::{fmt, path::PathBuf};

use burn::prelude::*;
use clap::Args;
use serde::Serialize;

use super::{Failure, options::check_output, reporting::Reporting, run::RunOption};
use crate::backend::OnBackend;

/// Arguments of `shortrun export`.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    run: RunOption,
    /// File to write.
    #[arg(long, value_name = "FILE.safetensors")]
    out: PathBuf,
    #[command(flatten)]
    pub(super) reporting: Reporting,
}

#[derive(Serialize)]
pub(super) struct Report {
    parameters: usize,
    checkpoint: u64,
    out: PathBuf,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} parameters of checkpoint {}: {}",
            self.parameters,
            self.checkpoint,
            self.out.display()
        )
    }
}

impl OnBackend for ExportArgs {
    type Output = Result<Report, Failure>;

    fn run<B: Backend>(self, device: B::Device) -> Self::Output {
        check_output(&self.out, "safetensors")?;
        let run = self.run.load()?;
        let generator = run.generator::<B>(&device)?;
        shortrun_model::save(&generator, &self.out)?;
        Ok(Report {
            parameters: generator.num_params(),
            checkpoint: run.checkpoint.state.iteration,
            out: self.out,
        })
    }
}
