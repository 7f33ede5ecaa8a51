//! `shortrun trace`.

use std::{fmt, path::PathBuf};

use burn::{backend::Autodiff, prelude::*};
use clap::Args;
use serde::Serialize;
use shortrun_eval::trace;
use shortrun_model::MultiLayerGenerator;
use shortrun_stepsize_vi::MemoryBudget;

use super::{
    Failure,
    options::{DEFAULT_COUNT, at_least_one, check_output},
    reporting::Reporting,
    run::{Loaded, Subject},
};
use crate::backend::OnBackend;

/// Arguments of `shortrun trace`.
#[derive(Debug, Args)]
pub(super) struct TraceArgs {
    #[command(flatten)]
    subject: Subject,
    /// Also write the exact objective of the step size along these chains: logdet [K, N]
    /// (log|det(I - s_k H(e_k))|) and objective [N], in nats.
    #[arg(long)]
    objective: bool,
    /// Memory for Hessians, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = at_least_one)]
    memory: usize,
    /// File to write: x, z0, noise [K, N, d], z [K+1, N, d], energy [K+1, N], gradient0, step_sizes
    /// [K] (drift s) and sigma.
    #[arg(long, value_name = "FILE.safetensors")]
    out: PathBuf,
    #[command(flatten)]
    pub(super) reporting: Reporting,
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

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "data: {}", self.data)?;
        write!(
            f,
            "chains of {} steps on {} images, sigma {:.4}, checkpoint {}: {}",
            self.steps,
            self.images,
            self.sigma,
            self.checkpoint,
            self.out.display()
        )
    }
}

impl OnBackend for TraceArgs {
    type Output = Result<Report, Failure>;

    fn run<B: Backend>(self, device: B::Device) -> Self::Output {
        check_output(&self.out, "safetensors")?;
        let run = self.subject.run.load()?;
        let Loaded {
            generator,
            chosen,
            inference,
        } = self.subject.load::<B>(&run, DEFAULT_COUNT, &device)?;
        let count = chosen.images.len();
        trace::<B, MultiLayerGenerator<Autodiff<B>>>(
            &generator,
            &chosen.images,
            count,
            &inference,
            self.objective.then(|| MemoryBudget::mib(self.memory)),
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
