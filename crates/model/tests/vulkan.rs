//! The kernels of the wgpu backends, on a Vulkan device (a software one will do), against the explicit
//! gradient and automatic differentiation in float32 on the CPU.
#![cfg(feature = "vulkan")]
#![allow(clippy::unwrap_used)]

mod common;

use std::marker::PhantomData;

use burn::{
    backend::{Autodiff, Flex, Vulkan},
    module::{AutodiffModule, ModuleMapper, ModuleVisitor, Param},
    optim::GradientsParams,
    prelude::*,
};
use common::{host, relative_error};
use shortrun_langevin::{
    EnergyGradient, LatentLayers, Noise, NoiseKey, Purpose, ShortRun, StepSize, StepSizes,
};
use shortrun_model::{
    AdamTensor, AdamUpdate, Architecture, Generator, GeneratorConfig, HeadWidth, Observation,
    Parameterisation, ScaleForm, TapePosterior, gradient_sums, has_16_bit_operands,
};

/// Relative errors allowed of float32, and of operands of 16 bits where a driver multiplies those.
fn tolerance() -> f64 {
    if has_16_bit_operands::<Vulkan>(&Default::default()) {
        1e-2
    } else {
        1e-4
    }
}

fn key(purpose: Purpose) -> NoiseKey {
    NoiseKey {
        seed: 5 << 40,
        iteration: 9,
        purpose,
    }
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

/// Two blocks to refine, and the other forms of all else.
fn other() -> GeneratorConfig {
    GeneratorConfig {
        latents: LatentLayers::new([5, 3]).unwrap(),
        image_size: 32,
        image_channels: 3,
        features: 6,
        seed_channels: 3,
        head_width: HeadWidth::Latent,
        refine_blocks: 2,
        scale: ScaleForm::Softplus,
        ..tiny()
    }
}

/// More channels than a tile has columns, and whole tiles of one tap.
fn wide() -> GeneratorConfig {
    GeneratorConfig {
        latents: LatentLayers::new([7, 70]).unwrap(),
        features: 80,
        refine_blocks: 0,
        scale: ScaleForm::LogVariance,
        ..tiny()
    }
}

/// Everything that is compared.
struct Numbers {
    energies: Vec<f32>,
    gradients: Vec<f32>,
    images: Vec<f32>,
    /// The end of a chain and the energies along it: with given noise, with keyed noise.
    chain: [Vec<f32>; 2],
    keyed: [Vec<f32>; 2],
    weights: Vec<f32>,
}

impl Numbers {
    fn parts(&self) -> [(&'static str, &[f32]); 8] {
        [
            ("energy", &self.energies),
            ("latent gradient", &self.gradients),
            ("images", &self.images),
            ("end of a chain", &self.chain[0]),
            ("energies along a chain", &self.chain[1]),
            ("end of a keyed chain", &self.keyed[0]),
            ("energies along a keyed chain", &self.keyed[1]),
            ("weight gradient", &self.weights),
        ]
    }
}

struct Collect<'a, B: Backend>(&'a GradientsParams, Vec<f32>, PhantomData<B>);

impl<B: Backend> ModuleVisitor<Autodiff<B>> for Collect<'_, B> {
    fn visit_float<const D: usize>(&mut self, weight: &Param<Tensor<Autodiff<B>, D>>) {
        self.1.extend(host(self.0.get::<B, D>(weight.id).unwrap()));
    }
}

/// Of a batch with half its pixels hidden, or all seen; with no chains if there are no steps.
fn numbers<B: Backend>(
    config: &GeneratorConfig,
    masked: bool,
    steps: usize,
    device: &B::Device,
) -> Numbers {
    let n = 3;
    let [c, h, w] = config.image_shape();
    let d = config.latents.dim();
    let generator = config.init::<Autodiff<B>>(3, device);
    let images = key(Purpose::Samples).normal::<B, 4>([n, c, h, w], 0, device);
    let mut observation = Observation::new(images.tanh(), 0.3).unwrap();
    if masked {
        let mask = key(Purpose::Mask).normal::<B, 4>([n, 1, h, w], 0, device);
        observation = observation
            .with_mask(mask.greater_elem(0.0).float())
            .unwrap();
    }
    let start = key(Purpose::Start).normal::<B, 2>([n, d], 0, device);
    let posterior = generator.posterior(observation.clone());
    let (energies, gradients) = posterior.energy_and_gradient(start.clone());
    let run = |noise| {
        if steps == 0 {
            return [const { Vec::new() }; 2];
        }
        let sizes = (1..=steps).map(|k| StepSize::from_eta(0.02 * k as f64).unwrap());
        let chain = ShortRun::new(steps, StepSizes::PerStep(sizes.collect())).unwrap();
        let run = chain.run(&posterior, start.clone(), noise).unwrap();
        [host(run.latents), host(run.energy)]
    };
    let given = key(Purpose::Langevin).normal::<B, 3>([steps, n, d], 7, device);
    let learned = generator.energy(
        Tensor::from_inner(start.clone()),
        &Observation::from_inner(observation.clone()),
    );
    let loss = learned * Tensor::from_floats([0.5, 0.2, 0.3], device);
    let gradient = GradientsParams::from_grads(loss.sum().backward(), &generator);
    let mut collect = Collect::<B>(&gradient, Vec::new(), PhantomData);
    generator.visit(&mut collect);
    Numbers {
        energies: host(energies),
        gradients: host(gradients),
        images: host(Generator::<B>::forward(&generator.valid(), start.clone())),
        chain: run(Noise::Given(given)),
        keyed: run(Noise::Keyed(key(Purpose::Langevin))),
        weights: collect.1,
    }
}

