//! `shortrun calibrate`.

use std::{fmt, path::PathBuf, time::Instant};

use burn::{backend::Autodiff, prelude::*};
use clap::Args;
use serde::Serialize;
use shortrun_eval::{LayerCalibration, RankTest, calibrate};
use shortrun_model::MultiLayerGenerator;

use super::{
    Failure,
    options::{ChainOptions, MOST_OF_EACH, at_least_one, counted},
    reporting::{Reporting, StepSizeReport},
    run::RunOption,
};
use crate::backend::OnBackend;

/// Arguments of `shortrun calibrate`.
#[derive(Debug, Args)]
pub(super) struct CalibrateArgs {
    #[command(flatten)]
    pub(super) run: RunOption,
    #[command(flatten)]
    chain: ChainOptions,
    /// Images to draw from the model.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = at_least_one)]
    images: usize,
    /// Chains for each image; the latents that made the image are ranked among their ends.
    #[arg(long, value_name = "M", default_value_t = 19, value_parser = counted(1..=MOST_OF_EACH))]
    chains: usize,
    /// The chain passes unless its ranks are less probable than this under exact inference.
    #[arg(long, value_name = "P", default_value_t = 0.01, value_parser = probability)]
    level: f64,
    /// Histograms of the ranks to write [default: RUN/calibration.svg].
    #[arg(long, value_name = "FILE.svg")]
    out: Option<PathBuf>,
    #[command(flatten)]
    pub(super) reporting: Reporting,
}

fn probability(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(level) if (0.0..=1.0).contains(&level) => Ok(level),
        Ok(_) => Err("must be between 0 and 1".to_owned()),
        Err(error) => Err(format!("{error}")),
    }
}

#[derive(Serialize)]
pub(super) struct Report {
    /// Whether exact inference could have made these ranks, at the level asked for.
    passes: bool,
    p_value: f64,
    level: f64,
    /// Top first.
    layers: Vec<LayerCalibration>,
    energy: RankTest,
    images: usize,
    chains: usize,
    /// Chains whose end is not finite.
    diverged: usize,
    steps: usize,
    step_size: StepSizeReport,
    sigma: f64,
    checkpoint: u64,
    out: PathBuf,
    seconds: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} images of the model, {} chains each; K = {}, eta {}, sigma {:.4}, checkpoint {}",
            self.images, self.chains, self.steps, self.step_size, self.sigma, self.checkpoint
        )?;
        writeln!(
            f,
            "{:>6} {:>6} {:>8} {:>10} {:>14} {:>10} {:>10}",
            "layer", "size", "spread", "its p", "coordinates p", "pull p", "all p"
        )?;
        for (number, layer) in self.layers.iter().enumerate() {
            writeln!(
                f,
                "{:>6} {:>6} {:>8.3} {:>10.2e} {:>14.2e} {:>10.2e} {:>10.2e}",
                number + 1,
                layer.size,
                layer.spread.ratio,
                layer.spread.p_value,
                layer.coordinates_p_value,
                layer.pull.p_value,
                layer.p_value
            )?;
        }
        writeln!(f, "energy: p {:.2e}", self.energy.p_value)?;
        if self.diverged > 0 {
            writeln!(f, "chains that exploded: {}", self.diverged)?;
        }
        let verdict = if self.passes {
            "no sign that the chain's ends are not samples of the posterior"
        } else {
            "the chain's ends are not samples of the posterior"
        };
        writeln!(f, "{verdict}: p {:.2e}, level {}", self.p_value, self.level)?;
        write!(
            f,
            "histograms: {} ({:.1} s)",
            self.out.display(),
            self.seconds
        )
    }
}

impl OnBackend for CalibrateArgs {
    type Output = Result<Report, Failure>;

    fn run<B: Backend>(self, device: B::Device) -> Self::Output {
        let run = self.run.load()?;
        let out = run.picture(self.out, "calibration.svg")?;
        let inference = run.inference(&self.chain)?;
        let generator = run.generator::<Autodiff<B>>(&device)?;
        let begun = Instant::now();
        let found = calibrate::<B, MultiLayerGenerator<Autodiff<B>>>(
            &generator,
            &inference,
            self.images,
            self.chains,
            &device,
        )?;
        let seconds = begun.elapsed().as_secs_f64();
        found.plot().write_svg(&out)?;
        Ok(Report {
            passes: found.p_value >= self.level,
            p_value: found.p_value,
            level: self.level,
            layers: found.layers,
            energy: found.energy,
            images: found.images,
            chains: found.chains,
            diverged: found.diverged,
            steps: inference.chain.steps(),
            step_size: inference.chain.step_sizes().into(),
            sigma: inference.sigma,
            checkpoint: run.checkpoint.state.iteration,
            out,
            seconds,
        })
    }
}
