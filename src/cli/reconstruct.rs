//! `shortrun reconstruct`.

use std::{fmt, path::PathBuf, time::Instant};

use burn::prelude::*;
use clap::Args;
use serde::Serialize;
use shortrun_eval::{Grid, Inference, bits_per_dimension_of_bytes, mean_image_mse};
use shortrun_train::{DensityKind, Method};

use super::{
    Failure,
    options::{DEFAULT_COUNT, warn_of_divergence},
    reporting::{Reporting, StepSizeReport},
    run::{InferredBy, OF_AN_INVERSE, Subject},
};
use crate::backend::OnBackend;

/// Images in the picture at most: a person looks at no more.
const SHOWN: usize = 256;

/// Arguments of `shortrun reconstruct`.
#[derive(Debug, Args)]
pub(super) struct ReconstructArgs {
    #[command(flatten)]
    pub(super) subject: Subject,
    /// Picture to write: originals above reconstructions, of the first 256 images at most [default:
    /// RUN/reconstruct.png].
    #[arg(long, value_name = "FILE.png")]
    out: Option<PathBuf>,
    #[command(flatten)]
    pub(super) reporting: Reporting,
}

#[derive(Serialize)]
pub(super) struct Report {
    /// Per value in [-1, 1].
    mse: Option<f64>,
    mean_image_mse: f64,
    images: usize,
    /// What inferred them: chain, or the run's method.
    inferred_by: &'static str,
    /// Whether the method gives images back as they are, whatever it has learned.
    exact: bool,
    #[serde(flatten)]
    chain: Option<Chain>,
    /// The mean in nats of what the method itself says of the images, where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    log_density: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_density_is: Option<DensityKind>,
    /// Of a method whose density is exact, that of images of bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    bits_per_dimension: Option<f64>,
    sigma: f64,
    diverged: f64,
    checkpoint: u64,
    data: String,
    out: PathBuf,
    seconds: f64,
}

#[derive(Serialize)]
struct Chain {
    steps: usize,
    step_size: StepSizeReport,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "data: {}", self.data)?;
        writeln!(
            f,
            "MSE {:.5} per value in [-1, 1] on {} images (mean image: {:.5})",
            self.mse.unwrap_or(f64::NAN),
            self.images,
            self.mean_image_mse
        )?;
        if self.exact {
            writeln!(f, "{} {OF_AN_INVERSE}", self.inferred_by)?;
        }
        if let (Some(nats), Some(kind)) = (self.log_density, self.log_density_is) {
            let is = match kind {
                DensityKind::Exact => "=",
                DensityKind::LowerBound => ">=",
            };
            let bits = self.bits_per_dimension;
            let bits = bits.map_or_else(String::new, |b| format!(", {b:.4} bits per dimension"));
            writeln!(
                f,
                "log p(x) {is} {nats:.1} nats an image{bits}, by {}",
                self.inferred_by
            )?;
        }
        match &self.chain {
            Some(Chain { steps, step_size }) => write!(f, "K = {steps}, eta {step_size}")?,
            None => write!(f, "inferred by {}", self.inferred_by)?,
        }
        writeln!(
            f,
            ", sigma {:.4}, checkpoint {}, {:.1} s",
            self.sigma, self.checkpoint, self.seconds
        )?;
        write!(f, "originals above reconstructions: {}", self.out.display())
    }
}

impl OnBackend for ReconstructArgs {
    type Output = Result<Report, Failure>;

    fn run<B: Backend>(self, device: B::Device) -> Self::Output {
        let Subject { run, data, chain } = self.subject;
        let run = run.load()?;
        let out = run.picture(self.out, "reconstruct.png")?;
        let chosen = data.load(&run, DEFAULT_COUNT)?;
        let begun = Instant::now();
        let count = chosen.images.len();
        let (found, by) = run.reconstruct::<B>(&chain, &chosen.images, count, &device)?;
        let seconds = begun.elapsed().as_secs_f64();
        let shape = chosen.images.shape();
        let shown = count.min(SHOWN) * shape.values();
        Grid::pairs(
            shape,
            8,
            &found.originals[..shown],
            &found.generated[..shown],
        )
        .write_png(&out)?;
        warn_of_divergence(found.divergence.as_ref());
        let mse = found.mse();
        let mut report = Report {
            mse: mse.is_finite().then_some(mse),
            mean_image_mse: mean_image_mse(&chosen.mean_image()?, &chosen.images, count),
            images: count,
            inferred_by: "chain",
            exact: false,
            chain: None,
            log_density: None,
            log_density_is: None,
            bits_per_dimension: None,
            sigma: run.sigma(),
            diverged: found.divergence.map_or(0.0, |found| found.share),
            checkpoint: run.checkpoint.state.iteration,
            data: chosen.provenance,
            out,
            seconds,
        };
        match by {
            InferredBy::Chain(Inference { chain, .. }) => {
                report.chain = Some(Chain {
                    steps: chain.steps(),
                    step_size: chain.step_sizes().into(),
                });
            }
            InferredBy::Method(name, method) => {
                report.inferred_by = name.name();
                let state = &run.checkpoint.state;
                report.exact = method.is_exact();
                if let Some(density) = method.log_density(state, &chosen.images, count)? {
                    report.log_density = Some(density.mean()).filter(|mean| mean.is_finite());
                    report.log_density_is = Some(density.kind);
                    report.bits_per_dimension = report
                        .log_density
                        .filter(|_| density.kind == DensityKind::Exact)
                        .map(|nats| bits_per_dimension_of_bytes(nats, shape.values()));
                }
            }
        }
        Ok(report)
    }
}
