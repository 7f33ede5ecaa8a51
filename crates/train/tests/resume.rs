//! N iterations equal k iterations, a stop, and N - k iterations more, bit by bit.
#![allow(clippy::unwrap_used)]

mod common;

use std::{fs, sync::atomic::AtomicBool, thread, time::Duration};

use common::*;
use shortrun_train::{Ending, Record, TrainConfig, TrainError};

fn with_iterations(config: &TrainConfig, iterations: u64) -> TrainConfig {
    TrainConfig {
        iterations,
        ..config.clone()
    }
}

/// A run of 10 iterations, and one that was asked for `first` and then resumed to 10, agree.
fn split_run_is_the_same(config: &TrainConfig, first: u64) {
    let (data, dir) = (data(), tempfile::tempdir().unwrap());
    let (whole, split) = (dir.path().join("whole"), dir.path().join("split"));
    start(config, &data, &whole).unwrap();
    start(&with_iterations(config, first), &data, &split).unwrap();
    let (summary, messages) = resume(config, &data, &split).unwrap();
    assert_eq!(summary.ending, Ending::Finished);
    assert_eq!(messages, [""; 0]);
    assert_eq!(weights(&whole), weights(&split));
    // The run that ended early was evaluated at its end, in addition.
    let here = |record: &Record| !matches!(record, Record::Evaluation(e) if e.iteration == first);
    let (whole, mut split) = (records(&whole), records(&split));
    if !first.is_multiple_of(config.checkpoint.every) {
        split.retain(here);
    }
    assert_eq!(whole, split);
}

#[test]
fn raised_steps_go_on_bit_exactly() {
    split_run_is_the_same(&config(), 4);
    split_run_is_the_same(&config(), 7);
}

#[test]
fn persistent_chains_go_on_bit_exactly() {
    let mut config = config();
    config.langevin.persistent = true;
    split_run_is_the_same(&config, 5);
}

#[test]
fn a_data_set_smaller_than_the_batch_goes_on_bit_exactly() {
    let mut config = config();
    config.batch_size = 9;
    split_run_is_the_same(&config, 3);
}

#[test]
fn a_run_stopped_between_checkpoints_logs_what_an_unstopped_one_does() {
    let (config, data, dir) = (
        with_iterations(&config(), 400),
        data(),
        tempfile::tempdir().unwrap(),
    );
    let path = dir.path().join("run");
    let stop = AtomicBool::new(false);
    let stopped = thread::scope(|scope| {
        let run = scope.spawn(|| start_until(&config, &data, &path, &stop).unwrap());
        // Any moment will do; the first line says that learning has begun.
        while fs::read_to_string(path.join("metrics.jsonl"))
            .unwrap_or_default()
            .is_empty()
        {
            thread::sleep(Duration::from_millis(1));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        run.join().unwrap()
    });
    assert_eq!(stopped.ending, Ending::Stopped);
    assert!(stopped.iterations > 0 && stopped.iterations < 400);
    let end = with_iterations(&config, stopped.iterations + 5);
    resume(&end, &data, &path).unwrap();
    let whole = dir.path().join("whole");
    start(&end, &data, &whole).unwrap();
    assert_eq!(weights(&whole), weights(&path));
    assert_eq!(records(&whole), records(&path));
}

#[test]
fn lines_beyond_the_checkpoint_are_written_again_after_a_kill() {
    // What kill -9 leaves: lines after the last checkpoint, the last cut off, and half a checkpoint.
    let (config, data, dir) = (config(), data(), tempfile::tempdir().unwrap());
    let (whole, killed) = (dir.path().join("whole"), dir.path().join("killed"));
    start(&config, &data, &whole).unwrap();
    start(&config, &data, &killed).unwrap();
    fs::remove_dir_all(step(&killed, 10)).unwrap();
    let unfinished = killed.join("checkpoints/.unfinished-10");
    fs::create_dir(&unfinished).unwrap();
    fs::write(unfinished.join("generator.bin"), "half").unwrap();
    let log = killed.join("metrics.jsonl");
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, &text[..text.len() - 30]).unwrap();
    resume(&config, &data, &killed).unwrap();
    assert_eq!(weights(&whole), weights(&killed));
    assert_eq!(records(&whole), records(&killed));
    assert_eq!(checkpoints(&whole), checkpoints(&killed));
}

