//! `shortrun trace`.

use std::path::PathBuf;

use burn::{backend::Autodiff, prelude::*};
use clap::Args;
use serde::Serialize;
use shortrun_eval::trace;
use shortrun_model::MultiLayerGenerator;

use super::{
    Exit, Failure,
    options::{BackendOption, ChainOptions, DataOptions, check_output},
    run::RunOption,
};
use crate::backend::OnBackend;

/// Arguments of `shortrun trace`.
#[derive(Debug, Args)]
pub(super) struct TraceArgs {
    #[command(flatten)]
    run: RunOption,
    #[command(flatten)]
    data: DataOptions,
    #[command(flatten)]
    chain: ChainOptions,
    #[command(flatten)]
    backend: BackendOption,
    /// File to write: x, z0, noise [K, N, d], z [K+1, N, d], energy [K+1, N], gradient0, step_sizes
    /// [K] (drift s) and sigma.
    #[arg(long, value_name = "FILE.safetensors")]
    out: PathBuf,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
pub(super) struct Report {
    images: usize,
    steps: usize,
    sigma: f64,
    checkpoint: u64,
    data: String,
    out: PathBuf,
}

pub(super) fn main(args: TraceArgs) -> Result<Exit, Failure> {
    let backend = args.backend.name()?;
    let json = args.json;
    let report = backend.run(args)??;
    if json {
        out!("{}", super::info::to_json(&report)?);
    } else {
        out!("data: {}", report.data);
        out!(
            "chains of {} steps on {} images, sigma {:.4}, checkpoint {}: {}",
            report.steps,
            report.images,
            report.sigma,
            report.checkpoint,
            report.out.display()
        );
    }
    Ok(Exit::Done)
}

impl OnBackend for TraceArgs {
    type Output = Result<Report, Failure>;

    fn run<B: Backend>(self, device: B::Device) -> Self::Output {
        check_output(&self.out, "safetensors")?;
        let run = self.run.load()?;
        let chosen = self.data.load(&run)?;
        let inference = run.inference(&self.chain)?;
        let generator = run.generator::<Autodiff<B>>(&device)?;
        let count = chosen.images.len();
        trace::<B, MultiLayerGenerator<Autodiff<B>>>(
            &generator,
            &chosen.images,
            count,
            &inference,
            &device,
        )?
        .write(&self.out)?;
        Ok(Report {
            images: count,
            steps: inference.chain.steps(),
            sigma: inference.sigma,
            checkpoint: run.checkpoint.state.iteration,
            data: chosen.provenance,
            out: self.out,
        })
    }
}
