//! The explicit latent gradient against autodiff on every preset, and against finite differences.
#![allow(clippy::unwrap_used)]

mod common;

use burn::{
    backend::{Autodiff, Flex},
    prelude::*,
};
use common::{host, relative_error};
use shortrun_langevin::{EnergyGradient, LatentLayers, NoiseKey, Purpose};
use shortrun_model::{
    Architecture, ExplicitPosterior, Generator, GeneratorConfig, HeadWidth, Observation,
    Parameterisation, Preset, ScaleForm, TapePosterior,
};

const TOLERANCE: f64 = 1e-4;

/// Standard normal numbers; each `stream` has its own.
fn noise<B: Backend, const D: usize>(
    shape: [usize; D],
    stream: u64,
    device: &B::Device,
) -> Tensor<B, D> {
    let key = NoiseKey {
        seed: 5,
        iteration: 0,
        purpose: Purpose::Evaluation,
    };
    key.normal(shape, stream, device)
}

fn tiny() -> GeneratorConfig {
    GeneratorConfig {
        architecture: Architecture::Conditional,
        latents: LatentLayers::new([3, 4, 2]).unwrap(),
        image_size: 28,
        image_channels: 1,
        features: 4,
        seed_channels: 2,
        head_width: HeadWidth::Fixed(3),
        refine_blocks: 1,
        scale: ScaleForm::SoftplusLogVariance,
        parameterisation: Parameterisation::NonCentred,
    }
}

fn observation<B: Backend>(
    config: &GeneratorConfig,
    n: usize,
    sigma: f64,
    device: &B::Device,
) -> Observation<B> {
    let [c, h, w] = config.image_shape();
    let images = noise::<B, 4>([n, c, h, w], 1, device).tanh();
    Observation::new(images, sigma).unwrap()
}

fn explicit_matches_tape<B: Backend>(
    config: &GeneratorConfig,
    observation: &Observation<B>,
    device: &B::Device,
) {
    let n = observation.images().dims()[0];
    let generator = config.init::<B>(3, device);
    let latents = noise::<B, 2>([n, config.latents.dim()], 2, device);
    let explicit = ExplicitPosterior::new(&generator, observation.clone());
    let tape =
        TapePosterior::<Autodiff<B>, _>::new(generator.train::<Autodiff<B>>(), observation.clone());
    let (energy, gradient) = explicit.energy_and_gradient(latents.clone());
    let (tape_energy, tape_gradient) = tape.energy_and_gradient(latents);
    let energy = relative_error(&host(energy), &host(tape_energy));
    let gradient = relative_error(&host(gradient), &host(tape_gradient));
    assert!(
        energy < TOLERANCE && gradient < TOLERANCE,
        "{config:?}: energy off by {energy}, gradient by {gradient}"
    );
}

#[test]
fn every_preset_agrees_with_autodiff() {
    let device = Default::default();
    for preset in Preset::ALL {
        let (size, channels) = if preset == Preset::L1 {
            (28, 1)
        } else {
            (32, 3)
        };
        let config = preset.config(size, channels).unwrap();
        let observation = observation::<Flex>(&config, 2, 0.15, &device);
        explicit_matches_tape(&config, &observation, &device);
    }
}

#[test]
fn every_form_agrees_with_autodiff() {
    let device = Default::default();
    let forms = [
        ScaleForm::SoftplusLogVariance,
        ScaleForm::LogVariance,
        ScaleForm::Softplus,
    ];
    for scale in forms {
        for parameterisation in [Parameterisation::NonCentred, Parameterisation::Centred] {
            for (image_size, image_channels) in [(28, 3), (32, 1), (64, 3)] {
                let config = GeneratorConfig {
                    image_size,
                    image_channels,
                    scale,
                    parameterisation,
                    ..tiny()
                };
                let observation = observation::<Flex>(&config, 2, 0.3, &device);
                explicit_matches_tape(&config, &observation, &device);
            }
        }
    }
}

fn ladder() -> GeneratorConfig {
    GeneratorConfig {
        architecture: Architecture::Ladder,
        ..tiny()
    }
}

#[test]
fn a_ladder_agrees_with_autodiff() {
    let device = Default::default();
    for (image_size, image_channels, refine_blocks) in [(28, 1, 1), (32, 3, 0), (64, 3, 1)] {
        let config = GeneratorConfig {
            image_size,
            image_channels,
            refine_blocks,
            ..ladder()
        };
        let observation = observation::<Flex>(&config, 2, 0.3, &device);
        explicit_matches_tape(&config, &observation, &device);
    }
}

/// One layer has none above it: both architectures are the same network.
#[test]
fn a_ladder_of_one_layer_is_the_conditional_generator() {
    let device = Default::default();
    let images = |config: GeneratorConfig| {
        let one = GeneratorConfig {
            latents: LatentLayers::new([5]).unwrap(),
            ..config
        };
        let latents = noise::<Flex, 2>([2, 5], 2, &device);
        host(one.init::<Flex>(3, &device).forward(latents))
    };
    assert_eq!(images(ladder()), images(tiny()));
}

/// The features of a layer above go through the blocks below: the layers do not just add up.
#[test]
fn layers_of_a_ladder_interact() {
    let device = Default::default();
    let generator = ladder().init::<Flex>(3, &device);
    let features = |top: f32, bottom: f32| {
        let latents = [[top; 3].as_slice(), &[0.5; 4], &[bottom; 2]].concat();
        let images =
            generator.forward(Tensor::<Flex, 1>::from_floats(&*latents, &device).unsqueeze());
        // Before tanh.
        host(images).into_iter().map(f32::atanh).collect::<Vec<_>>()
    };
    let [both, top, bottom, none] = [
        features(1.0, 1.0),
        features(1.0, 0.0),
        features(0.0, 1.0),
        features(0.0, 0.0),
    ];
    let crossed = (0..both.len()).map(|i| both[i] - top[i] - bottom[i] + none[i]);
    let alone = (0..both.len()).map(|i| top[i] - none[i]);
    let size = |values: &mut dyn Iterator<Item = f32>| values.map(f32::abs).fold(0.0, f32::max);
    let (crossed, alone) = (size(&mut crossed.into_iter()), size(&mut alone.into_iter()));
    assert!(crossed > 1e-3 * alone, "{crossed} of {alone}");
}

