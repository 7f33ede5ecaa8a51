//! `shortrun selftest`.

use std::fmt;

use burn::{
    backend::{Autodiff, Flex},
    module::{AutodiffModule, ModuleVisitor, Param},
    optim::GradientsParams,
    prelude::*,
};
use clap::Args;
use serde::Serialize;
use shortrun_baselines::Encoder;
use shortrun_eval::host;
use shortrun_langevin::{
    Curvature, EnergyGradient, Noise, NoiseKey, Purpose, ShortRun, StepSize, StepSizes,
};
use shortrun_model::{
    Generator, GeneratorConfig, HeadWidth, MultiLayerGenerator, Observation, Preset, TapePosterior,
    has_16_bit_operands,
};
use shortrun_stepsize_vi::{MemoryBudget, Model, Objective, Problem};

use super::{
    Exit, Failure,
    options::{MOST_AT_ONCE, counted},
    reporting::Reporting,
};
use crate::backend::OnBackend;

/// Relative errors allowed where operands are float32, and where they have 16 bits.
const FLOAT32: f64 = 1e-3;
const SIXTEEN_BITS: f64 = 3e-2;
/// What is in float32, or as good as that, on every backend.
const HESSIAN: &str = "hessian";
const OBJECTIVE: &str = "exact objective";
const SLOPE: &str = "slope of the objective";
const ENCODED: &str = "encoded images";
const ENCODER: &str = "encoder's weight gradient";
/// Langevin steps of the chain that is compared.
const STEPS: usize = 5;

/// Arguments of `shortrun selftest`.
#[derive(Debug, Args)]
pub(super) struct SelftestArgs {
    /// The preset to check [default: each].
    #[arg(long, value_name = "NAME")]
    preset: Option<Preset>,
    /// Images in a batch.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = counted(1..=MOST_AT_ONCE))]
    batch: usize,
    /// Leaves out what a new GPU other than CUDA tunes for minutes: second and third derivatives, and
    /// encoders.
    #[arg(long)]
    first_order: bool,
    #[command(flatten)]
    pub(super) reporting: Reporting,
}

#[derive(Serialize)]
pub(super) struct Report {
    backend: String,
    checks: Vec<Check>,
}

#[derive(Serialize)]
struct Check {
    preset: String,
    what: &'static str,
    /// `|found - reference| / |reference|`; null if it is not a number.
    error: Option<f64>,
    limit: f64,
    passed: bool,
}

impl Report {
    pub(super) fn exit(&self) -> Exit {
        if self.checks.iter().all(|check| check.passed) {
            Exit::Done
        } else {
            Exit::Error
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} against automatic differentiation in float32 on the CPU",
            self.backend
        )?;
        for check in &self.checks {
            writeln!(
                f,
                "{:18} {:28} {:9.2e}  limit {:.0e}  {}",
                check.preset,
                check.what,
                check.error.unwrap_or(f64::NAN),
                check.limit,
                if check.passed { "ok" } else { "FAILED" }
            )?;
        }
        let failed = self.checks.iter().filter(|check| !check.passed).count();
        write!(f, "{} checks, {failed} failed", self.checks.len())
    }
}

/// What the two backends are compared by.
struct Numbers {
    energies: Vec<f32>,
    gradients: Vec<f32>,
    images: Vec<f32>,
    ends: Vec<f32>,
    chain_energies: Vec<f32>,
    weights: Vec<f32>,
    hessian: Vec<f32>,
    objective: Vec<f32>,
    slope: Vec<f32>,
    encoded: Vec<f32>,
    encoder: Vec<f32>,
}

impl Numbers {
    fn parts(&self) -> [(&'static str, &[f32]); 11] {
        [
            ("energy", &self.energies),
            ("latent gradient", &self.gradients),
            ("images", &self.images),
            ("end of a chain", &self.ends),
            ("energies along a chain", &self.chain_energies),
            ("weight gradient", &self.weights),
            (HESSIAN, &self.hessian),
            (OBJECTIVE, &self.objective),
            (SLOPE, &self.slope),
            (ENCODED, &self.encoded),
            (ENCODER, &self.encoder),
        ]
    }
}

/// Collects the gradients of all weights.
struct Collect<'a, B: Backend> {
    gradients: &'a GradientsParams,
    found: Vec<f32>,
    backend: std::marker::PhantomData<B>,
}

