//! One Langevin step of the preset `released`, batch 8, on the CPU: explicit gradient and autodiff.
//!
//! `benches/langevin_torch.py` runs this and times the same step in PyTorch, in one run.

use burn::{
    backend::{Autodiff, Flex},
    module::Module,
    prelude::*,
};
use criterion::{Criterion, criterion_group, criterion_main};
use shortrun::{
    langevin::{EnergyGradient, NoiseKey, Purpose, StepSize, langevin_step},
    model::{ExplicitPosterior, Observation, Preset, TapePosterior},
};

const BATCH: usize = 8;

fn normal<const D: usize>(shape: [usize; D], stream: u64) -> Tensor<Flex, D> {
    let key = NoiseKey {
        seed: 0,
        iteration: 0,
        purpose: Purpose::Evaluation,
    };
    key.normal(shape, stream, &Default::default())
}

fn step_of(posterior: &impl EnergyGradient<Flex>, dim: usize) -> impl FnMut() {
    let latents = normal([BATCH, dim], 1);
    let step = StepSize::from_eta(0.05).unwrap_or_else(|_| unreachable!("a step size"));
    move || {
        let (_, gradient) = posterior.energy_and_gradient(latents.clone());
        let noise = normal([BATCH, dim], 2);
        let moved = langevin_step(latents.clone(), gradient, Some(noise), &step.into());
        std::hint::black_box(moved.into_data());
    }
}

fn langevin(criterion: &mut Criterion) {
    let device = Default::default();
    let Ok(config) = Preset::Released.config(32, 3) else {
        unreachable!("a preset")
    };
    let generator = config.init::<Flex>(1, &device);
    let images = normal([BATCH, 3, 32, 32], 0).tanh();
    let Ok(observation) = Observation::new(images, 0.15) else {
        unreachable!("a sigma")
    };
    let dim = config.latents.dim();
    let mut group = criterion.benchmark_group("langevin step, released, batch 8");
    group.sample_size(20);
    let explicit = ExplicitPosterior::new(&generator, observation.clone());
    group.bench_function("explicit", |b| b.iter(step_of(&explicit, dim)));
    let tape = TapePosterior::<Autodiff<Flex>, _>::new(generator.train(), observation);
    group.bench_function("autodiff", |b| b.iter(step_of(&tape, dim)));
    group.finish();
}

criterion_group!(benches, langevin);
criterion_main!(benches);
