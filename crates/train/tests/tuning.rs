//! The step size is tuned on the way, logged, and part of the checkpoint.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use shortrun_stepsize_vi::Arrangement;
use shortrun_stepsize_vi::{ObjectiveName, SearchName};
use shortrun_train::{Record, TrainConfig, TrainError, Tuning};

fn tuned(change: impl FnOnce(&mut TrainConfig)) -> TrainConfig {
    let mut config = config();
    config.step_size.every = 3;
    config.step_size.adam.learning_rate = 0.3;
    change(&mut config);
    config
}

fn tunings(records: &[Record]) -> Vec<&Tuning> {
    let mut found = Vec::new();
    for record in records {
        if let Record::StepSize(tuning) = record {
            found.push(tuning);
        }
    }
    found
}

/// A run of 10 iterations, and one of `first` resumed to 10, agree to the last bit.
fn goes_on_bit_exactly(config: &TrainConfig, first: u64) -> Vec<Record> {
    let (data, dir) = (data(), tempfile::tempdir().unwrap());
    let (whole, split) = (dir.path().join("whole"), dir.path().join("split"));
    start(config, &data, &whole).unwrap();
    let beginning = TrainConfig {
        iterations: first,
        ..config.clone()
    };
    start(&beginning, &data, &split).unwrap();
    resume(config, &data, &split).unwrap();
    assert_eq!(weights(&whole), weights(&split));
    let mut resumed = records(&split);
    resumed.retain(|record| !matches!(record, Record::Evaluation(e) if e.iteration == first));
    let whole = records(&whole);
    let kept: Vec<&Record> = whole
        .iter()
        .filter(|record| !matches!(record, Record::Evaluation(e) if e.iteration == first))
        .collect();
    assert_eq!(kept, resumed.iter().collect::<Vec<_>>());
    whole
}

#[test]
fn every_way_of_tuning_resumes_bit_exactly() {
    let exact = tuned(|_| {});
    let layered = tuned(|config| config.step_size.per = Arrangement::Layer);
    let stepped = tuned(|config| {
        config.step_size.objective = ObjectiveName::Augmented;
        config.step_size.per = Arrangement::Step;
    });
    let grid = tuned(|config| {
        config.step_size.search = SearchName::Grid;
        config.step_size.grid = vec![0.04, 0.06];
    });
    let lanczos = tuned(|config| {
        config.step_size.search = SearchName::Grid;
        config.step_size.grid = vec![0.04, 0.06];
        config.step_size.objective = ObjectiveName::Lanczos;
    });
    for (config, sizes) in [
        (exact, 1),
        (layered, 2),
        (stepped, 3),
        (grid, 1),
        (lanczos, 1),
    ] {
        let records = goes_on_bit_exactly(&config, 7);
        let tunings = tunings(&records);
        let iterations: Vec<u64> = tunings.iter().map(|tuning| tuning.iteration).collect();
        assert_eq!(iterations, [4, 7, 10]);
        for tuning in tunings {
            assert_eq!((tuning.eta.len(), tuning.drift.len()), (sizes, sizes));
            assert!(tuning.objective.is_some() && tuning.failed.is_none());
            for (eta, drift) in tuning.eta.iter().zip(&tuning.drift) {
                assert!((eta * eta / 2.0 - drift).abs() < 1e-15);
            }
        }
    }
}

#[test]
fn the_chain_runs_with_the_tuned_step_and_it_follows_sigma() {
    let (config, data, dir) = (tuned(|_| {}), data(), tempfile::tempdir().unwrap());
    start(&config, &data, dir.path()).unwrap();
    let mut last: Option<Tuning> = None;
    for record in records(dir.path()) {
        match record {
            Record::StepSize(tuning) => {
                // Adam's first step on log s is its learning rate, and eta follows as the root.
                if last.is_none() {
                    let scale = config.step_scale(tuning.iteration - 1);
                    let change = (tuning.eta[0] / (0.05 * scale)).ln().abs();
                    assert!((change - 0.15).abs() < 1e-6, "{change}");
                }
                last = Some(tuning);
            }
            Record::Train(metrics) => {
                let (eta, from) = match &last {
                    Some(tuning) => (tuning.eta[0], tuning.iteration - 1),
                    None => (0.05 * config.step_scale(0), 0),
                };
                let scale = config.step_scale(metrics.iteration - 1) / config.step_scale(from);
                assert!((metrics.eta[0] / (eta * scale) - 1.0).abs() < 1e-12);
            }
            Record::Evaluation(_) => {}
        }
    }
}

#[test]
fn chains_that_explode_lower_the_step_and_do_not_stop_the_run() {
    let config = tuned(|config| {
        config.step_size.search = SearchName::Grid;
        config.step_size.grid = vec![1e9];
    });
    let (data, dir) = (data(), tempfile::tempdir().unwrap());
    start(&config, &data, dir.path()).unwrap();
    let records = records(dir.path());
    let tunings = tunings(&records);
    let reason = tunings[0].failed.as_deref().unwrap();
    assert!(reason.contains("explode"), "{reason}");
    let expected = 0.05 * config.step_scale(3) * 0.7;
    assert!((tunings[0].eta[0] / expected - 1.0).abs() < 1e-12);
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let refused = |change: fn(&mut TrainConfig), setting: &str| {
        let error = tuned(change).check().unwrap_err();
        let named =
            matches!(&error, TrainError::Setting { setting: found, .. } if *found == setting);
        assert!(named, "{error}");
    };
    refused(|c| c.step_size.examples = 0, "step_size.examples");
    refused(|c| c.step_size.examples = usize::MAX, "step_size.examples");
    refused(|c| c.step_size.grid = vec![0.1, -0.1], "step_size.grid");
    refused(|c| c.step_size.grid = Vec::new(), "step_size.grid");
    refused(|c| c.step_size.refine.points = 2, "step_size.refine");
    refused(|c| c.step_size.adam.beta1 = 1.0, "step_size.adam");
    refused(
        |c| c.step_size.adam.learning_rate = f64::NAN,
        "step_size.adam",
    );
    refused(
        |c| c.step_size.objective = ObjectiveName::Lanczos,
        "step_size.search",
    );
}
