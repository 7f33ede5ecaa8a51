//! `shortrun bench`.

use std::{fmt, time::Instant};

use burn::{backend::Autodiff, prelude::*};
use clap::Args;
use serde::Serialize;
use shortrun_langevin::{Noise, NoiseKey, Purpose, ShortRun, StepSize, StepSizes};
use shortrun_model::{Generator, GeneratorConfig, MultiLayerGenerator, Observation, Preset};
use shortrun_stepsize_vi::{MemoryBudget, Model, Objective, Problem};
use shortrun_train::{LangevinConfig, Method, ShortRunMethod, State, TrainConfig};

use super::{
    Failure,
    options::{MOST_AT_ONCE, at_least_one, counted},
    reporting::Reporting,
};
use crate::backend::OnBackend;

const SIGMA: f64 = 0.15;
const ETA: f64 = 0.05;

/// Arguments of `shortrun bench`.
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// The generator.
    #[arg(long, default_value_t = Preset::Released, value_name = "NAME")]
    preset: Preset,
    /// Height and width of the (random) images.
    #[arg(long, default_value_t = 32)]
    size: usize,
    /// Channels of the images.
    #[arg(long, default_value_t = 3)]
    channels: usize,
    /// Images in a batch; several, with commas.
    #[arg(long, default_values_t = [100], value_delimiter = ',', value_parser = counted(1..=MOST_AT_ONCE))]
    batch: Vec<usize>,
    /// Langevin steps, K; several, with commas.
    #[arg(long, default_values_t = [25], value_delimiter = ',', value_parser = at_least_one)]
    steps: Vec<usize>,
    /// Images of the exact step-size objective, with the first of the steps; 0 leaves it out.
    #[arg(long, default_value_t = 0, value_parser = counted(0..=MOST_AT_ONCE))]
    objective: usize,
    /// How often each is timed; the median counts.
    #[arg(long, default_value_t = 12, value_parser = at_least_one)]
    repeat: usize,
    #[command(flatten)]
    pub(super) reporting: Reporting,
}

#[derive(Serialize)]
pub(super) struct Report {
    backend: String,
    preset: String,
    latents: Vec<usize>,
    /// Seconds from the beginning to the end of the first iteration, kernels compiled.
    first_iteration: Option<f64>,
    learning: Vec<Learning>,
    objective: Option<Exact>,
}

/// Medians, in milliseconds.
#[derive(Serialize)]
struct Learning {
    batch: usize,
    steps: usize,
    /// A chain, weights packed and all.
    chain: f64,
    /// The gradient of the weights and Adam's update.
    learn: f64,
    /// An iteration of training with everything in it.
    iteration: f64,
}

/// Medians, in seconds; values in nats an image.
#[derive(Serialize)]
struct Exact {
    images: usize,
    steps: usize,
    evaluate: f64,
    with_gradient: f64,
    objective: f64,
    slope: f64,
    /// The eta of a grid, 0.01 to 0.1, with the least objective, and all of them.
    best_eta: f64,
    curve: Vec<(f64, f64)>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.preset, self.backend)?;
        if let Some(seconds) = self.first_iteration {
            write!(f, "; first iteration after {seconds:.1} s")?;
        }
        for row in &self.learning {
            write!(
                f,
                "\nbatch {:5}, K {:3}: chain {:8.2} ms, learning step {:7.2} ms, iteration {:8.2} ms",
                row.batch, row.steps, row.chain, row.learn, row.iteration
            )?;
        }
        if let Some(exact) = &self.objective {
            write!(
                f,
                "\nexact objective, {} images, K {}: {:.3} s, with its gradient {:.3} s; {:.4} nats, \
                 best eta {}",
                exact.images,
                exact.steps,
                exact.evaluate,
                exact.with_gradient,
                exact.objective,
                exact.best_eta
            )?;
        }
        Ok(())
    }
}

fn key(purpose: Purpose) -> NoiseKey {
    NoiseKey {
        seed: 5,
        iteration: 0,
        purpose,
    }
}

/// Waits for the device: the result is read.
fn wait<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> f32 {
    tensor
        .slice_dim(0, 0..1)
        .into_data()
        .convert::<f32>()
        .iter()
        .next()
        .unwrap_or(f32::NAN)
}

/// The median of the seconds that `work` takes, after two turns that do not count.
fn median(repeat: usize, mut work: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    let mut seconds = Vec::with_capacity(repeat);
    for turn in 0..repeat + 2 {
        let begun = Instant::now();
        work()?;
        if turn >= 2 {
            seconds.push(begun.elapsed().as_secs_f64());
        }
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[seconds.len() / 2])
}

type Net<B> = MultiLayerGenerator<Autodiff<B>>;

impl BenchArgs {
    fn images<B: Backend>(&self, batch: usize, device: &B::Device) -> Tensor<B, 4> {
        let shape = [batch, self.channels, self.size, self.size];
        key(Purpose::Samples)
            .normal::<B, 4>(shape, 0, device)
            .tanh()
    }

    fn observation<B: Backend>(
        &self,
        batch: usize,
        device: &B::Device,
    ) -> Result<Observation<B>, Failure> {
        Observation::new(self.images(batch, device), SIGMA)
            .map_err(|error| Failure::Other(error.to_string()))
    }

