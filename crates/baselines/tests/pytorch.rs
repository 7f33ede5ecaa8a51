//! The inference networks against float64 PyTorch: `pytorch/reference.py` made the numbers.
#![allow(clippy::unwrap_used)]

#[path = "../../model/tests/common/mod.rs"]
mod common;

use std::{fs, path::PathBuf};

use burn::{
    backend::{Autodiff, Flex},
    prelude::*,
    tensor::TensorData,
};
use burn_store::{ModuleSnapshot, PyTorchToBurnAdapter, SafetensorsStore};
use common::{host, relative_error};
use safetensors::SafeTensors;
use shortrun_baselines::{Encoder, FlowEncoder, IafConfig, InferenceNetwork};
use shortrun_model::{GeneratorConfig, MultiLayerGenerator, Observation, load};

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
    let encoder = network::<Flex, _>("vae", |config| {
        Encoder::new(config, false, 1, &Default::default())
    });
    Case::read("vae").check_inference("running", &encoder, &generator("vae"));
}

#[test]
fn vae_iaf_matches_pytorch() {
    let settings = IafConfig {
        steps: 3,
        depth: 2,
        width: 7,
    };
    let encoder = network::<Flex, _>("vae_iaf", |config| {
        FlowEncoder::new(config, &settings, 1, &Default::default())
    });
    Case::read("vae_iaf").check_inference("running", &encoder, &generator("vae_iaf"));
}

#[test]
fn ladder_vae_matches_pytorch_with_running_and_with_batch_moments() {
    type Learning = Autodiff<Flex>;
    let case = Case::read("ladder_vae");
    let encoder = network::<Learning, _>("ladder_vae", |config| {
        Encoder::new(config, true, 1, &Default::default())
    });
    let plain = generator::<Flex>("ladder_vae");
    case.check_inference::<Flex>(
        "running",
        &burn::module::AutodiffModule::valid(&encoder),
        &plain,
    );

    case.check_inference::<Learning>("batch", &encoder, &generator("ladder_vae"));
    let norm = |norm: &Option<burn::nn::BatchNorm<Learning>>| {
        host(norm.as_ref().unwrap().running_mean.value_sync())
    };
    case.check("stem.0.norm.running_mean", norm(&encoder.stem[0].norm));
    case.check(
        "levels.1.squeeze.norm.running_mean",
        norm(&encoder.levels[1].squeeze.norm),
    );
}