#[test]
fn a_checkpoint_killed_before_its_renaming_is_put_in_place() {
    let (config, data, dir) = (config(), data(), tempfile::tempdir().unwrap());
    start(&config, &data, dir.path()).unwrap();
    let before = contents(&step(dir.path(), 10));
    let unfinished = dir.path().join("checkpoints/.unfinished-10");
    fs::rename(step(dir.path(), 10), unfinished).unwrap();
    fs::remove_dir_all(step(dir.path(), 8)).unwrap();
    fs::remove_dir_all(step(dir.path(), 4)).unwrap_or_default();
    resume(&config, &data, dir.path()).unwrap();
    assert_eq!(contents(&step(dir.path(), 10)), before);
}

#[test]
fn a_run_killed_before_its_first_checkpoint_begins_again() {
    let (config, data, dir) = (config(), data(), tempfile::tempdir().unwrap());
    let (whole, killed) = (dir.path().join("whole"), dir.path().join("killed"));
    start(&config, &data, &whole).unwrap();
    start(&with_iterations(&config, 3), &data, &killed).unwrap();
    fs::remove_dir_all(step(&killed, 3)).unwrap();
    let (_, messages) = resume(&config, &data, &killed).unwrap();
    assert!(messages[0].contains("beginning again"), "{messages:?}");
    assert_eq!(weights(&whole), weights(&killed));
    assert_eq!(records(&whole), records(&killed));
}

#[test]
fn resuming_a_finished_run_changes_nothing() {
    let (config, data, dir) = (config(), data(), tempfile::tempdir().unwrap());
    let first = start(&config, &data, dir.path()).unwrap();
    let before = contents(&dir.path().join("checkpoints"));
    let (again, _) = resume(&config, &data, dir.path()).unwrap();
    assert_eq!((again.iterations, again.ending), (10, Ending::Finished));
    assert_eq!(again.evaluation, first.evaluation);
    assert_eq!(evaluated(dir.path()), [4, 8, 10]);
    assert_eq!(contents(&dir.path().join("checkpoints")), before);
}

#[test]
fn when_the_time_is_over_a_run_is_finished_and_more_time_goes_on_with_it() {
    let (data, dir) = (data(), tempfile::tempdir().unwrap());
    let mut config = TrainConfig {
        minutes: Some(0.5 / 60.0),
        ..with_iterations(&config(), 100_000)
    };
    let first = start(&config, &data, dir.path()).unwrap();
    assert_eq!(first.ending, Ending::Finished);
    assert!(first.iterations > 0 && first.iterations < 100_000);
    assert_eq!(evaluated(dir.path()).last(), Some(&first.iterations));
    let (again, _) = resume(&config, &data, dir.path()).unwrap();
    assert_eq!(again.iterations, first.iterations);
    assert!(again.seconds >= first.seconds && first.seconds >= 0.5);
    // All sessions count, with what they looked at.
    config.minutes = Some((again.seconds + 0.5) / 60.0);
    let (longer, _) = resume(&config, &data, dir.path()).unwrap();
    assert!(longer.iterations > first.iterations && longer.iterations < 100_000);
}

#[test]
fn fewer_steps_than_done_and_other_images_are_refused() {
    let (config, data, dir) = (config(), data(), tempfile::tempdir().unwrap());
    start(&config, &data, dir.path()).unwrap();
    let before = contents(dir.path());
    let error = resume(&with_iterations(&config, 6), &data, dir.path()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("iterations is 6, but the run has done 10"),
        "{error}"
    );
    let mut other = data.clone();
    other.train = images(8);
    let error = resume(&config, &other, dir.path()).unwrap_err();
    assert!(matches!(error, TrainError::OtherRun { .. }));
    assert!(
        error.to_string().contains("7 of 'stripes', not 8"),
        "{error}"
    );
    assert_eq!(contents(dir.path()), before);
}
