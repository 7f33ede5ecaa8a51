//! Updates that must not be taken.
#![allow(clippy::unwrap_used)]

mod common;

use std::{path::Path, sync::atomic::AtomicBool};

use burn::{
    backend::Flex,
    module::{Initializer, Module, Param},
    prelude::*,
};
use common::*;
use shortrun_langevin::LatentLayers;
use shortrun_model::Generator;
use shortrun_train::{
    Checkpoint, Ending, LearningRate, Method, Progress, Record, RunFolder, Session, ShortRunMethod,
    Sigma, State, Summary, TrainConfig, TrainError,
};

#[test]
fn a_healthy_run_is_not_flagged() {
    let (config, data, dir) = (config(), data(), tempfile::tempdir().unwrap());
    let summary = start(&config, &data, dir.path()).unwrap();
    assert_eq!(summary.skipped, 0);
    for record in records(dir.path()) {
        match record {
            Record::Train(metrics) => assert_eq!(metrics.diverged, 0.0),
            Record::Evaluation(evaluation) => assert_eq!(evaluation.diverged, 0.0),
            Record::StepSize(_) => unreachable!("the step size is not tuned"),
        }
    }
}

#[test]
fn diverging_chains_stop_the_run_and_leave_the_weights() {
    let (mut config, data, dir) = (config(), data(), tempfile::tempdir().unwrap());
    config.iterations = 4;
    start(&config, &data, dir.path()).unwrap();
    let good = weights(dir.path());
    // The step that was small enough is not any more.
    config.iterations = 20;
    config.langevin.step_size = eta(3.0);
    let error = resume(&config, &data, dir.path()).unwrap_err();
    let TrainError::TooManySkipped {
        iteration, count, ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!((*iteration, *count), (7, 3));
    let text = error.to_string();
    for part in [
        "diverged at step",
        "sigma 0.3",
        "eta = ",
        "--set langevin.step_size.eta",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(weights(dir.path()), good);
    let skipped: Vec<u64> = records(dir.path())
        .iter()
        .filter_map(|record| match record {
            Record::Train(metrics) if metrics.skipped.is_some() => Some(metrics.iteration),
            _ => None,
        })
        .collect();
    assert_eq!(skipped, [5, 6, 7]);
    let text = std::fs::read_to_string(dir.path().join("summary.json")).unwrap();
    let summary: Summary = serde_json::from_str(&text).unwrap();
    assert_eq!((summary.ending, summary.skipped), (Ending::Diverged, 3));
    // With a step that is small enough it goes on from there.
    config.langevin.step_size = eta(0.05);
    let (summary, _) = resume(&config, &data, dir.path()).unwrap();
    assert_eq!((summary.ending, summary.skipped), (Ending::Finished, 3));
    assert_ne!(weights(dir.path()), good);
}

/// The weights to go back to that the newest checkpoint has.
fn kept(path: &Path) -> Vec<String> {
    let (checkpoint, _) = Checkpoint::newest(&RunFolder::open(path).unwrap()).unwrap();
    let mut names: Vec<String> = std::fs::read_dir(checkpoint.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("fallback") && name.ends_with(".bin"))
        .collect();
    names.sort();
    names
}

/// The counters of the newest checkpoint.
fn state(path: &Path) -> State {
    let (checkpoint, _) = Checkpoint::newest(&RunFolder::open(path).unwrap()).unwrap();
    checkpoint.state
}

/// What the step sizes of the settings are multiplied by.
fn step_factor(path: &Path) -> f64 {
    state(path).step_factor
}

#[test]
fn each_divergence_lowers_step_and_learning_rate_and_each_update_brings_some_of_them_back() {
    let (mut config, data, dir) = (config(), data(), tempfile::tempdir().unwrap());
    config.sigma = Sigma::Constant(0.3);
    config.iterations = 2;
    start(&config, &data, dir.path()).unwrap();
    assert_eq!(step_factor(dir.path()), 1.0);
    // Eta and learning rate, in parts of what they are without any.
    let mut expected: Vec<(f64, f64)> = vec![(1.0, 1.0); 2];
    let (mut factor, mut usual) = (1.0, 1.0);
    // Every change of the step size is a checkpoint, and a resumption from it.
    for (size, iterations) in [(3.0, 2), (0.05, 3), (3.0, 1), (0.05, 40)] {
        config.langevin.step_size = eta(size);
        config.iterations += iterations;
        resume(&config, &data, dir.path()).unwrap();
        for _ in 0..iterations {
            let rate = f64::min(factor / usual, 1.0).powi(2);
            expected.push((size / 0.05 * factor, rate));
            factor = if size > 1.0 {
                factor * 0.8
            } else {
                f64::min(factor * 1.02, 1.0)
            };
            usual += 0.01 * (factor - usual);
        }
        assert_eq!(step_factor(dir.path()), factor, "after {size}");
    }
    assert_eq!(factor, 1.0);
    let mut skipped = Vec::new();
    let mut used = Vec::new();
    for record in records(dir.path()) {
        if let Record::Train(metrics) = record {
            let set = config.learning_rate.at(metrics.iteration - 1);
            used.push((metrics.eta[0] / 0.05, metrics.learning_rate / set));
            skipped.extend(metrics.skipped.map(|_| metrics.iteration));
        }
    }
    assert_eq!(skipped, [3, 4, 8]);
    assert_eq!(used.len(), expected.len());
    for (used, expected) in used.iter().zip(&expected) {
        let off = (used.0 / expected.0 - 1.0).abs() + (used.1 / expected.1 - 1.0).abs();
        assert!(off < 1e-9, "{used:?} {expected:?}");
    }
}

#[test]
fn chains_that_diverge_with_half_their_steps_bring_back_weights_of_before() {
    let (mut config, data) = (config(), data());
    config.sigma = Sigma::Constant(0.3);
    config.max_skipped = 10;
    config.checkpoint.every = 1000;
    config.iterations = 100;
    let before = tempfile::tempdir().unwrap();
    start(&config, &data, before.path()).unwrap();
    // Those of 100 are there as the generator's.
    assert_eq!(kept(before.path()), ["fallback.0.bin"]);
    let dir = tempfile::tempdir().unwrap();
    config.iterations = 230;
    start(&config, &data, dir.path()).unwrap();
    assert_eq!(kept(dir.path()), ["fallback.100.bin", "fallback.200.bin"]);
    let now = weights(dir.path());
    assert_ne!(now, weights(before.path()));
    // 0.8³ is more than half, 0.8⁴ is less. What is gone back to came with the checkpoint.
    config.langevin.step_size = eta(3.0);
    config.iterations = 233;
    resume(&config, &data, dir.path()).unwrap();
    assert_eq!(weights(dir.path()), now);
    config.iterations = 234;
    resume(&config, &data, dir.path()).unwrap();
    // Of 100 and not of 200, where all was well too.
    assert_eq!(weights(dir.path()), weights(before.path()));
    let found = state(dir.path());
    assert_eq!(found.step_factor, 0.7 * found.usual_step_factor);
    // A running mean over 100 updates has hardly noticed.
    assert!(found.usual_step_factor > 0.95);
    // They are no better, so they are gone back to once: steps shorten until chains stay (3 times
    // 0.7 times 0.8¹⁶ is 0.06), and learning goes on.
    config.max_skipped = 30;
    config.iterations = 270;
    let (summary, _) = resume(&config, &data, dir.path()).unwrap();
    assert!((12..25).contains(&summary.skipped), "{}", summary.skipped);
    assert_ne!(weights(dir.path()), weights(before.path()));
}

#[test]
fn a_generator_lost_in_its_first_updates_begins_again() {
    let (mut config, data, dir) = (config(), data(), tempfile::tempdir().unwrap());
    // One update that leaves all images black or white.
    config.learning_rate = LearningRate::Pieces(vec![(0, 1e-3), (70, 10.0), (71, 1e-3)]);
    config.sigma = Sigma::Constant(0.3);
    config.max_skipped = 10;
    config.iterations = 99;
    let summary = start(&config, &data, dir.path()).unwrap();
    assert!(state(dir.path()).went_back);
    let evaluation = summary.evaluation.unwrap();
    // An image of one grey is off by about 0.55, one all black or white by 1.5.
    assert!(evaluation.test_mse.unwrap() < 0.7, "{evaluation:?}");
}

#[test]
fn a_generator_whose_images_are_all_black_brings_back_weights_of_before() {
    let (mut config, data, dir) = (config(), data(), tempfile::tempdir().unwrap());
    config.sigma = Sigma::Constant(0.3);
    config.checkpoint.every = 1000;
    config.iterations = 230;
    let before = start(&config, &data, dir.path()).unwrap();
    let mse = |summary: &Summary| summary.evaluation.as_ref().unwrap().test_mse.unwrap();
    // One update at a rate far too high. The tanh at the end has no slope then: no chain diverges,
    // and nothing is learned from any.
    let rate = config.learning_rate.clone();
    config.learning_rate = LearningRate::Constant(10.0);
    config.iterations = 231;
    let (lost, _) = resume(&config, &data, dir.path()).unwrap();
    assert!(mse(&lost) > 2.0 * mse(&before) && !state(dir.path()).went_back);
    config.learning_rate = rate;
    config.iterations = 300;
    let (found, _) = resume(&config, &data, dir.path()).unwrap();
    assert_eq!(found.skipped, before.skipped);
    assert!(state(dir.path()).went_back);
    assert!(mse(&found) < 0.5 * mse(&lost), "{found:?} {lost:?}");
}

/// `g(e) = e W`, with something wrong.
#[derive(Module, Debug)]
struct Faulty<B: Backend> {
    weight: Param<Tensor<B, 2>>,
    #[module(skip)]
    fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// Every image is not a number.
    Nan,
    /// Every image is a million.
    Huge,
    /// The images are right, the gradient of the weights is not a number.
    Gradient,
    /// Images of chains that start above 0 are not numbers.
    Half,
}

impl<B: Backend> Generator<B> for Faulty<B> {
    fn forward(&self, latents: Tensor<B, 2>) -> Tensor<B, 4> {
        let n = latents.dims()[0];
        let weight = self.weight.val();
        let flat = latents.clone().matmul(weight.clone());
        let flat = match self.fault {
            Fault::Nan => flat * f32::NAN,
            Fault::Huge => flat + 1e6,
            // The root has slope infinity at 0.
            Fault::Gradient => flat + (weight * 0.0).sqrt().sum_dim(0),
            Fault::Half => {
                let above = latents.slice([0..n, 0..1]).greater_elem(0.0).float();
                // 0 / 0 where above, else 0 / 1.
                let zero = above.zeros_like();
                flat + zero / (above.neg() + 1.0)
            }
        };
        flat.reshape([n, 1, 28, 28])
    }
}

fn faulty(fault: Fault) -> Faulty<AB> {
    let device = Default::default();
    let initializer = Initializer::Normal {
        mean: 0.0,
        std: 0.01,
    };
    Faulty {
        weight: initializer.init([2, 28 * 28], &device),
        fault,
    }
}

/// The error that stops a run of a faulty generator; its weights must not have changed.
fn stopped_by(fault: Fault) -> String {
    let (data, dir) = (data(), tempfile::tempdir().unwrap());
    let device = Default::default();
    let model = faulty(fault);
    let before = bits(&model);
    let layers = LatentLayers::new([2]).unwrap();
    let folder = RunFolder::create(dir.path(), "").unwrap();
    let method = ShortRunMethod::new(model, layers, &config(), data.train.len(), &device);
    let mut session = Session::<Flex, _>::start(config(), method, &data, folder, &device).unwrap();
    let result = session.run(&AtomicBool::new(false), &mut Progress::hidden());
    assert_eq!(bits(session.method().generator()), before);
    // The step size is to blame for chains that diverge, and for nothing else.
    let lowered = if fault == Fault::Nan {
        0.8 * 0.8 * 0.8
    } else {
        1.0
    };
    assert_eq!(step_factor(dir.path()), lowered);
    result.unwrap_err().to_string()
}

#[test]
fn a_loss_that_is_not_a_number_does_not_reach_the_weights() {
    let text = stopped_by(Fault::Nan);
    assert!(text.contains("3 updates in a row were skipped"), "{text}");
}

#[test]
fn an_exploding_loss_does_not_reach_the_weights() {
    let text = stopped_by(Fault::Huge);
    assert!(text.contains("the loss is"), "{text}");
    assert!(text.contains("learning_rate"), "{text}");
}

#[test]
fn a_gradient_that_is_not_a_number_does_not_reach_the_weights() {
    let text = stopped_by(Fault::Gradient);
    assert!(text.contains("gradient of the weights"), "{text}");
}

#[test]
fn a_few_diverged_chains_are_left_out_whole() {
    let device = Default::default();
    let mut config = TrainConfig {
        batch_size: 7,
        sigma: Sigma::Constant(0.3),
        ..config()
    };
    config.langevin.max_diverged = 0.99;
    config.langevin.persistent = true;
    config.langevin.step_size = eta(1e-4);
    let layers = LatentLayers::new([2]).unwrap();
    let mut method =
        ShortRunMethod::<Flex, _>::new(faulty(Fault::Half), layers, &config, 7, &device);
    let images = images(7).to_f32(&[0, 1, 2, 3, 4, 5, 6]);
    let images = Tensor::<Flex, 1>::from_floats(images.as_slice(), &device).reshape([7, 1, 28, 28]);
    for iteration in 0..3 {
        let state = State {
            iteration,
            ..State::new("stripes", 7)
        };
        let learned = method
            .learn(&state, images.clone(), &[0, 1, 2, 3, 4, 5, 6], false)
            .unwrap();
        // Later all chains may be among the good ones: those persist, the others start again.
        assert!(learned.diverged < 1.0 && (iteration > 0 || learned.diverged > 0.0));
        assert_eq!(learned.skipped, None);
        assert!(learned.loss.is_finite());
        let finite = |bits: &u32| f32::from_bits(*bits).is_finite();
        assert!(bits(method.generator()).iter().all(finite));
    }
}

#[test]
fn settings_that_make_no_sense_are_refused_before_the_run() {
    for rate in [f64::INFINITY, f64::NAN, 1e39, 0.0, -1.0] {
        let config = TrainConfig {
            learning_rate: LearningRate::Constant(rate),
            ..config()
        };
        let error = config.check().unwrap_err().to_string();
        assert!(error.contains("learning_rate"), "{error}");
    }
}

#[test]
fn counts_that_no_memory_holds_are_refused_and_long_waits_are_not() {
    type Change = fn(&mut TrainConfig, usize);
    let counts: [(&str, Change); 4] = [
        ("batch_size", |config, count| config.batch_size = count),
        ("langevin.steps", |config, count| {
            config.langevin.steps = count;
        }),
        ("evaluation.images", |config, count| {
            config.evaluation.images = count;
        }),
        ("evaluation.samples", |config, count| {
            config.evaluation.samples = count;
        }),
    ];
    for (setting, change) in counts {
        for (count, bound) in [
            (0, "at least 1"),
            (1_000_001, "at most 1"),
            (usize::MAX, "at most 1"),
        ] {
            let mut config = config();
            change(&mut config, count);
            let error = config.check().unwrap_err().to_string();
            let expected = format!("setting {setting} must be {bound}");
            assert!(error.starts_with(&expected), "{error}");
        }
    }
    let mut patient = config();
    patient.iterations = u64::MAX;
    patient.log_every = u64::MAX;
    patient.max_skipped = u64::MAX;
    patient.checkpoint.every = u64::MAX;
    patient.checkpoint.keep = usize::MAX;
    patient.check().unwrap();
}

#[test]
fn a_generator_of_other_images_is_refused() {
    let (mut data, dir) = (data(), tempfile::tempdir().unwrap());
    data.train = data.train.resize(32).unwrap();
    let error = start(&config(), &data, dir.path()).unwrap_err().to_string();
    assert!(
        error.contains("1 x 32 x 32") && error.contains("1 x 28 x 28"),
        "{error}"
    );
}
