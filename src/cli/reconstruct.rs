//! `shortrun reconstruct`.

use std::{fmt, path::PathBuf, time::Instant};

use burn::{backend::Autodiff, prelude::*};
use clap::Args;
use serde::Serialize;
use shortrun_eval::{Grid, mean_image_mse, reconstruct};
use shortrun_model::MultiLayerGenerator;

use super::{
    Failure,
    options::{DEFAULT_COUNT, warn_of_divergence},
    reporting::{Reporting, StepSizeReport},
    run::{Loaded, Subject},
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
    steps: usize,
    step_size: StepSizeReport,
    sigma: f64,
    diverged: f64,
    checkpoint: u64,
    data: String,
    out: PathBuf,
    seconds: f64,
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
        writeln!(
            f,
            "K = {}, eta {}, sigma {:.4}, checkpoint {}, {:.1} s",
            self.steps, self.step_size, self.sigma, self.checkpoint, self.seconds
        )?;
        write!(f, "originals above reconstructions: {}", self.out.display())
    }
}

impl OnBackend for ReconstructArgs {
    type Output = Result<Report, Failure>;

    fn run<B: Backend>(self, device: B::Device) -> Self::Output {
        let run = self.subject.run.load()?;
        let out = run.picture(self.out, "reconstruct.png")?;
        let Loaded {
            generator,
            chosen,
            inference,
        } = self.subject.load::<B>(&run, DEFAULT_COUNT, &device)?;
        let begun = Instant::now();
        let count = chosen.images.len();
        let found = reconstruct::<B, MultiLayerGenerator<Autodiff<B>>>(
            &generator,
            &chosen.images,
            count,
            &inference,
            &device,
        )?;
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
        let steps = inference.chain.steps();
        Ok(Report {
            mse: mse.is_finite().then_some(mse),
            mean_image_mse: mean_image_mse(&chosen.mean_image()?, &chosen.images, count),
            images: count,
            steps,
            step_size: inference.chain.step_sizes().into(),
            sigma: inference.sigma,
            diverged: found.divergence.map_or(0.0, |found| found.share),
            checkpoint: run.checkpoint.state.iteration,
            data: chosen.provenance,
            out,
            seconds,
        })
    }
}
