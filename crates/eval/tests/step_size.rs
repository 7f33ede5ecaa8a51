//! The step-size problem of a tiny generator.
#![allow(clippy::unwrap_used)]

use burn::backend::{Autodiff, Flex};
use shortrun_data::{ImageShape, Images};
use shortrun_eval::{EvalError, StepSizeTask};
use shortrun_langevin::{LatentLayers, NoiseKey, Purpose, StepSize};
use shortrun_model::{GeneratorConfig, HeadWidth, MultiLayerGenerator, Parameterisation, Preset};
use shortrun_stepsize_vi::{MemoryBudget, Objective};

type Tiny = MultiLayerGenerator<Autodiff<Flex>>;

fn objective(parameterisation: Parameterisation, images: usize) -> Result<Vec<f64>, EvalError> {
    let config = GeneratorConfig {
        latents: LatentLayers::new([2, 3]).unwrap(),
        features: 4,
        head_width: HeadWidth::Fixed(3),
        ..Preset::Quick.config(28, 1).unwrap()
    };
    let device = Default::default();
    let generator: Tiny = config.init(1, &device);
    let generator = generator.with_parameterisation(parameterisation);
    let pixels = (0..3 * 784).map(|place| ((place * 31) % 251) as u8);
    let all = Images::new(ImageShape::square(1, 28), pixels.collect(), None).unwrap();
    let task = StepSizeTask {
        steps: 2,
        sigma: 0.3,
        latents: 5,
        key: NoiseKey {
            seed: 2,
            iteration: 0,
            purpose: Purpose::StepSize,
        },
        budget: MemoryBudget::default(),
    };
    let places: Vec<usize> = (0..images).collect();
    let step = StepSize::from_eta(1e-6).unwrap().into();
    task.run::<Flex, Tiny, _>(&generator, &all, &places, &device, |model, problem| {
        Ok(Objective::Exact
            .evaluate(model, problem, &step)?
            .objective())
    })
}

/// A chain that hardly moves has `F = log p(e_0) - log p(x, e_0) = -log p(x | e_0)`, whatever the
/// variables it moves: the densities of both parameterisations must be right for that.
#[test]
fn at_rest_the_objective_is_the_likelihood_in_either_parameterisation() {
    let noise = objective(Parameterisation::NonCentred, 3).unwrap();
    let latents = objective(Parameterisation::Centred, 3).unwrap();
    for (noise, latents) in noise.iter().zip(&latents) {
        assert!(
            (noise - latents).abs() < 1e-3 * noise.abs(),
            "{noise} {latents}"
        );
    }
}

#[test]
fn no_images_are_refused() {
    let error = objective(Parameterisation::NonCentred, 0).unwrap_err();
    assert!(matches!(error, EvalError::NoImages));
}
