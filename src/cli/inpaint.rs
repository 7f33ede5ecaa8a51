//! `shortrun inpaint`.

use std::{fmt, path::PathBuf, time::Instant};

use burn::{backend::Autodiff, prelude::*};
use clap::Args;
use serde::Serialize;
use shortrun_eval::{Grid, Mask, inpaint};
use shortrun_model::MultiLayerGenerator;

use super::{
    Failure,
    options::{DEFAULT_COUNT, MOST_OF_EACH, counted},
    reporting::{Reporting, StepSizeReport},
    run::{Loaded, Subject},
};
use crate::backend::OnBackend;

/// Images in the picture at most: a person looks at no more.
const SHOWN: usize = 64;

/// Arguments of `shortrun inpaint`.
#[derive(Debug, Args)]
pub(super) struct InpaintArgs {
    #[command(flatten)]
    pub(super) subject: Subject,
    /// What to hide: center:SIDE, left, right, top, bottom, random:RATE, blocks:COUNTxSIDE, or a
    /// .png of the images' size (dark pixels are hidden).
    #[arg(long, value_name = "MASK")]
    mask: Mask,
    /// Chains for each image; with two or more, rows with their mean and standard deviation follow
    /// in the picture.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = counted(1..=MOST_OF_EACH))]
    samples: usize,
    /// Picture to write: originals, the same occluded, and inpainted, of the first 64 images at most
    /// [default: RUN/inpaint.png].
    #[arg(long, value_name = "FILE.png")]
    out: Option<PathBuf>,
    #[command(flatten)]
    pub(super) reporting: Reporting,
}

#[derive(Serialize)]
pub(super) struct Report {
    mask: String,
    /// Per value in [-1, 1]; null if a chain left all bounds.
    hidden_mse: Option<f64>,
    visible_mse: Option<f64>,
    /// Of the mean over an image's chains.
    mean_hidden_mse: Option<f64>,
    images: usize,
    samples: usize,
    steps: usize,
    step_size: StepSizeReport,
    sigma: f64,
    checkpoint: u64,
    data: String,
    out: PathBuf,
    seconds: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |mse: Option<f64>| mse.unwrap_or(f64::NAN);
        writeln!(f, "data: {}", self.data)?;
        writeln!(
            f,
            "{} on {} images: MSE {:.5} on hidden and {:.5} on visible pixels, per value in [-1, 1]",
            self.mask,
            self.images,
            shown(self.hidden_mse),
            shown(self.visible_mse)
        )?;
        if self.samples > 1 {
            let mse = shown(self.mean_hidden_mse);
            writeln!(
                f,
                "mean of {} chains: MSE {mse:.5} on hidden pixels",
                self.samples
            )?;
        }
        writeln!(
            f,
            "K = {}, eta {}, sigma {:.4}, checkpoint {}, {:.1} s",
            self.steps, self.step_size, self.sigma, self.checkpoint, self.seconds
        )?;
        let more = if self.samples > 1 {
            ", mean, deviation"
        } else {
            ""
        };
        write!(
            f,
            "originals, occluded, inpainted{more}: {}",
            self.out.display()
        )
    }
}

impl OnBackend for InpaintArgs {
    type Output = Result<Report, Failure>;

    fn run<B: Backend>(self, device: B::Device) -> Self::Output {
        let run = self.subject.run.load()?;
        let out = run.picture(self.out, "inpaint.png")?;
        let Loaded {
            generator,
            chosen,
            inference,
        } = self.subject.load::<B>(&run, DEFAULT_COUNT, &device)?;
        let begun = Instant::now();
        let count = chosen.images.len();
        let found = inpaint::<B, MultiLayerGenerator<Autodiff<B>>>(
            &generator,
            &chosen.images,
            count,
            &self.mask,
            self.samples,
            &inference,
            &device,
        )?;
        let seconds = begun.elapsed().as_secs_f64();
        let shape = chosen.images.shape();
        let shown = count.min(SHOWN) * shape.values();
        let rows = found.rows();
        // One chain has no mean and no deviation.
        let kinds = if self.samples > 1 { 5 } else { 3 };
        let rows: Vec<&[f32]> = rows[..kinds].iter().map(|row| &row[..shown]).collect();
        Grid::stacks(shape, 8, &rows).write_png(&out)?;
        let finite = |mse: f64| mse.is_finite().then_some(mse);
        Ok(Report {
            mask: self.mask.to_string(),
            hidden_mse: finite(found.hidden_mse),
            visible_mse: finite(found.visible_mse),
            mean_hidden_mse: finite(found.mean_hidden_mse),
            images: count,
            samples: self.samples,
            steps: inference.chain.steps(),
            step_size: inference.chain.step_sizes().into(),
            sigma: inference.sigma,
            checkpoint: run.checkpoint.state.iteration,
            data: chosen.provenance,
            out,
            seconds,
        })
    }
}
