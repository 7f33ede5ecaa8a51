//! `shortrun sample`.

use std::{fmt, path::PathBuf};

use burn::prelude::*;
use clap::Args;
use serde::Serialize;
use shortrun_data::ImageShape;
use shortrun_eval::{Grid, host};
use shortrun_train::Method;

use super::{Failure, options::at_least_one, reporting::Reporting, run::RunOption};
use crate::backend::OnBackend;

/// Images generated at once.
const AT_ONCE: usize = 50;

/// Arguments of `shortrun sample`.
#[derive(Debug, Args)]
pub(super) struct SampleArgs {
    #[command(flatten)]
    pub(super) run: RunOption,
    /// How many images.
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = at_least_one)]
    count: usize,
    /// Seed of the latents, if not the run's own.
    #[arg(long)]
    seed: Option<u64>,
    /// Picture to write [default: RUN/sample.png].
    #[arg(long, value_name = "FILE.png")]
    out: Option<PathBuf>,
    #[command(flatten)]
    pub(super) reporting: Reporting,
}

#[derive(Serialize)]
pub(super) struct Report {
    images: usize,
    seed: u64,
    checkpoint: u64,
    out: PathBuf,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} samples: {}", self.images, self.out.display())
    }
}

impl OnBackend for SampleArgs {
    type Output = Result<Report, Failure>;

    fn run<B: Backend>(self, device: B::Device) -> Self::Output {
        let run = self.run.load()?;
        let out = run.picture(self.out, "sample.png")?;
        let config = &run.config.generator;
        let seed = self.seed.unwrap_or(run.config.training.seed);
        let method = run.method_seeded::<B>(seed, &device)?;
        let images = method
            .samples(self.count, AT_ONCE)?
            .flat_map(host)
            .collect();
        let shape = ImageShape::square(config.image_channels, config.image_size);
        Grid::new(shape, 8, images).write_png(&out)?;
        Ok(Report {
            images: self.count,
            seed,
            checkpoint: run.checkpoint.state.iteration,
            out,
        })
    }
}
