//! The inference networks against float64 PyTorch: `pytorch/reference.py` made the numbers.
#![allow(clippy::unwrap_used)]

#[path = "../../model/tests/common/mod.rs"]
mod common;

use std::{fs, path::PathBuf};

use burn::{
    backend::{Autodiff, Flex},
    module::{AutodiffModule, Param},
    prelude::*,
    tensor::{TensorData, backend::AutodiffBackend},
};
use burn_store::{ModuleSnapshot, PyTorchToBurnAdapter, SafetensorsStore};
use common::{host, relative_error};
use safetensors::SafeTensors;
use shortrun_baselines::{ConvNorm, Encoder, FlowEncoder, IafConfig, InferenceNetwork};
use shortrun_model::{GeneratorConfig, MultiLayerGenerator, Observation, load};

type Learning = Autodiff<Flex>;

const TOLERANCE: f64 = 1e-4;
const SIGMA: f64 = 0.3;

fn file(name: &str) -> PathBuf {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/pytorch");
    tests.join(format!("{name}.safetensors"))
}

struct Case(Vec<u8>);

impl Case {
    fn read(name: &str) -> Self {
        Self(fs::read(file(&format!("{name}_case"))).unwrap())
    }

    fn data(&self, name: &str) -> TensorData {
        let tensors = SafeTensors::deserialize(&self.0).unwrap();
        let tensor = tensors.tensor(name).unwrap();
        let (chunks, _) = tensor.data().as_chunks::<4>();
        let values: Vec<f32> = chunks.iter().map(|b| f32::from_le_bytes(*b)).collect();
        TensorData::new(values, tensor.shape().to_vec())
    }

    fn tensor<B: Backend, const D: usize>(&self, name: &str) -> Tensor<B, D> {
        Tensor::from_data(self.data(name), &Default::default())
    }

    fn check(&self, name: &str, found: Vec<f32>) {
        let error = relative_error(&found, &self.data(name).to_vec::<f32>().unwrap());
        assert!(error < TOLERANCE, "{name} is off by {error}");
    }

    fn check_gradient<const D: usize>(
        &self,
        name: &str,
        weight: &Param<Tensor<Learning, D>>,
        tape: &<Learning as AutodiffBackend>::Gradients,
    ) {
        let found = weight.val().grad(tape).unwrap();
        self.check(&format!("gradient.{name}"), host(found));
    }

    /// Images, divergence and bound of the network, its normalisation on moments of this kind.
    fn check_inference<B: Backend>(
        &self,
        moments: &str,
        network: &impl InferenceNetwork<B>,
        generator: &MultiLayerGenerator<B>,
    ) {
        let images = self.tensor("images");
        let found = network.infer(generator, images.clone(), self.tensor("noise"));
        let observation = Observation::new(images, SIGMA).unwrap();
        let bound = found.evidence_bound(&observation);
        self.check(&format!("{moments}.generated"), host(found.generated));
        self.check(&format!("{moments}.divergence"), host(found.divergence));
        self.check(&format!("{moments}.bound"), host(bound));
    }
}

/// The tape's gradients of the mean loss, those of the generator checked.
fn gradients(
    case: &Case,
    name: &str,
    network: &impl InferenceNetwork<Learning>,
) -> <Learning as AutodiffBackend>::Gradients {
    let generator = generator::<Learning>(name);
    let found = network.infer(&generator, case.tensor("images"), case.tensor("noise"));
    let observation = Observation::new(case.tensor("images"), SIGMA).unwrap();
    let tape = found.loss(&observation, 1.0).mean().backward();
    let weight = &generator.blocks[0].conv1.weight;
    case.check_gradient("generator.blocks.0.conv1.weight", weight, &tape);
    tape
}

fn generator<B: Backend>(name: &str) -> MultiLayerGenerator<B> {
    load(file(&format!("{name}_generator")), &Default::default()).unwrap()
}

/// The network of a case, which `new` makes for its generator.
fn network<B: Backend, M: ModuleSnapshot<B>>(
    name: &str,
    new: impl FnOnce(&GeneratorConfig) -> M,
) -> M {
    let mut network = new(generator::<B>(name).config());
    let bytes = fs::read(file(&format!("{name}_network"))).unwrap();
    let mut store =
        SafetensorsStore::from_bytes(Some(bytes)).with_from_adapter(PyTorchToBurnAdapter);
    network.load_from(&mut store).unwrap();
    network
}

#[test]
fn vae_matches_pytorch() {
    let case = Case::read("vae");
    let encoder = network::<Learning, _>("vae", |config| {
        Encoder::new(config, false, 1, &Default::default())
    });
    case.check_inference("running", &encoder.valid(), &generator("vae"));

    let tape = gradients(&case, "vae", &encoder);
    let squeeze = &encoder.levels[0].squeeze.conv;
    case.check_gradient("stem.1.conv.weight", &encoder.stem[1].conv.weight, &tape);
    let bias = squeeze.bias.as_ref().unwrap();
    case.check_gradient("levels.0.squeeze.conv.bias", bias, &tape);
}

#[test]
fn vae_iaf_matches_pytorch() {
    let settings = IafConfig {
        steps: 3,
        depth: 2,
        width: Some(7),
    };
    let case = Case::read("vae_iaf");
    let encoder = network::<Learning, _>("vae_iaf", |config| {
        FlowEncoder::new(config, &settings, 1, &Default::default())
    });
    case.check_inference("running", &encoder.valid(), &generator("vae_iaf"));

    let tape = gradients(&case, "vae_iaf", &encoder);
    let steps = &encoder.flow.steps;
    let bias = steps[0].context.bias.as_ref().unwrap();
    case.check_gradient("flow.steps.0.context.bias", bias, &tape);
    let weight = &steps[1].layers[1].weight;
    case.check_gradient("flow.steps.1.layers.1.weight", weight, &tape);
}

#[test]
fn ladder_vae_matches_pytorch_with_running_and_with_batch_moments() {
    let case = Case::read("ladder_vae");
    let encoder = network::<Learning, _>("ladder_vae", |config| {
        Encoder::new(config, true, 1, &Default::default())
    });
    case.check_inference("running", &encoder.valid(), &generator("ladder_vae"));
    case.check_inference("batch", &encoder, &generator("ladder_vae"));
    let mean =
        |layer: &ConvNorm<Learning>| host(layer.norm.as_ref().unwrap().running_mean.value_sync());
    case.check("stem.0.norm.running_mean", mean(&encoder.stem[0]));
    let squeeze = mean(&encoder.levels[1].squeeze);
    case.check("levels.1.squeeze.norm.running_mean", squeeze);

    let tape = gradients(&case, "ladder_vae", &encoder);
    case.check_gradient("stem.0.conv.weight", &encoder.stem[0].conv.weight, &tape);
    let weight = &encoder.levels[0].block.conv1.conv.weight;
    case.check_gradient("levels.0.block.conv1.conv.weight", weight, &tape);
    let norm = encoder.levels[2].block.conv2.norm.as_ref().unwrap();
    case.check_gradient("levels.2.block.conv2.norm.weight", &norm.gamma, &tape);
}
