//! The methods with an encoder in a training run.
#![allow(clippy::unwrap_used)]

#[path = "../../train/tests/common/mod.rs"]
mod common;

use std::{path::Path, sync::atomic::AtomicBool};

use burn::{
    backend::Flex,
    module::{AutodiffModule, Module},
    prelude::*,
    tensor::TensorData,
};
use common::{AB, Tiny, bits, config, data, generator, images};
use shortrun_baselines::{Amortised, Amortising, Encoder, IafConfig, LadderVaeConfig, VaeConfig};
use shortrun_langevin::LatentLayers;
use shortrun_model::GeneratorConfig;
use shortrun_train::{
    Checkpoint, Method, Progress, RunFolder, Session, Skip, State, TrainConfig, TrainError,
};

fn one_layer() -> GeneratorConfig {
    GeneratorConfig {
        latents: LatentLayers::new([4]).unwrap(),
        ..generator()
    }
}

fn model(config: &GeneratorConfig) -> Tiny {
    config.init(5, &Default::default())
}

const LADDER: LadderVaeConfig = LadderVaeConfig {
    batch_norm: true,
    warm_up: Some(4),
};

fn ladder(config: &TrainConfig) -> Result<Amortised<Flex, Encoder<AB>>, TrainError> {
    LADDER.method(model(&generator()), config, &Default::default())
}

/// Generator and inference network of the newest checkpoint, and of the method that wrote it.
fn saved<N: Amortising<Flex>>(path: &Path, like: &Amortised<Flex, N>) -> [Vec<u32>; 2] {
    let device = Default::default();
    let (checkpoint, _) = Checkpoint::newest(&RunFolder::open(path).unwrap()).unwrap();
    let generator = checkpoint.generator::<AB, _>(like.generator().clone(), &device);
    let network = checkpoint.module::<AB, _>("inference", like.network().clone(), &device);
    [bits(&generator.unwrap()), bits(&network.unwrap())]
}

fn resumes_bit_exactly<N: Amortising<Flex>>(
    method: impl Fn(&TrainConfig) -> Result<Amortised<Flex, N>, TrainError>,
) {
    let (data, device, temporary) = (data(), Default::default(), tempfile::tempdir().unwrap());
    let (straight, halves) = (temporary.path().join("a"), temporary.path().join("b"));
    let settings = |iterations| TrainConfig {
        iterations,
        ..config()
    };
    let new = || method(&settings(6)).unwrap();
    let start = |iterations, path: &Path| {
        let folder = RunFolder::create(path, "").unwrap();
        let settings = settings(iterations);
        Session::<Flex, _>::start(settings, new(), &data, folder, &device)
            .unwrap()
            .run(&AtomicBool::new(false), &mut Progress::hidden())
            .unwrap()
    };
    start(6, &straight);
    start(3, &halves);
    let folder = RunFolder::open(&halves).unwrap();
    let (mut session, _) =
        Session::<Flex, _>::resume(settings(6), new(), &data, folder, &device).unwrap();
    session
        .run(&AtomicBool::new(false), &mut Progress::hidden())
        .unwrap();

    let expected = saved(&straight, &new());
    assert_eq!(saved(&halves, &new()), expected);
    let fresh = new();
    assert_ne!(bits(fresh.generator()), expected[0]);
    assert_ne!(bits(fresh.network()), expected[1]);
}

#[test]
fn vae_resumes_bit_exactly() {
    resumes_bit_exactly(|config| {
        VaeConfig {}.method(model(&one_layer()), config, &Default::default())
    });
}

#[test]
fn ladder_vae_resumes_bit_exactly() {
    resumes_bit_exactly(ladder);
}

#[test]
fn vae_iaf_resumes_bit_exactly() {
    let settings = IafConfig {
        steps: 2,
        depth: 1,
        width: Some(6),
    };
    resumes_bit_exactly(|config| settings.method(model(&one_layer()), config, &Default::default()));
}

/// The whole state of the inference network, with the running moments as they are saved.
fn network_bits(method: &Amortised<Flex, Encoder<AB>>) -> Vec<u32> {
    bits(&method.network().valid().train::<AB>())
}

