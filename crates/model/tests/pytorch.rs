//! The built-in generator against float64 PyTorch: `pytorch/reference.py` made the numbers.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};

use burn::{
    backend::{Autodiff, Flex},
    prelude::*,
    tensor::TensorData,
};
use common::{host, relative_error};
use safetensors::SafeTensors;
use shortrun_langevin::EnergyGradient;
use shortrun_model::{
    ExplicitPosterior, Generator, Observation, Parameterisation, TapePosterior,
    has_16_bit_operands, load, save,
};

/// Relative errors allowed of float32, and of operands of 16 bits where a device multiplies those.
fn tolerance<B: Backend>(device: &B::Device) -> f64 {
    if has_16_bit_operands::<B>(device) {
        1e-2
    } else {
        1e-4
    }
}

const SIGMA: f64 = 0.3;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/pytorch")
        .join(format!("{name}.safetensors"))
}

struct Case(Vec<u8>);

impl Case {
    fn values(&self, name: &str) -> Vec<f32> {
        let tensors = SafeTensors::deserialize(&self.0).unwrap();
        let bytes = tensors.tensor(name).unwrap().data().to_vec();
        bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect()
    }

    fn has(&self, name: &str) -> bool {
        let tensors = SafeTensors::deserialize(&self.0).unwrap();
        tensors.tensor(name).is_ok()
    }

    fn tensor<B: Backend, const D: usize>(&self, name: &str, device: &B::Device) -> Tensor<B, D> {
        let tensors = SafeTensors::deserialize(&self.0).unwrap();
        let shape = tensors.tensor(name).unwrap().shape().to_vec();
        Tensor::from_data(TensorData::new(self.values(name), shape), device)
    }
}

fn matches_pytorch<B: Backend>(name: &str, device: &B::Device) {
    let case = Case(std::fs::read(file(&format!("{name}_case"))).unwrap());
    let latents: Tensor<B, 2> = case.tensor("latents", device);
    let images: Tensor<B, 4> = case.tensor("images", device);
    let tolerance = tolerance::<B>(device);
    let forms = [
        ("noncentred", Parameterisation::NonCentred),
        ("centred", Parameterisation::Centred),
    ];
    let has = |form: &str| case.has(&format!("{form}.energy"));
    for (form, parameterisation) in forms.into_iter().filter(|(form, _)| has(form)) {
        let check = |what: &str, found: Vec<f32>| {
            let error = relative_error(&found, &case.values(&format!("{form}.{what}")));
            assert!(
                error < tolerance,
                "{name}, {form}: {what} is off by {error}"
            );
        };
        let generator = load::<B>(file(name), device)
            .unwrap()
            .with_parameterisation(parameterisation);
        let observation = Observation::new(images.clone(), SIGMA).unwrap();
        check("generated", host(generator.forward(latents.clone())));
        check(
            "energy",
            host(generator.energy(latents.clone(), &observation)),
        );

        let explicit = ExplicitPosterior::new(&generator, observation.clone());
        let (energy, gradient) = explicit.energy_and_gradient(latents.clone());
        check("energy", host(energy));
        check("gradient", host(gradient));

        // By kernels of our own, where the backend has some.
        let generator = generator.train::<Autodiff<B>>();
        let posterior = generator.posterior(observation.clone());
        let (energy, gradient) = posterior.energy_and_gradient(latents.clone());
        check("energy", host(energy));
        check("gradient", host(gradient));

        let tape = TapePosterior::new(generator, observation);
        let (energy, gradient) = tape.energy_and_gradient(latents.clone());
        check("energy", host(energy));
        check("gradient", host(gradient));
    }
}

#[test]
fn three_layers_28_matches_pytorch() {
    matches_pytorch::<Flex>("three_layers_28", &Default::default());
}

#[test]
fn two_layers_64_matches_pytorch() {
    matches_pytorch::<Flex>("two_layers_64", &Default::default());
}

#[test]
fn a_ladder_matches_pytorch() {
    matches_pytorch::<Flex>("three_layers_ladder", &Default::default());
}

#[cfg(feature = "vulkan")]
#[test]
fn three_layers_28_matches_pytorch_on_vulkan() {
    matches_pytorch::<burn::backend::Vulkan>("three_layers_28", &Default::default());
}

