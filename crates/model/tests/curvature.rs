//! Second and third derivatives of the energy, explicit against nested autodiff.
#![allow(clippy::unwrap_used)]

mod common;

use burn::{
    backend::{Autodiff, Flex},
    module::Module,
    prelude::*,
};
use common::{host, relative_error};
use shortrun_langevin::{
    Autodiff2, Autodiff3, ByNestedAutodiff, Curvature, EnergyGradient, LatentLayers, NoiseKey,
    Purpose,
};
use shortrun_model::{
    Architecture, CentredError, ExplicitCurvature, ExplicitPosterior, Generator, GeneratorConfig,
    HeadWidth, NestedPosterior, Observation, Parameterisation, ScaleForm,
};

/// Both ways in f32.
const TOLERANCE: f64 = 1e-4;

const EXAMPLES: usize = 2;

fn noise<const D: usize>(shape: [usize; D], stream: u64) -> Tensor<Flex, D> {
    let key = NoiseKey {
        seed: 11,
        iteration: 0,
        purpose: Purpose::Evaluation,
    };
    key.normal(shape, stream, &Default::default())
}

fn tiny(latents: &[usize]) -> GeneratorConfig {
    GeneratorConfig {
        architecture: Architecture::Conditional,
        latents: LatentLayers::new(latents).unwrap(),
        image_size: 28,
        image_channels: 1,
        features: 3,
        seed_channels: 2,
        head_width: HeadWidth::Fixed(2),
        refine_blocks: 0,
        scale: ScaleForm::SoftplusLogVariance,
        parameterisation: Parameterisation::NonCentred,
    }
}

fn observation(config: &GeneratorConfig) -> Observation<Flex> {
    let [c, h, w] = config.image_shape();
    Observation::new(noise([EXAMPLES, c, h, w], 1).tanh(), 0.3).unwrap()
}

/// As at the start, but twice the weights: curvature everywhere.
fn generator<B: Backend>(config: &GeneratorConfig) -> shortrun_model::MultiLayerGenerator<B> {
    struct Larger;
    impl<B: Backend> burn::module::ModuleMapper<B> for Larger {
        fn map_float<const D: usize>(
            &mut self,
            param: burn::module::Param<Tensor<B, D>>,
        ) -> burn::module::Param<Tensor<B, D>> {
            param.map(|tensor| (tensor * 2.0).detach())
        }
    }
    config.init::<B>(3, &Default::default()).map(&mut Larger)
}

fn explicit(config: &GeneratorConfig, observation: &Observation<Flex>) -> ExplicitCurvature<Flex> {
    ExplicitCurvature::new(&generator(config), observation.clone()).unwrap()
}

fn nested(config: &GeneratorConfig, observation: &Observation<Flex>) -> impl Curvature<Flex> {
    let lifted = generator::<Flex>(config)
        .train::<Autodiff<Flex>>()
        .train::<Autodiff2<Flex>>()
        .train::<Autodiff3<Flex>>();
    ByNestedAutodiff::new(NestedPosterior::new(lifted, observation.clone()))
}

fn symmetric(n: usize, d: usize) -> Tensor<Flex, 3> {
    let weights = noise([n, d, d], 4);
    weights.clone() + weights.swap_dims(1, 2)
}

fn compare(config: &GeneratorConfig, observation: &Observation<Flex>) {
    let (explicit, nested) = (explicit(config, observation), nested(config, observation));
    let d = config.latents.dim();
    let latents = noise([EXAMPLES, d], 2);
    let close = |found: Vec<f32>, expected: Vec<f32>, what: &str| {
        let error = relative_error(&found, &expected);
        assert!(error < TOLERANCE, "{what} off by {error}: {config:?}");
    };
    let rows = EXAMPLES * d;
    let hessian = host(explicit.hessian(latents.clone(), rows));
    let expected = host(nested.hessian(latents.clone(), rows));
    close(hessian.clone(), expected, "hessian");
    let one_by_one = host(explicit.hessian(latents.clone(), 1));
    close(one_by_one, hessian, "one example at a time");

    for (m, rows) in [(2, rows), (2, 1), (d, rows)] {
        let vectors = noise([EXAMPLES, m, d], 3);
        let products = host(explicit.hessian_products(latents.clone(), vectors.clone(), rows));
        let expected = host(nested.hessian_products(latents.clone(), vectors, rows));
        close(products, expected, "products");
    }

    let weights = symmetric(EXAMPLES, d);
    let expected = host(nested.trace_gradient(latents.clone(), weights.clone(), rows));
    for rows in [rows, 1] {
        let gradient = host(explicit.trace_gradient(latents.clone(), weights.clone(), rows));
        close(gradient, expected.clone(), "trace gradient");
    }
}

#[test]
fn every_scale_form_agrees_with_nested_autodiff() {
    let forms = [
        ScaleForm::SoftplusLogVariance,
        ScaleForm::LogVariance,
        ScaleForm::Softplus,
    ];
    for scale in forms {
        let config = GeneratorConfig {
            scale,
            ..tiny(&[2, 3])
        };
        compare(&config, &observation(&config));
    }
}

#[test]
fn three_layers_a_refining_block_and_colours_agree_with_nested_autodiff() {
    let config = GeneratorConfig {
        image_size: 32,
        image_channels: 3,
        refine_blocks: 1,
        head_width: HeadWidth::Latent,
        ..tiny(&[2, 2, 3])
    };
    compare(&config, &observation(&config));
}