impl<B: Backend> ModuleVisitor<Autodiff<B>> for Collect<'_, B> {
    fn visit_float<const D: usize>(&mut self, weight: &Param<Tensor<Autodiff<B>, D>>) {
        if let Some(gradient) = self.gradients.get::<B, D>(weight.id) {
            self.found.extend(host(gradient));
        }
    }
}

fn key(purpose: Purpose) -> NoiseKey {
    NoiseKey {
        seed: 11,
        iteration: 0,
        purpose,
    }
}

/// All numbers of a generator with seeded weights, latents, noise and (half-hidden) images; with
/// `reference` by the tape.
fn numbers<B: Backend>(
    config: &GeneratorConfig,
    args: &SelftestArgs,
    reference: bool,
    device: &B::Device,
) -> Result<Numbers, Failure> {
    let batch = args.batch;
    let generator = config.init::<Autodiff<B>>(3, device);
    let [c, h, w] = config.image_shape();
    let images = key(Purpose::Samples).normal::<B, 4>([batch, c, h, w], 0, device);
    let mask = key(Purpose::Mask).normal::<B, 4>([batch, 1, h, w], 0, device);
    let seen = mask.greater_elem(0.0).float();
    let observation = Observation::new(images.tanh(), 0.3)
        .and_then(|observation| observation.with_mask(seen))
        .map_err(|error| Failure::Other(error.to_string()))?;
    let d = config.latents.dim();
    let start = key(Purpose::Start).normal::<B, 2>([batch, d], 0, device);

    let posterior: Box<dyn EnergyGradient<B>> = if reference {
        Box::new(TapePosterior::new(generator.clone(), observation.clone()))
    } else {
        generator.posterior(observation.clone())
    };
    let (energies, gradients) = posterior.energy_and_gradient(start.clone());
    let chain = ShortRun::new(STEPS, StepSize::from_eta(0.05)?)?;
    let noise = Noise::Keyed(key(Purpose::Langevin));
    let run = chain.run(&posterior, start.clone(), noise)?;

    let observation = Observation::from_inner(observation);
    let energy = generator.energy(Tensor::from_inner(start.clone()), &observation);
    let weights = weight_gradients(&generator, energy.mean());
    let generated = <MultiLayerGenerator<B> as Generator<B>>::forward(&generator.valid(), start);
    let ([hessian, objective, slope], [encoded, encoder]) = match args.first_order {
        true => Default::default(),
        false => (
            derivatives::<B>(&generator, device)?,
            encoding(config, observation.images().clone()),
        ),
    };
    Ok(Numbers {
        hessian,
        objective,
        slope,
        encoded,
        encoder,
        energies: host(energies),
        gradients: host(gradients),
        images: host(generated),
        ends: host(run.latents),
        chain_energies: host(run.energy),
        weights,
    })
}

/// The gradient of a number in all weights of a module.
fn weight_gradients<B: Backend, M: AutodiffModule<Autodiff<B>>>(
    module: &M,
    of: Tensor<Autodiff<B>, 1>,
) -> Vec<f32> {
    let mut collect = Collect::<B> {
        gradients: &GradientsParams::from_grads(of.backward(), module),
        found: Vec::new(),
        backend: std::marker::PhantomData,
    };
    module.visit(&mut collect);
    collect.found
}

/// What an encoder with seeded weights says of the images, and the gradient of the sum of its squares in
/// all weights.
fn encoding<B: Backend>(config: &GeneratorConfig, images: Tensor<Autodiff<B>, 4>) -> [Vec<f32>; 2] {
    let encoder = Encoder::new(config, false, 3, &images.device());
    let said = encoder.forward(images).into_iter();
    let said: Vec<_> = said.flat_map(|layer| [layer.mean, layer.scale]).collect();
    let said = Tensor::cat(said, 1);
    let gradient = weight_gradients::<B, _>(&encoder, said.clone().square().sum());
    [host(said.inner()), gradient]
}