fn kernels_match_the_cpu(config: &GeneratorConfig, masked: bool, steps: usize) {
    let found = numbers::<Vulkan>(config, masked, steps, &Default::default());
    let wanted = numbers::<Flex>(config, masked, steps, &Default::default());
    for ((what, found), (_, wanted)) in found.parts().into_iter().zip(wanted.parts()) {
        if wanted.is_empty() {
            continue;
        }
        let error = relative_error(found, wanted);
        assert!(error < tolerance(), "{config:?}: {what} is off by {error}");
    }
}

#[test]
fn kernels_match_the_cpu_on_vulkan() {
    kernels_match_the_cpu(&tiny(), true, 3);
    kernels_match_the_cpu(&other(), false, 2);
    let large = GeneratorConfig {
        image_size: 64,
        ..other()
    };
    kernels_match_the_cpu(&large, true, 0);
}

#[test]
fn wide_kernels_match_the_cpu_on_vulkan() {
    kernels_match_the_cpu(&wide(), true, 0);
}

#[test]
fn no_bit_differs_between_two_runs_on_vulkan() {
    let [first, second] =
        [(); 2].map(|()| numbers::<Vulkan>(&tiny(), true, 3, &Default::default()));
    for ((what, first), (_, second)) in first.parts().into_iter().zip(second.parts()) {
        assert!(first == second, "{what} differs");
    }
}

/// What the kernels do not know still runs.
#[test]
fn a_centred_generator_falls_back_on_vulkan() {
    let config = GeneratorConfig {
        parameterisation: Parameterisation::Centred,
        ..tiny()
    };
    let gradient = |found: (Tensor<Vulkan, 1>, Tensor<Vulkan, 2>)| host(found.1);
    let device = Default::default();
    let generator = config.init::<Autodiff<Vulkan>>(3, &device);
    let images = key(Purpose::Samples).normal::<Vulkan, 4>([1, 1, 28, 28], 0, &device);
    let observation = Observation::new(images.tanh(), 0.3).unwrap();
    let at = key(Purpose::Start).normal::<Vulkan, 2>([1, 9], 0, &device);
    let posterior = generator.posterior(observation.clone());
    let found = gradient(posterior.energy_and_gradient(at.clone()));
    let tape = TapePosterior::new(generator, observation);
    let wanted = gradient(tape.energy_and_gradient(at));
    assert!(relative_error(&found, &wanted) < 1e-4);
}

/// Keeps biases from learning.
struct FreezeBiases;

impl<B: Backend> ModuleMapper<Autodiff<B>> for FreezeBiases {
    fn map_float<const D: usize>(
        &mut self,
        weight: Param<Tensor<Autodiff<B>, D>>,
    ) -> Param<Tensor<Autodiff<B>, D>> {
        weight.set_require_grad(D > 1)
    }
}

/// Half the sum of the squares of all weights.
struct Decay<B: Backend>(Tensor<Autodiff<B>, 1>);

impl<B: Backend> ModuleVisitor<Autodiff<B>> for Decay<B> {
    fn visit_float<const D: usize>(&mut self, weight: &Param<Tensor<Autodiff<B>, D>>) {
        self.0 = self.0.clone() + weight.val().square().sum() * 0.5;
    }
}

/// The gradients of all weights, each with its rank, where there are any.
struct Found<'a>(&'a GradientsParams, Vec<(usize, Option<Vec<f32>>)>);

impl<B: Backend> ModuleVisitor<Autodiff<B>> for Found<'_> {
    fn visit_float<const D: usize>(&mut self, weight: &Param<Tensor<Autodiff<B>, D>>) {
        self.1.push((D, self.0.get::<B, D>(weight.id).map(host)));
    }
}