/// What learning uses: gradients of the energy in the weights.
fn weight_gradients_match_pytorch<B: Backend>(name: &str, device: &B::Device) {
    type Tape<B> = Autodiff<B>;
    let case = Case(std::fs::read(file(&format!("{name}_case"))).unwrap());
    let latents: Tensor<Tape<B>, 2> = case.tensor("latents", device);
    let images: Tensor<Tape<B>, 4> = case.tensor("images", device);
    let observation = Observation::new(images, SIGMA).unwrap();
    let generator = load::<Tape<B>>(file(name), device).unwrap();
    let gradients = generator.energy(latents, &observation).sum().backward();
    let tolerance = tolerance::<B>(device);

    let check = |name: &str, found: Vec<f32>| {
        let error = relative_error(&found, &case.values(&format!("weights.{name}")));
        assert!(
            error < tolerance,
            "the gradient in {name} is off by {error}"
        );
    };
    let conv = |name: &str, conv: &burn::nn::conv::Conv2d<Tape<B>>| {
        let weight = conv.weight.val().grad(&gradients).unwrap();
        check(&format!("{name}.weight"), host(weight));
        let bias = conv.bias.as_ref().unwrap().val().grad(&gradients).unwrap();
        check(&format!("{name}.bias"), host(bias));
    };
    let linear = |name: &str, linear: &burn::nn::Linear<Tape<B>>| {
        let weight = linear.weight.val().grad(&gradients).unwrap();
        check(&format!("{name}.weight"), host(weight.transpose()));
    };
    for (i, block) in generator.blocks.iter().enumerate() {
        let project = format!("blocks.{i}.project");
        linear(&format!("{project}.linear"), &block.project.linear);
        let deconv = block.project.deconv.weight.val().grad(&gradients).unwrap();
        check(&format!("{project}.deconv.weight"), host(deconv));
        conv(&format!("blocks.{i}.conv1"), &block.conv1);
        conv(&format!("blocks.{i}.conv2"), &block.conv2);
    }
    for (i, heads) in generator.stochastic.iter().enumerate() {
        for (name, head) in [("mean", &heads.mean), ("scale", &heads.scale)] {
            let name = format!("stochastic.{i}.{name}");
            conv(&format!("{name}.conv"), &head.conv);
            linear(&format!("{name}.linear"), &head.linear);
        }
    }
    for (j, block) in generator.refine.iter().enumerate() {
        conv(&format!("refine.{j}.conv1"), &block.conv1);
        conv(&format!("refine.{j}.conv2"), &block.conv2);
    }
    for (j, layer) in generator.output.iter().enumerate() {
        let weight = layer.weight.val().grad(&gradients).unwrap();
        check(&format!("output.{j}.weight"), host(weight));
    }
}

#[test]
fn weight_gradients_match() {
    weight_gradients_match_pytorch::<Flex>("three_layers_28", &Default::default());
    weight_gradients_match_pytorch::<Flex>("two_layers_64", &Default::default());
    weight_gradients_match_pytorch::<Flex>("three_layers_ladder", &Default::default());
}

#[cfg(feature = "vulkan")]
#[test]
fn weight_gradients_match_on_vulkan() {
    type Gpu = burn::backend::Vulkan;
    weight_gradients_match_pytorch::<Gpu>("three_layers_28", &Default::default());
    weight_gradients_match_pytorch::<Gpu>("two_layers_64", &Default::default());
}

/// What we write is what PyTorch wrote: same names, shapes and numbers.
#[test]
fn saving_gives_the_same_tensors_back() {
    let device = Default::default();
    for name in ["three_layers_28", "two_layers_64", "three_layers_ladder"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("again.safetensors");
        save(&load::<Flex>(file(name), &device).unwrap(), &path).unwrap();
        let (ours, theirs) = (
            std::fs::read(&path).unwrap(),
            std::fs::read(file(name)).unwrap(),
        );
        let (ours, theirs) = (
            SafeTensors::deserialize(&ours).unwrap(),
            SafeTensors::deserialize(&theirs).unwrap(),
        );
        let names = |file: &SafeTensors<'_>| {
            let mut names: Vec<String> = file.names().into_iter().map(str::to_owned).collect();
            names.sort();
            names
        };
        assert_eq!(names(&ours), names(&theirs));
        for (name, theirs) in theirs.iter() {
            let ours = ours.tensor(name).unwrap();
            assert_eq!(ours.shape(), theirs.shape(), "{name}");
            assert_eq!(ours.data(), theirs.data(), "{name}");
        }
    }
}

#[test]
fn damaged_and_foreign_files_are_refused_by_name() {
    let device = Default::default();
    let folder = tempfile::tempdir().unwrap();
    let refuse = |bytes: &[u8], expected: &str| {
        let path = folder.path().join("bad.safetensors");
        std::fs::write(&path, bytes).unwrap();
        let error = load::<Flex>(&path, &device).unwrap_err().to_string();
        assert!(error.contains("bad.safetensors"), "{error}");
        assert!(error.contains(expected), "{error}");
    };
    let whole = std::fs::read(file("three_layers_28")).unwrap();
    refuse(&whole[..whole.len() / 2], "not a whole safetensors file");
    refuse(b"<html>", "not a whole safetensors file");
    let case = std::fs::read(file("three_layers_28_case")).unwrap();
    refuse(&case, "no generator configuration");
    // A tensor renamed in the header, its length kept: missing under its own name.
    let text = b"output.0.bias";
    let at = whole.windows(text.len()).position(|w| w == text).unwrap();
    let mut renamed = whole.clone();
    renamed[at..at + text.len()].copy_from_slice(b"output.9.bias");
    refuse(&renamed, "output.0.bias");
}
