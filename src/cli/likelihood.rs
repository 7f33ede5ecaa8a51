//! `shortrun likelihood`.

use std::{fmt, time::Instant};

use burn::{backend::Autodiff, prelude::*};
use clap::Args;
use serde::Serialize;
use shortrun_eval::{
    Annealing, Bounds, Estimate, Likelihood, LogDensity, Schedule, bits_per_dimension,
    bits_per_dimension_of_bytes,
};
use shortrun_model::{MultiLayerGenerator, Parameterisation};

use super::{
    Failure,
    options::{DataOptions, MOST, MOST_OF_EACH, at_least_one, counted},
    reporting::Reporting,
    run::RunOption,
};
use crate::backend::OnBackend;

/// Images looked at unless `--count` says otherwise.
const DEFAULT_COUNT: usize = 8;

/// Arguments of `shortrun likelihood`.
#[derive(Debug, Args)]
#[command(after_help = CONVENTION)]
pub(super) struct LikelihoodArgs {
    #[command(flatten)]
    pub(super) run: RunOption,
    #[command(flatten)]
    data: DataOptions,
    /// Chains of annealed importance sampling for each image.
    #[arg(long, value_name = "N", default_value_t = Annealing::default().chains, value_parser = counted(1..=MOST_OF_EACH))]
    chains: usize,
    /// Temperatures from the prior to the posterior.
    #[arg(long, value_name = "T", default_value_t = Annealing::default().temperatures, value_parser = at_least_one)]
    temperatures: usize,
    /// How inverse temperatures are spaced: linear, sigmoid (dense at both ends) or geometric (dense
    /// near the prior).
    #[arg(long, default_value_t = Annealing::default().schedule)]
    schedule: Schedule,
    /// Leapfrog steps between two temperatures: 1 is Metropolis-corrected Langevin dynamics, more is
    /// Hamiltonian Monte Carlo.
    #[arg(long, value_name = "N", default_value_t = Annealing::default().leapfrogs, value_parser = at_least_one)]
    leapfrogs: usize,
    /// Images drawn from the model, whose log p(x) is bounded from both sides; 0 for none.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_COUNT, value_parser = counted(0..=MOST))]
    simulated: usize,
    /// Add uniform noise of one byte's width to each value of the images first.
    #[arg(long)]
    dequantise: bool,
    /// Seed of the chains, if not the run's own.
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    pub(super) reporting: Reporting,
}

const CONVENTION: &str = "\
log p(x) is the density of an image's values scaled to [-1, 1], in nats. Bits per dimension are \
-log2 p(x) / D, and log2 127.5 = 6.994 more on the scale 0 to 255. They bound the bits of the bytes \
themselves, from above, only with --dequantise.";

/// Of the images looked at.
#[derive(Serialize)]
struct Measured {
    /// Mean of log p(x) in nats, scaled values: in expectation not above the truth.
    log_density: f64,
    /// Standard error of that mean over images; null of one image.
    standard_error: Option<f64>,
    /// The part of it that the estimates' own errors make.
    estimation_error: f64,
    bits_per_dimension: f64,
    bits_per_dimension_of_bytes: f64,
    /// Mean effective number of chains.
    effective_chains: f64,
    acceptance: f64,
    images: Vec<LogDensity>,
}

/// Of images that the model made.
#[derive(Serialize)]
struct Bounded {
    /// Means in nats.
    lower: f64,
    upper: f64,
    gap: f64,
    /// Standard error of the gap over images; null of one image.
    gap_error: Option<f64>,
    images: Vec<Bounds>,
}