/// Second and third derivatives: the Hessian of one image's energy, and the exact step-size objective
/// and its slope.
fn derivatives<B: Backend>(
    generator: &MultiLayerGenerator<Autodiff<B>>,
    device: &B::Device,
) -> Result<[Vec<f32>; 3], Failure> {
    let [c, h, w] = generator.config().image_shape();
    let image = key(Purpose::Samples).normal::<B, 4>([1, c, h, w], 0, device);
    let observation =
        Observation::new(image.tanh(), 0.3).map_err(|error| Failure::Other(error.to_string()))?;
    let Some(curvature) = generator.curvature(observation) else {
        return Err(Failure::Other("no second derivatives".to_owned()));
    };
    let shape = [1, generator.config().latents.dim()];
    let problem = Problem::drawn(key(Purpose::StepSize), shape, STEPS, device)?;
    let model = Model::with_curvature(&curvature, MemoryBudget::default());
    let sizes: StepSizes = StepSize::from_eta(0.05)?.into();
    let hessian = curvature.hessian(problem.start().clone(), shape[1]);
    let found = Objective::Exact.slope(&model, &problem, &sizes)?;
    let slope = found.by_log_drift(&sizes);
    Ok([
        host(hessian),
        vec![found.evaluation.mean() as f32],
        slope.iter().map(|slope| *slope as f32).collect(),
    ])
}

/// `|found - wanted| / |wanted|`
fn relative_error(found: &[f32], wanted: &[f32]) -> f64 {
    if found.len() != wanted.len() {
        return f64::NAN;
    }
    let (mut off, mut all) = (0.0, 0.0);
    for (f, w) in found.iter().zip(wanted) {
        off += f64::from(f - w).powi(2);
        all += f64::from(*w).powi(2);
    }
    (off / all).sqrt()
}

/// The generators of a preset that are checked; of the quick one also larger ones.
fn configurations(preset: Preset) -> Result<Vec<(&'static str, GeneratorConfig)>, Failure> {
    let mut all = vec![
        ("28 px", preset.config(28, 1)?),
        ("32 px", preset.config(32, 3)?),
    ];
    if preset == Preset::Quick {
        let wide = GeneratorConfig {
            features: 96,
            head_width: HeadWidth::Fixed(48),
            refine_blocks: 1,
            ..preset.config(32, 3)?
        };
        all.push(("64 px", preset.config(64, 3)?));
        all.push(("96 features", wide));
    }
    Ok(all)
}

impl OnBackend for SelftestArgs {
    type Output = Result<Report, Failure>;

    fn run<B: Backend>(self, device: B::Device) -> Self::Output {
        let presets = match self.preset {
            Some(preset) => vec![preset],
            None => Preset::ALL.to_vec(),
        };
        let backend = B::name(&device);
        let limit = if has_16_bit_operands::<B>(&device) {
            SIXTEEN_BITS
        } else {
            FLOAT32
        };
        let mut checks = Vec::new();
        for preset in presets {
            for (shape, config) in configurations(preset)? {
                let wanted = numbers::<Flex>(&config, &self, true, &Default::default())?;
                let found = numbers::<B>(&config, &self, false, &device)?;
                let again = numbers::<B>(&config, &self, false, &device)?;
                let mut check = |what, error: f64, limit| {
                    checks.push(Check {
                        preset: format!("{preset}, {shape}"),
                        what,
                        error: error.is_finite().then_some(error),
                        limit,
                        passed: error < limit,
                    });
                };
                let mut differing = 0;
                for (((what, found), (_, again)), (_, wanted)) in found
                    .parts()
                    .into_iter()
                    .zip(again.parts())
                    .zip(wanted.parts())
                {
                    if wanted.is_empty() {
                        continue;
                    }
                    let limit = match what {
                        HESSIAN | OBJECTIVE | SLOPE | ENCODED | ENCODER => FLOAT32,
                        _ => limit,
                    };
                    check(what, relative_error(found, wanted), limit);
                    let pairs = found.iter().zip(again);
                    differing += pairs.filter(|(a, b)| a.to_bits() != b.to_bits()).count();
                }
                check("differing bits, second run", differing as f64, 0.5);
            }
        }
        Ok(Report { backend, checks })
    }
}