/// Each weight has its own gradient, which adds up with what another part of the loss has; a frozen one has
/// none.
#[test]
fn weights_learn_each_for_itself_on_vulkan() {
    fn gradients<B: Backend>() -> Vec<(usize, Option<Vec<f32>>)> {
        let device = Default::default();
        let generator = other()
            .init::<Autodiff<B>>(3, &device)
            .map(&mut FreezeBiases);
        let images = key(Purpose::Samples).normal::<B, 4>([1, 3, 32, 32], 0, &device);
        let observation = Observation::from_inner(Observation::new(images.tanh(), 0.3).unwrap());
        let latents = key(Purpose::Start).normal::<B, 2>([1, 8], 0, &device);
        let energy = generator.energy(Tensor::from_inner(latents), &observation);
        let mut decay = Decay::<B>(Tensor::zeros([1], &device));
        generator.visit(&mut decay);
        let loss = energy.sum() * 1e-2 + decay.0;
        let gradients = GradientsParams::from_grads(loss.backward(), &generator);
        let mut found = Found(&gradients, Vec::new());
        generator.visit(&mut found);
        found.1
    }
    let (found, wanted) = (gradients::<Vulkan>(), gradients::<Flex>());
    assert_eq!(found.len(), wanted.len());
    for ((rank, found), (_, wanted)) in found.iter().zip(&wanted) {
        assert_eq!(found.is_some(), *rank > 1);
        assert_eq!(wanted.is_some(), *rank > 1);
        if let (Some(found), Some(wanted)) = (found, wanted) {
            assert!(relative_error(found, wanted) < tolerance());
        }
    }
}

/// Two updates of Adam, and sums of gradients, against float64: of more tensors than a launch takes, every
/// fourth of which has only the second update.
#[test]
fn adam_matches_float64_on_vulkan() {
    let device = Default::default();
    let counts: Vec<usize> = (0..67).map(|i| [70_001, 1, 128, 300][i % 4] + i).collect();
    let draw = |stream, count| key(Purpose::Weights).normal::<Vulkan, 1>([count], stream, &device);
    let [start, first, second] = [0, 1, 2].map(|stream| {
        counts
            .iter()
            .map(|count| draw(stream, *count))
            .collect::<Vec<_>>()
    });
    let update = |time| AdamUpdate {
        rate: 0.01,
        beta1: 0.5,
        beta2: 0.9,
        epsilon: 1e-5,
        time,
    };
    let tensors = |weights: &[Tensor<Vulkan, 1>], gradients: &[Tensor<Vulkan, 1>]| -> Vec<_> {
        let both = weights.iter().cloned().zip(gradients.iter().cloned());
        both.map(|(weights, gradient)| AdamTensor {
            weights,
            gradient,
            moments: None,
        })
        .collect()
    };
    let made = update(1).apply(&tensors(&start, &first)).unwrap();
    let is_late = |i: usize| i % 4 == 3;
    let mut again = tensors(&start, &second);
    for (i, ([w, m, v], tensor)) in made.into_iter().zip(&mut again).enumerate() {
        if !is_late(i) {
            tensor.weights = w;
            tensor.moments = Some([m, v]);
        }
    }
    let ends = update(2).apply(&again).unwrap();

    let [start, first, second] =
        [start, first, second].map(|all| all.into_iter().map(host).collect::<Vec<_>>());
    for (i, [w, _, _]) in ends.into_iter().enumerate() {
        let wanted: Vec<f32> = (0..counts[i])
            .map(|j| {
                let (mut w, mut m, mut v) = (f64::from(start[i][j]), 0.0, 0.0);
                for (t, g) in [(1, first[i][j]), (2, second[i][j])] {
                    if t == 1 && is_late(i) {
                        continue;
                    }
                    let g = f64::from(g);
                    m = 0.5 * m + 0.5 * g;
                    v = 0.9 * v + 0.1 * g * g;
                    let [m, v] = [m / (1.0 - 0.5_f64.powi(t)), v / (1.0 - 0.9_f64.powi(t))];
                    w -= 0.01 * m / (v.sqrt() + 1e-5);
                }
                w as f32
            })
            .collect();
        let error = relative_error(&host(w), &wanted);
        assert!(error < 1e-6, "tensor {i} is off by {error}");
    }

    let gradients: Vec<_> = counts.iter().map(|count| draw(1, *count)).collect();
    let sums = gradient_sums(&gradients);
    assert_eq!(sums.len(), counts.len());
    for (found, of) in sums.iter().zip(&first) {
        let wanted = [1, 2].map(|p| of.iter().map(|g| f64::from(*g).powi(p)).sum::<f64>());
        assert!((found[0] - wanted[0]).abs() < 1e-2, "{found:?}, {wanted:?}");
        assert!(
            (found[1] / wanted[1] - 1.0).abs() < 1e-5,
            "{found:?}, {wanted:?}"
        );
    }
}