#[derive(Serialize)]
pub(super) struct Report {
    measured: Measured,
    simulated: Option<Bounded>,
    temperatures: usize,
    schedule: Schedule,
    leapfrogs: usize,
    chains: usize,
    dequantised: bool,
    /// D.
    values: usize,
    sigma: f64,
    checkpoint: u64,
    data: String,
    seconds: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Measured {
            log_density,
            standard_error,
            estimation_error,
            bits_per_dimension,
            bits_per_dimension_of_bytes,
            effective_chains,
            acceptance,
            images,
        } = &self.measured;
        writeln!(f, "data: {}", self.data)?;
        // One image has no spread.
        let error = |error: Option<f64>, of: &str| {
            error.map_or(String::new(), |error| format!(" ± {error:.2}{of}"))
        };
        writeln!(
            f,
            "log p(x) of {} images: {log_density:.2} nats{} (± {estimation_error:.2} by the chains)",
            images.len(),
            error(*standard_error, " over images")
        )?;
        let quantised = if self.dequantised {
            ""
        } else {
            ", not dequantised"
        };
        writeln!(
            f,
            "bits per dimension: {bits_per_dimension:.4} of values in [-1, 1], \
             {bits_per_dimension_of_bytes:.4} of values in 0 to 255{quantised}"
        )?;
        if let Some(Bounded {
            lower,
            upper,
            gap,
            gap_error,
            images,
        }) = &self.simulated
        {
            writeln!(
                f,
                "{} images of the model: between {lower:.2} and {upper:.2} nats; gap {gap:.2}{}",
                images.len(),
                error(*gap_error, "")
            )?;
        }
        write!(
            f,
            "T = {} ({}), {} leapfrogs, {} chains ({effective_chains:.1} effective), acceptance \
             {acceptance:.2}, sigma {:.4}, checkpoint {}, {:.1} s",
            self.temperatures,
            self.schedule,
            self.leapfrogs,
            self.chains,
            self.sigma,
            self.checkpoint,
            self.seconds
        )
    }
}

impl OnBackend for LikelihoodArgs {
    type Output = Result<Report, Failure>;

    fn run<B: Backend>(self, device: B::Device) -> Self::Output {
        type Generator<B> = MultiLayerGenerator<Autodiff<B>>;
        let run = self.run.load()?;
        let chosen = self.data.load(&run, DEFAULT_COUNT)?;
        let generator: Generator<B> = run.generator(&device)?;
        // The same model, whose latents are standard normal.
        let generator = generator.with_parameterisation(Parameterisation::NonCentred);
        let likelihood = Likelihood {
            annealing: Annealing {
                temperatures: self.temperatures,
                schedule: self.schedule,
                leapfrogs: self.leapfrogs,
                chains: self.chains,
            },
            sigma: run.sigma(),
            latents: run.config.generator.latents.dim(),
            seed: self.seed.unwrap_or(run.config.training.seed),
        };
        let begun = Instant::now();
        let (images, count) = (&chosen.images, chosen.images.len());
        let found = likelihood.of_images::<B, Generator<B>>(
            &generator,
            images,
            count,
            self.dequantise,
            &device,
        )?;
        let simulated = match self.simulated {
            0 => None,
            count => Some(likelihood.bounds::<B, Generator<B>>(&generator, count, &device)?),
        };
        let values = images.shape().values();
        Ok(Report {
            measured: Measured::new(found, values),
            simulated: simulated.map(Bounded::new),
            temperatures: self.temperatures,
            schedule: self.schedule,
            leapfrogs: self.leapfrogs,
            chains: self.chains,
            dequantised: self.dequantise,
            values,
            sigma: likelihood.sigma,
            checkpoint: run.checkpoint.state.iteration,
            data: chosen.provenance,
            seconds: begun.elapsed().as_secs_f64(),
        })
    }
}

impl Measured {
    fn new(images: Vec<LogDensity>, values: usize) -> Self {
        let over_images =
            |of: fn(&LogDensity) -> f64| Estimate::of(&images.iter().map(of).collect::<Vec<_>>());
        let density = over_images(|image| image.value);
        let variance = over_images(|image| image.standard_error.powi(2)).mean;
        Self {
            log_density: density.mean,
            standard_error: density.standard_error,
            estimation_error: (variance / images.len() as f64).sqrt(),
            bits_per_dimension: bits_per_dimension(density.mean, values),
            bits_per_dimension_of_bytes: bits_per_dimension_of_bytes(density.mean, values),
            effective_chains: over_images(|image| image.effective_chains).mean,
            acceptance: over_images(|image| image.acceptance).mean,
            images,
        }
    }
}

impl Bounded {
    fn new(images: Vec<Bounds>) -> Self {
        let over_images =
            |of: fn(&Bounds) -> f64| Estimate::of(&images.iter().map(of).collect::<Vec<_>>());
        let gap = over_images(Bounds::gap);
        Self {
            lower: over_images(|image| image.lower.value).mean,
            upper: over_images(|image| image.upper.value).mean,
            gap: gap.mean,
            gap_error: gap.standard_error,
            images,
        }
    }
}
