//! One evaluation of the exact objective, and of its gradient, per image: how they scale with d.
//!
//! Prints, beside Criterion's times, what one evaluation takes in gradients of the energy: presets
//! `quick` (d = 96), `table4` (224) and `released` (416), and `l1` with 64 latents; K = 15.

use burn::{backend::Flex, prelude::*};
use criterion::{Criterion, criterion_group, criterion_main};
use shortrun::{
    langevin::{Curvature, EnergyGradient, LatentLayers, NoiseKey, Purpose, StepSize, StepSizes},
    model::{ExplicitCurvature, GeneratorConfig, Observation, Preset},
    stepsize_vi::{MemoryBudget, Model, Objective, Problem},
};

const STEPS: usize = 15;

const KEY: NoiseKey = NoiseKey {
    seed: 0,
    iteration: 0,
    purpose: Purpose::StepSize,
};

fn presets() -> Result<Vec<(&'static str, GeneratorConfig)>, Box<dyn std::error::Error>> {
    let l1 = GeneratorConfig {
        latents: LatentLayers::new([64])?,
        ..Preset::L1.config(32, 3)?
    };
    let mut all = vec![("l1 with 64 latents", l1)];
    for preset in [Preset::Quick, Preset::Table4, Preset::Released] {
        all.push((preset.name(), preset.config(32, 3)?));
    }
    Ok(all)
}

fn objective(criterion: &mut Criterion) {
    run(criterion).unwrap_or_else(|error| panic!("{error}"));
}

fn run(criterion: &mut Criterion) -> Result<(), Box<dyn std::error::Error>> {
    let device = Default::default();
    for (name, config) in presets()? {
        let dim = config.latents.dim();
        let generator = config.init::<Flex>(1, &device);
        let images: Tensor<Flex, 4> = KEY.normal([1, 3, 32, 32], 99, &device).tanh();
        let posterior = ExplicitCurvature::new(&generator, Observation::new(images, 0.15)?)?;
        let model = Model::with_curvature(&posterior, MemoryBudget::default());
        let problem = Problem::drawn(KEY, [1, dim], STEPS, &device)?;
        let sizes: StepSizes = StepSize::from_eta(0.05)?.into();

        let mut group = criterion.benchmark_group(format!("objective, {name}, d = {dim}, 1 image"));
        group.sample_size(10);
        group.bench_function("gradient of the energy", |b| {
            b.iter(|| {
                posterior
                    .energy_and_gradient(problem.start().clone())
                    .1
                    .into_data()
            })
        });
        group.bench_function("hessian of the energy", |b| {
            b.iter(|| posterior.hessian(problem.start().clone(), dim).into_data())
        });
        for objective in [Objective::Augmented, Objective::Exact] {
            group.bench_function(objective.name(), |b| {
                b.iter(|| objective.evaluate(&model, &problem, &sizes))
            });
            group.bench_function(format!("{} with its gradient", objective.name()), |b| {
                b.iter(|| objective.slope(&model, &problem, &sizes))
            });
        }
        let lanczos = Objective::Lanczos(Default::default());
        group.bench_function("lanczos", |b| {
            b.iter(|| lanczos.evaluate(&model, &problem, &sizes))
        });
        group.finish();
    }
    Ok(())
}

criterion_group!(benches, objective);
criterion_main!(benches);
