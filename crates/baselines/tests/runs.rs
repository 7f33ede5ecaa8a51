//! The methods without an encoder in a training run.
#![allow(clippy::unwrap_used)]

#[path = "../../train/tests/common/mod.rs"]
mod common;

use std::{fs, path::Path, sync::atomic::AtomicBool};

use burn::{backend::Flex, module::Module, prelude::*};
use common::{AB, Tiny, bits, config, data, eta, generator, images, records, step};
use shortrun_baselines::{
    AbpConfig, McmcConfig,
    glo::{GloConfig, GloLoss, GloMethod},
    glow::{GlowConfig, GlowMethod},
};
use shortrun_eval::bits_per_dimension_of_bytes;
use shortrun_train::{
    Checkpoint, Method, Progress, RunFolder, Session, ShortRunMethod, Sigma, State, TrainConfig,
};

/// Six iterations in one go leave what three and, resumed, three more leave: the weights that
/// `module` shows, the `files` of the checkpoint byte by byte, and the log.
fn resumes_bit_exactly<M: Method<Flex>, W: Module<AB>>(
    config: &TrainConfig,
    new: impl Fn(&TrainConfig) -> M,
    module: impl Fn(&M) -> &W,
    files: &[&str],
) {
    let (data, device, temporary) = (data(), Default::default(), tempfile::tempdir().unwrap());
    let (straight, halves) = (temporary.path().join("a"), temporary.path().join("b"));
    let settings = |iterations| TrainConfig {
        iterations,
        ..config.clone()
    };
    let run = |mut session: Session<'_, Flex, M>| {
        let stop = AtomicBool::new(false);
        session.run(&stop, &mut Progress::hidden()).unwrap();
        bits(module(session.method()))
    };
    let start = |iterations, path: &Path| {
        let (settings, folder) = (settings(iterations), RunFolder::create(path, "").unwrap());
        let method = new(&settings);
        run(Session::start(settings, method, &data, folder, &device).unwrap())
    };
    let weights = start(6, &straight);
    assert_ne!(start(3, &halves), weights);
    let folder = RunFolder::open(&halves).unwrap();
    let method = new(&settings(6));
    let (session, messages) = Session::resume(settings(6), method, &data, folder, &device).unwrap();
    assert_eq!(messages, [""; 0]);
    assert_eq!(run(session), weights);
    // What is on the disk is what was learned.
    let (checkpoint, _) = Checkpoint::newest(&RunFolder::open(&halves).unwrap()).unwrap();
    let mut loaded = new(&settings(6));
    loaded.load(&checkpoint).unwrap();
    assert_eq!(bits(module(&loaded)), weights);
    for file in files {
        let read = |path: &Path| fs::read(step(path, 6).join(file)).unwrap();
        assert_eq!(read(&straight), read(&halves), "{file}");
    }
    assert_eq!(records(&straight), records(&halves));
}

/// A checkpoint at each end and half way.
fn every_three() -> TrainConfig {
    let mut config = config();
    config.checkpoint.every = 3;
    config
}

fn glow_settings() -> GlowConfig {
    GlowConfig {
        steps: 2,
        width: 4,
        ..GlowConfig::default()
    }
}

#[test]
fn glow_resumes_bit_exactly() {
    let new = |config: &TrainConfig| {
        let device = Default::default();
        GlowMethod::<Flex>::new([1, 28, 28], &glow_settings(), config, &device).unwrap()
    };
    resumes_bit_exactly(&every_three(), new, GlowMethod::flow, &["flow.json"]);
}

/// Set from the first batch, and not again after the run went on.
#[test]
fn glow_sets_its_actnorms_once() {
    let (config, device) = (config(), Default::default());
    let mut method =
        GlowMethod::<Flex>::new([1, 28, 28], &glow_settings(), &config, &device).unwrap();
    let state = State::new("stripes", 7);
    let data = data();
    let values = burn::tensor::TensorData::new(data.train.to_f32(&[0, 1, 2]), [3, 1, 28, 28]);
    let batch = Tensor::<Flex, 4>::from_data(values, &device);
    let bias = |method: &GlowMethod<Flex>| {
        let actnorm = &method.flow().levels[0].steps[0].actnorm;
        actnorm.bias.val().into_data().to_vec::<f32>().unwrap()
    };
    assert!(bias(&method).iter().all(|b| *b == 0.0));
    method
        .learn(&state, batch.clone(), &[0, 1, 2], false)
        .unwrap();
    let after_one = bias(&method);
    // Channel 2 i + j is row i, column j of each square of 2 x 2 pixels. Bytes are spread by noise of
    // deviation 1 / 887, and the first step has moved the bias by 1e-3.
    for (channel, bias) in after_one.iter().enumerate() {
        let pixels = (0..3 * 28 * 28).filter(|place| {
            let (row, column) = (place / 28 % 2, place % 2);
            2 * row + column == channel
        });
        let bytes: Vec<f64> = pixels
            .map(|place| data.train.pixels()[place].into())
            .collect();
        let mean = bytes
            .iter()
            .map(|byte| (byte + 0.5) / 256.0 - 0.5)
            .sum::<f64>()
            / 588.0;
        assert!(
            (f64::from(*bias) + mean).abs() < 1.5e-3,
            "{channel}: {bias}, mean {mean}"
        );
    }
    // A batch of another brightness moves it by no more than the learning rate.
    method
        .learn(&state, batch * 0.1, &[0, 1, 2], false)
        .unwrap();
    let moved = bias(&method)
        .iter()
        .zip(&after_one)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(moved > 0.0 && moved < 3e-3, "{moved}");
}