#[test]
fn a_skipped_update_leaves_the_running_moments_as_they_were() {
    let data = data();
    let state = State::new(&data.name, data.train.len());
    let batch = |values: Vec<f32>| {
        let data = TensorData::new(values, [3, 1, 28, 28]);
        Tensor::<Flex, 4>::from_data(data, &Default::default())
    };
    let good = || batch(data.train.to_f32(&[0, 1, 2]));
    let (mut skipping, mut plain) = (ladder(&config()).unwrap(), ladder(&config()).unwrap());
    let before = network_bits(&skipping);

    let bad = batch(vec![f32::NAN; 3 * 28 * 28]);
    let learned = skipping.learn(&state, bad, &[0, 1, 2], false).unwrap();
    assert!(matches!(learned.skipped, Some(Skip::Loss { .. })));
    assert_eq!(network_bits(&skipping), before);

    for method in [&mut skipping, &mut plain] {
        let learned = method.learn(&state, good(), &[0, 1, 2], true).unwrap();
        assert!(learned.skipped.is_none());
    }
    assert_eq!(network_bits(&skipping), network_bits(&plain));
    assert_eq!(bits(skipping.generator()), bits(plain.generator()));
    let learned = plain.network().valid();
    let moments = learned.stem[0].norm.as_ref().unwrap().running_mean.value();
    assert!(moments.into_data().iter::<f32>().any(|mean| mean != 0.0));
}

#[test]
fn the_divergence_counts_in_full_once_the_warm_up_is_over() {
    let data = data();
    let after_a_step = |warm_up: Option<u64>, iteration: u64| {
        let settings = LadderVaeConfig {
            batch_norm: false,
            warm_up,
        };
        let device = Default::default();
        let mut method = settings
            .method(model(&generator()), &config(), &device)
            .unwrap();
        let mut state = State::new(&data.name, data.train.len());
        state.iteration = iteration;
        let values = TensorData::new(data.train.to_f32(&[0, 1, 2]), [3, 1, 28, 28]);
        let images = Tensor::<Flex, 4>::from_data(values, &device);
        let learned = method.learn(&state, images, &[0, 1, 2], false).unwrap();
        (learned.loss, network_bits(&method))
    };
    let cold = after_a_step(Some(0), 3);
    assert_eq!(after_a_step(Some(3), 3), cold);
    let warming = after_a_step(Some(4), 3);
    // The loss reported is the bound throughout.
    assert_eq!(warming.0, cold.0);
    assert_ne!(warming.1, cold.1);
    // Eight, unless it is said: as long as sigma is annealed.
    assert_eq!(after_a_step(None, 3), after_a_step(Some(8), 3));
}

#[test]
fn an_image_is_reconstructed_the_same_whatever_is_beside_it() {
    let method = ladder(&config()).unwrap();
    let state = State::new("stripes", 7);
    let alone = method.reconstruct(&state, &images(4), 1).unwrap().generated;
    let among = method.reconstruct(&state, &images(4), 4).unwrap().generated;
    // Another batch may be summed in another order.
    let furthest = alone.iter().zip(&among).map(|(a, b)| (a - b).abs());
    let furthest = furthest.fold(0.0, f32::max);
    assert!(furthest < 1e-5, "{furthest}");
}

#[test]
fn flows_that_are_too_narrow_or_too_large_are_refused() {
    let refuse = |settings: IafConfig, expected: &str| {
        let error = settings.check(&one_layer()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let usual = IafConfig::default;
    let wide = |width| IafConfig {
        width: Some(width),
        ..usual()
    };
    refuse(wide(0), "method.width must be at least 1");
    refuse(
        wide(3),
        "method.width must be at least 4, the number of latents",
    );
    refuse(wide(usize::MAX), "method.width must be at most");
    let deep = IafConfig {
        depth: usize::MAX,
        ..usual()
    };
    refuse(deep, "method.depth must be at most");
    let heavy = IafConfig {
        steps: 1_000,
        ..wide(16_384)
    };
    refuse(heavy, "no more than 2147483648 are possible");
    wide(4).check(&one_layer()).unwrap();
    // The usual width has room for all latents.
    for latents in [1, 128, 300] {
        let generator = GeneratorConfig {
            latents: LatentLayers::new([latents]).unwrap(),
            ..generator()
        };
        usual().check(&generator).unwrap();
        assert_eq!(usual().width_for(latents), latents.max(128));
    }
}

#[test]
fn several_layers_are_refused_with_the_way_out() {
    let device = Default::default();
    let refused = [
        VaeConfig {}
            .method::<Flex>(model(&generator()), &config(), &device)
            .map(|_| ())
            .unwrap_err(),
        IafConfig::default()
            .method::<Flex>(model(&generator()), &config(), &device)
            .map(|_| ())
            .unwrap_err(),
    ];
    for error in refused {
        let words = error.to_string();
        assert!(words.contains("generator.latents has 2 layers"), "{words}");
        assert!(words.contains("generator.latents = [5]"), "{words}");
        assert!(words.contains("ladder-vae"), "{words}");
    }
}
