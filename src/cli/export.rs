//! `shortrun export`.

use std::path::PathBuf;

use burn::prelude::*;
use clap::Args;
use serde::Serialize;

use super::{
    Exit, Failure,
    options::{BackendOption, check_output},
    run::RunOption,
};
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
    backend: BackendOption,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
pub(super) struct Report {
    parameters: usize,
    checkpoint: u64,
    out: PathBuf,
}

pub(super) fn main(args: ExportArgs) -> Result<Exit, Failure> {
    let backend = args.backend.name()?;
    let json = args.json;
    let report = backend.run(args)??;
    if json {
        out!("{}", super::info::to_json(&report)?);
    } else {
        out!(
            "{} parameters of checkpoint {}: {}",
            report.parameters,
            report.checkpoint,
            report.out.display()
        );
    }
    Ok(Exit::Done)
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
