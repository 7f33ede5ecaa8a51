//! Checkpoints that were damaged on disk, and writing that fails.
#![allow(clippy::unwrap_used)]

mod common;

use std::{fs, path::Path};

use burn::backend::Flex;
use common::*;
use shortrun_model::{MultiLayerGenerator, Preset};
use shortrun_train::{Checkpoint, Method, RunFolder, ShortRunMethod, State, TrainError};

/// Resumes a finished run whose newest checkpoint `damage` has harmed: the one before is used, the
/// message names the file, and the end is the same.
fn the_one_before_is_used(name: &str, damage: impl Fn(&Path)) {
    let (config, data, dir) = (config(), data(), tempfile::tempdir().unwrap());
    start(&config, &data, dir.path()).unwrap();
    let whole = weights(dir.path());
    damage(&step(dir.path(), 10).join(name));
    let (summary, messages) = resume(&config, &data, dir.path()).unwrap();
    assert_eq!(summary.iterations, 10);
    assert_eq!(messages.len(), 1);
    for part in ["step-00000010", name, "the checkpoint before it is used"] {
        assert!(messages[0].contains(part), "{messages:?}");
    }
    assert_eq!(weights(dir.path()), whole);
    // What was refused was not deleted.
    assert!(checkpoints(dir.path()).contains(&"damaged-step-00000010".to_owned()));
}

fn flip_a_byte(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
}

fn truncate(file: &Path) {
    let bytes = fs::read(file).unwrap();
    fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
}

#[test]
fn a_flipped_byte() {
    the_one_before_is_used("generator.bin", flip_a_byte);
    the_one_before_is_used("state.json", flip_a_byte);
}

#[test]
fn a_truncated_file() {
    the_one_before_is_used("generator.optimiser.bin", truncate);
    the_one_before_is_used("checksums.json", truncate);
}

#[test]
fn a_missing_file() {
    the_one_before_is_used("generator.optimiser.bin", |file| {
        fs::remove_file(file).unwrap()
    });
    the_one_before_is_used("checksums.json", |file| fs::remove_file(file).unwrap());
}

#[test]
fn if_all_are_damaged_the_run_is_refused_and_stays_as_it_is() {
    let (config, data, dir) = (config(), data(), tempfile::tempdir().unwrap());
    start(&config, &data, dir.path()).unwrap();
    for name in checkpoints(dir.path()) {
        flip_a_byte(
            &dir.path()
                .join("checkpoints")
                .join(name)
                .join("generator.bin"),
        );
    }
    let before = contents(dir.path());
    let error = resume(&config, &data, dir.path()).unwrap_err();
    assert!(matches!(error, TrainError::NoCheckpoint { .. }));
    let text = error.to_string();
    assert!(
        text.contains("step-00000010/generator.bin") && text.contains("checksum"),
        "{text}"
    );
    assert_eq!(contents(dir.path()), before);
}

#[test]
fn weights_of_another_shape_are_refused() {
    let (config, data, dir) = (config(), data(), tempfile::tempdir().unwrap());
    start(&config, &data, dir.path()).unwrap();
    let (checkpoint, _) = Checkpoint::newest(&RunFolder::open(dir.path()).unwrap()).unwrap();
    let device = Default::default();
    for preset in [Preset::Quick, Preset::Table4] {
        let other: MultiLayerGenerator<Flex> = preset.config(28, 1).unwrap().init(0, &device);
        let error = checkpoint.generator::<Flex, _>(other, &device).unwrap_err();
        assert!(error.to_string().contains("another shape"), "{error}");
    }
}

#[test]
fn a_checkpoint_that_cannot_be_written_leaves_the_old_ones() {
    let (config, data, dir) = (config(), data(), tempfile::tempdir().unwrap());
    start(&config, &data, dir.path()).unwrap();
    let folder = RunFolder::open(dir.path()).unwrap();
    let model: Tiny = generator().init(1, &Default::default());
    let layers = generator().latents;
    let method = ShortRunMethod::<Flex, Tiny>::new(model, layers, &config, 7, &Default::default());
    let state = State {
        iteration: 12,
        ..State::new("tiny", 7)
    };
    // A file where the folder being written has to go.
    fs::write(dir.path().join("checkpoints/.unfinished-12"), "").unwrap();
    let before = contents(dir.path());
    let error = Checkpoint::save(&folder, method.save().unwrap(), &state, 1).unwrap_err();
    assert!(error.to_string().contains(".unfinished-12"), "{error}");
    assert_eq!(contents(dir.path()), before);
}

#[test]
fn only_the_last_and_the_best_are_kept() {
    let (mut config, data, dir) = (config(), data(), tempfile::tempdir().unwrap());
    config.checkpoint.every = 2;
    config.checkpoint.keep = 2;
    let summary = start(&config, &data, dir.path()).unwrap();
    let mut expected = vec![summary.best.unwrap().0, 8, 10];
    expected.sort_unstable();
    expected.dedup();
    let expected: Vec<String> = expected.iter().map(|n| format!("step-{n:08}")).collect();
    assert_eq!(checkpoints(dir.path()), expected);
}