#[test]
fn a_ladder_agrees_with_nested_autodiff() {
    for (image_size, refine_blocks) in [(28, 0), (32, 1)] {
        let config = GeneratorConfig {
            architecture: Architecture::Ladder,
            image_size,
            refine_blocks,
            ..tiny(&[2, 3, 2])
        };
        compare(&config, &observation(&config));
    }
}

#[test]
fn one_layer_and_larger_images_agree_with_nested_autodiff() {
    let config = GeneratorConfig {
        image_size: 64,
        features: 2,
        ..tiny(&[5])
    };
    compare(&config, &observation(&config));
}

#[test]
fn hidden_pixels_agree_with_nested_autodiff() {
    let config = tiny(&[2, 3]);
    let [c, h, w] = config.image_shape();
    for shape in [[1, 1, h, w], [EXAMPLES, c, h, w]] {
        let mask = noise(shape, 5).greater_elem(0.0).float();
        compare(&config, &observation(&config).with_mask(mask).unwrap());
    }
}

/// On autodiff the weights are not on the CPU backend: tensor operations instead of our kernels.
#[test]
fn tensor_operations_agree_with_our_kernels() {
    type Tracked = Autodiff<Flex>;
    for image_size in [28, 64] {
        let config = GeneratorConfig {
            image_size,
            ..tiny(&[2, 2, 3])
        };
        let observation = observation(&config);
        let kernels = explicit(&config, &observation);
        let operations = ExplicitCurvature::<Tracked>::new(
            &generator::<Flex>(&config).train::<Tracked>().no_grad(),
            Observation::from_inner(observation),
        )
        .unwrap();
        let d = config.latents.dim();
        let latents = noise([EXAMPLES, d], 2);
        let weights = symmetric(EXAMPLES, d);
        // All examples at once; our kernels take one at a time.
        let rows = EXAMPLES * d;
        let found = operations.hessian(Tensor::from_inner(latents.clone()), rows);
        let expected = kernels.hessian(latents.clone(), 1);
        assert!(relative_error(&host(found), &host(expected)) < 1e-5);
        let tracked = (
            Tensor::from_inner(latents.clone()),
            Tensor::from_inner(weights.clone()),
        );
        let found = operations.trace_gradient(tracked.0, tracked.1, rows);
        let expected = kernels.trace_gradient(latents, weights, 1);
        assert!(relative_error(&host(found), &host(expected)) < 1e-5);
    }
}

/// With nothing seen the prior is left: `H = I`, and its trace does not change.
#[test]
fn the_prior_alone_has_unit_curvature() {
    let config = tiny(&[2, 2, 3]);
    let d = config.latents.dim();
    let hidden = observation(&config).with_mask(Tensor::zeros([1, 1, 1, 1], &Default::default()));
    let curvature = explicit(&config, &hidden.unwrap());
    let latents = noise([EXAMPLES, d], 2);
    let identity = Tensor::<Flex, 2>::eye(d, &Default::default());
    let hessian = curvature.hessian(latents.clone(), 1);
    for row in 0..EXAMPLES {
        assert_eq!(
            host(hessian.clone().slice_dim(0, row..row + 1)),
            host(identity.clone())
        );
    }
    let gradient = curvature.trace_gradient(latents.clone(), symmetric(EXAMPLES, d), 1);
    assert_eq!(host(gradient), vec![0.0; EXAMPLES * d]);
}

#[test]
fn the_hessian_is_symmetric_and_the_gradient_that_of_the_explicit_pass() {
    let config = tiny(&[2, 2, 3]);
    let observation = observation(&config);
    let curvature = explicit(&config, &observation);
    let latents = noise([EXAMPLES, config.latents.dim()], 2);
    let hessian = curvature.hessian(latents.clone(), 1);
    assert_eq!(host(hessian.clone()), host(hessian.clone().swap_dims(1, 2)));
    let (energy, gradient) = curvature.energy_and_gradient(latents.clone());
    let posterior = ExplicitPosterior::new(&generator(&config), observation);
    let (expected_energy, expected) = posterior.energy_and_gradient(latents);
    assert_eq!(host(energy), host(expected_energy));
    assert_eq!(host(gradient), host(expected));
}

#[test]
fn the_centred_form_is_left_to_nested_autodiff() {
    let config = GeneratorConfig {
        parameterisation: Parameterisation::Centred,
        ..tiny(&[2, 3])
    };
    let observation = observation(&config);
    let generator = generator::<Flex>(&config);
    let refused = ExplicitCurvature::new(&generator, observation.clone());
    assert_eq!(refused.unwrap_err(), CentredError);
    let lifted = generator.train::<Autodiff<Flex>>();
    let curvature = lifted.curvature(observation).unwrap();
    let latents = noise([EXAMPLES, 5], 2);
    let direction: Tensor<Flex, 2> = noise([EXAMPLES, 5], 3);
    let product =
        curvature.hessian_products(latents.clone(), direction.clone().unsqueeze_dim(1), 1);
    let gradient = |step: f64| {
        let moved = latents.clone() + direction.clone() * step;
        curvature.energy_and_gradient(moved).1
    };
    let step = 1e-2;
    let difference = (gradient(step) - gradient(-step)) / (2.0 * step);
    // Of float32, by central differences.
    assert!(relative_error(&host(product), &host(difference)) < 2e-3);
}