#[test]
fn glow_gives_images_back_and_counts_bits() {
    let (config, device) = (config(), Default::default());
    let mut method =
        GlowMethod::<Flex>::new([1, 28, 28], &glow_settings(), &config, &device).unwrap();
    let images = images(5);
    let values = burn::tensor::TensorData::new(images.to_f32(&[0, 1, 2, 3, 4]), [5, 1, 28, 28]);
    let batch = Tensor::<Flex, 4>::from_data(values, &device);
    let state = State::new("stripes", 5);
    let learned = method.learn(&state, batch, &[0, 1, 2, 3, 4], true).unwrap();
    let (name, bits) = learned.parts[0];
    assert_eq!(name, "bits_per_dimension");
    // The same images with other noise, after one small step.
    let density = method.log_density(&state, &images, 5).unwrap().unwrap();
    let again = bits_per_dimension_of_bytes(density.mean(), 28 * 28);
    assert!((bits - again).abs() < 0.2, "{bits}, {again}");
    // A Gaussian of the same variance, of bytes 30 and 220 in even shares, has 8.6.
    assert!(bits < 8.7, "{bits}");
    let found = method.reconstruct(&state, &images, 5).unwrap();
    assert!(found.mse() < 1e-10, "{}", found.mse());
    let samples: Vec<_> = method
        .samples(5, 2)
        .unwrap()
        .map(|batch| batch.dims())
        .collect();
    assert_eq!(samples, [[2, 1, 28, 28], [2, 1, 28, 28], [1, 1, 28, 28]]);
    assert!(method.samples(0, 2).is_err());
}

fn glo(settings: GloConfig) -> impl Fn(&TrainConfig) -> GloMethod<Flex, Tiny> {
    move |config| {
        let (device, layers) = (Default::default(), generator().latents);
        let model: Tiny = generator().init(config.seed, &device);
        GloMethod::new(model, &layers, 7, &settings, config, &device).unwrap()
    }
}

#[test]
fn glo_resumes_bit_exactly() {
    for loss in [GloLoss::Laplacian, GloLoss::Squares] {
        let mut settings = GloConfig {
            loss,
            ..GloConfig::default()
        };
        settings.search.steps = 5;
        resumes_bit_exactly(
            &every_three(),
            glo(settings),
            GloMethod::generator,
            &["latents.bin"],
        );
    }
}

/// With the generator as good as fixed, latents learn their images, and a search finds latents of
/// new ones.
#[test]
fn glo_latents_follow_their_images() {
    let mut config = config();
    config.learning_rate = shortrun_train::LearningRate::Constant(1e-9);
    let settings = GloConfig {
        loss: GloLoss::Squares,
        latent_rate: 1.0,
        ..GloConfig::default()
    };
    let mut method = glo(settings)(&config);
    let data = data();
    let places: Vec<usize> = (0..7).collect();
    let values = burn::tensor::TensorData::new(data.train.to_f32(&places), [7, 1, 28, 28]);
    let batch = Tensor::<Flex, 4>::from_data(values, &Default::default());
    let mut losses = Vec::new();
    for iteration in 0..30 {
        let state = State {
            iteration,
            ..State::new("stripes", 7)
        };
        losses.push(
            method
                .learn(&state, batch.clone(), &places, false)
                .unwrap()
                .loss,
        );
    }
    assert!(
        losses.windows(2).all(|pair| pair[1] <= pair[0] + 1e-6),
        "{losses:?}"
    );
    assert!(losses[29] < losses[0] - 1e-3, "{losses:?}");
    // The search has the same images and the same loss, and more steps.
    let state = State::new("stripes", 7);
    let searched = method.reconstruct(&state, &data.train, 7).unwrap().mse();
    assert!(
        searched < losses[29] + 1e-3,
        "{searched} after {}",
        losses[29]
    );
}

fn short_run(config: &TrainConfig) -> ShortRunMethod<Flex, Tiny> {
    let (device, layers) = (Default::default(), generator().latents);
    let model: Tiny = generator().init(config.seed, &device);
    ShortRunMethod::new(model, layers, config, 7, &device)
}

#[test]
fn abp_is_the_papers_and_resumes_with_its_chains() {
    let config = AbpConfig::default().over(&every_three());
    assert_eq!(config.langevin.steps, 40);
    let step = config.langevin.step_size.sizes()[0];
    assert!((step.eta() - 0.3).abs() < 1e-12 && (step.drift() - 0.045).abs() < 1e-12);
    assert_eq!(config.sigma, Sigma::Constant(0.3));
    assert!(config.langevin.persistent && config.check().is_ok());
    // So few weights make a steep energy: their chains want smaller steps.
    let settings = AbpConfig {
        step_size: eta(0.05),
        ..AbpConfig::default()
    };
    resumes_bit_exactly(
        &settings.over(&every_three()),
        short_run,
        ShortRunMethod::generator,
        &["chains.bin"],
    );
}

#[test]
fn mcmc_is_long_and_resumes_with_its_chains() {
    let config = McmcConfig::default().over(&every_three());
    assert_eq!(config.langevin.steps, 400);
    assert_eq!(config.sigma, every_three().sigma);
    assert!(config.langevin.persistent && config.check().is_ok());
    resumes_bit_exactly(
        &config,
        short_run,
        ShortRunMethod::generator,
        &["chains.bin"],
    );
}