    fn method<B: Backend>(
        &self,
        config: &GeneratorConfig,
        [batch, steps]: [usize; 2],
        device: &B::Device,
    ) -> Result<ShortRunMethod<B, Net<B>>, Failure> {
        let training = TrainConfig {
            batch_size: batch,
            langevin: LangevinConfig {
                steps,
                step_size: StepSize::from_eta(ETA)?.into(),
                ..TrainConfig::default().langevin
            },
            ..TrainConfig::default()
        };
        let generator = config.init::<Autodiff<B>>(1, device);
        let layers = config.latents.clone();
        Ok(ShortRunMethod::new(
            generator, layers, &training, batch, device,
        ))
    }

    fn learning<B: Backend>(
        &self,
        config: &GeneratorConfig,
        [batch, steps]: [usize; 2],
        device: &B::Device,
    ) -> Result<Learning, Failure> {
        let observation = self.observation::<B>(batch, device)?;
        let mut method = self.method::<B>(config, [batch, steps], device)?;
        let d = config.latents.dim();
        let start = key(Purpose::Start).normal::<B, 2>([batch, d], 0, device);
        let chain = ShortRun::new(steps, StepSize::from_eta(ETA)?)?;
        let noise = || Noise::Keyed(key(Purpose::Langevin));
        let chain_time = median(self.repeat, || {
            let posterior = method.generator().posterior(observation.clone());
            wait(chain.run(&posterior, start.clone(), noise())?.latents);
            Ok(())
        })?;
        let latents = start.clone() * 0.5;
        let learn = median(self.repeat, || {
            method.update(latents.clone(), observation.clone(), 1e-5);
            wait(method.generator().output[0].weight.val());
            Ok(())
        })?;
        let places: Vec<usize> = (0..batch).collect();
        let pixels = observation.images().clone().into_data();
        let mut state = State::new("bench", batch);
        let whole = median(self.repeat, || {
            let images = Tensor::from_data(pixels.clone(), device);
            method.learn(&state, images, &places, false)?;
            wait(method.generator().output[0].weight.val());
            state.iteration += 1;
            Ok(())
        })?;
        Ok(Learning {
            batch,
            steps,
            chain: chain_time * 1e3,
            learn: learn * 1e3,
            iteration: whole * 1e3,
        })
    }

    fn exact<B: Backend>(
        &self,
        config: &GeneratorConfig,
        steps: usize,
        device: &B::Device,
    ) -> Result<Option<Exact>, Failure> {
        if self.objective == 0 {
            return Ok(None);
        }
        let generator = config.init::<Autodiff<B>>(1, device);
        let observation = self.observation::<B>(self.objective, device)?;
        let Some(curvature) = generator.curvature(observation) else {
            return Ok(None);
        };
        let model = Model::with_curvature(&curvature, MemoryBudget::mib(4096));
        let shape = [self.objective, config.latents.dim()];
        let problem = Problem::drawn(key(Purpose::StepSize), shape, steps, device)?;
        let sizes: StepSizes = StepSize::from_eta(ETA)?.into();
        let repeat = self.repeat.min(3);
        let mut objective = f64::NAN;
        let evaluate = median(repeat, || {
            objective = Objective::Exact.evaluate(&model, &problem, &sizes)?.mean();
            Ok(())
        })?;
        let mut slope = f64::NAN;
        let with_gradient = median(repeat, || {
            let found = Objective::Exact.slope(&model, &problem, &sizes)?;
            slope = found.by_log_drift(&sizes).iter().sum();
            Ok(())
        })?;
        let mut curve = Vec::new();
        for step in 1..=10 {
            let eta = 0.01 * f64::from(step);
            let sizes: StepSizes = StepSize::from_eta(eta)?.into();
            curve.push((
                eta,
                Objective::Exact.evaluate(&model, &problem, &sizes)?.mean(),
            ));
        }
        let best = curve.iter().min_by(|a, b| a.1.total_cmp(&b.1));
        Ok(Some(Exact {
            images: self.objective,
            steps,
            evaluate,
            with_gradient,
            objective,
            slope,
            best_eta: best.map_or(f64::NAN, |point| point.0),
            curve,
        }))
    }
}

impl OnBackend for BenchArgs {
    type Output = Result<Report, Failure>;

    fn run<B: Backend>(self, device: B::Device) -> Self::Output {
        let begun = Instant::now();
        let config = self.preset.config(self.size, self.channels)?;
        let mut first_iteration = None;
        let mut learning = Vec::new();
        for steps in &self.steps {
            for batch in &self.batch {
                if first_iteration.is_none() {
                    let mut method = self.method::<B>(&config, [*batch, *steps], &device)?;
                    let images = self.images(*batch, &device);
                    let places: Vec<usize> = (0..*batch).collect();
                    method.learn(&State::new("bench", *batch), images, &places, false)?;
                    wait(method.generator().output[0].weight.val());
                    first_iteration = Some(begun.elapsed().as_secs_f64());
                }
                learning.push(self.learning::<B>(&config, [*batch, *steps], &device)?);
            }
        }
        let steps = self.steps.first().copied().unwrap_or(1);
        Ok(Report {
            backend: B::name(&device),
            preset: self.preset.to_string(),
            latents: config.latents.sizes().to_vec(),
            first_iteration,
            learning,
            objective: self.exact::<B>(&config, steps, &device)?,
        })
    }
}