/// The noise behind latents, and back.
#[test]
fn noise_and_latents_are_each_others_inverse() {
    let device = Default::default();
    for parameterisation in [Parameterisation::NonCentred, Parameterisation::Centred] {
        let config = GeneratorConfig {
            parameterisation,
            ..tiny()
        };
        let generator = config.init::<Flex>(3, &device);
        let noise = noise::<Flex, 2>([4, config.latents.dim()], 2, &device);
        let latents = generator.latents_from_noise(noise.clone());
        let moved = relative_error(&host(latents.clone()), &host(noise.clone())) > 0.1;
        assert_eq!(moved, parameterisation == Parameterisation::Centred);
        let back = generator.noise_from_latents(latents);
        assert!(relative_error(&host(back), &host(noise)) < 1e-5);
    }
}

/// Hidden pixels must not pull; with all hidden only the prior is left, whose gradient is `e`.
#[test]
fn masks_hide_pixels_from_energy_and_gradient() {
    let device = Default::default();
    let config = tiny();
    let [c, h, w] = config.image_shape();
    let seen = observation::<Flex>(&config, 2, 0.3, &device);
    let half = noise::<Flex, 4>([1, 1, h, w], 3, &device).greater_elem(0.0);
    let masked = seen.clone().with_mask(half.float()).unwrap();
    explicit_matches_tape(&config, &masked, &device);

    let nothing = seen
        .with_mask(Tensor::zeros([2, c, h, w], &device))
        .unwrap();
    let latents = noise::<Flex, 2>([2, config.latents.dim()], 2, &device);
    let posterior = ExplicitPosterior::new(&config.init(3, &device), nothing);
    let (_, gradient) = posterior.energy_and_gradient(latents.clone());
    assert_eq!(host(gradient), host(latents));
}

/// Central differences of the energy along random directions, step 1e-2, f32: 1e-2 relative.
fn gradient_matches_differences<B: Backend>(device: &B::Device) {
    let forms = [Parameterisation::NonCentred, Parameterisation::Centred];
    let conditional = forms.map(|parameterisation| GeneratorConfig {
        parameterisation,
        ..tiny()
    });
    for config in conditional.into_iter().chain([ladder()]) {
        let d = config.latents.dim();
        let observation = observation::<B>(&config, 1, 1.0, device);
        let posterior = ExplicitPosterior::new(&config.init(3, device), observation);
        let at = noise::<B, 2>([1, d], 2, device);
        let gradient = host(posterior.energy_and_gradient(at.clone()).1);
        let step = 1e-2;
        let differences: Vec<f32> = (0..d)
            .map(|i| {
                let mut basis = vec![0.0_f32; d];
                basis[i] = step;
                let basis = Tensor::<B, 1>::from_floats(basis.as_slice(), device).unsqueeze();
                let up = host(posterior.energy_and_gradient(at.clone() + basis.clone()).0);
                let down = host(posterior.energy_and_gradient(at.clone() - basis).0);
                (up[0] - down[0]) / (2.0 * step)
            })
            .collect();
        let error = relative_error(&gradient, &differences);
        assert!(error < 1e-2, "{config:?}: off by {error}");
    }
}

#[test]
fn the_gradient_matches_finite_differences() {
    gradient_matches_differences::<Flex>(&Default::default());
}

#[cfg(feature = "vulkan")]
#[test]
fn the_gradient_matches_finite_differences_and_autodiff_on_vulkan() {
    type Gpu = burn::backend::Vulkan;
    let device = Default::default();
    gradient_matches_differences::<Gpu>(&device);
    let config = tiny();
    let observation = observation::<Gpu>(&config, 2, 0.3, &device);
    explicit_matches_tape(&config, &observation, &device);
}

#[test]
fn starting_weights_depend_on_the_seed_alone() {
    let device = Default::default();
    let weights = |seed| {
        host(
            tiny().init::<Flex>(seed, &device).blocks[0]
                .conv1
                .weight
                .val(),
        )
    };
    assert_eq!(weights(1), weights(1));
    assert_ne!(weights(1), weights(2));
}

/// Lifting a fresh generator to autodiff makes its weights learnable.
#[test]
fn a_lifted_generator_learns() {
    let device = Default::default();
    let generator = tiny().init::<Flex>(1, &device).train::<Autodiff<Flex>>();
    assert!(generator.blocks[0].conv1.weight.val().is_require_grad());
}

#[test]
fn sizes_that_make_no_sense_are_refused() {
    assert!(Preset::Quick.config(30, 3).is_err());
    assert!(Preset::Quick.config(32, 2).is_err());
    let centred_ladder = GeneratorConfig {
        parameterisation: Parameterisation::Centred,
        ..ladder()
    };
    let error = centred_ladder.check().unwrap_err().to_string();
    assert!(
        error.contains("non-centred with architecture ladder"),
        "{error}"
    );
    assert!(
        "fast"
            .parse::<Preset>()
            .unwrap_err()
            .to_string()
            .contains("table4")
    );
    let observation =
        Observation::<Flex>::new(Tensor::zeros([1, 1, 28, 28], &Default::default()), 0.0);
    assert!(observation.unwrap_err().to_string().contains("sigma"));
}
