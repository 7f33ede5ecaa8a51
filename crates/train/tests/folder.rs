//! Folders that cannot be used.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::{fs, process::Command};

use burn::backend::Flex;
use common::*;
use shortrun_train::{RunFolder, Session, ShortRunMethod, TrainError};

#[test]
fn an_occupied_folder_is_not_touched() {
    let (config, data, dir) = (config(), data(), tempfile::tempdir().unwrap());
    start(&config, &data, dir.path()).unwrap();
    let before = contents(dir.path());
    let error = start(&config, &data, dir.path()).unwrap_err();
    assert!(matches!(error, TrainError::Occupied(_)));
    assert!(error.to_string().contains("--resume"), "{error}");
    assert_eq!(contents(dir.path()), before);
    // Neither are its checkpoints once config.toml is lost.
    fs::remove_file(dir.path().join("config.toml")).unwrap();
    let before = contents(dir.path());
    let error = start(&config, &data, dir.path()).unwrap_err();
    assert!(
        error.to_string().contains("config.toml is missing"),
        "{error}"
    );
    assert_eq!(contents(dir.path()), before);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.join("run"), "/proc/no-such-place/run".into()] {
        let error = start(&config(), &data(), &path).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }
}

#[test]
fn a_folder_without_a_run_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = resume(&config(), &data(), dir.path()).unwrap_err();
    assert!(matches!(error, TrainError::NoRun { .. }));
    assert!(
        error.to_string().contains("shortrun train --run"),
        "{error}"
    );
    assert_eq!(contents(dir.path()), []);
}

#[test]
fn two_sessions_do_not_share_a_folder() {
    let (config, data, dir) = (config(), data(), tempfile::tempdir().unwrap());
    let device = Default::default();
    let folder = RunFolder::create(dir.path(), "").unwrap();
    let model: Tiny = generator().init(1, &device);
    let layers = generator().latents;
    let method = ShortRunMethod::new(model, layers, &config, data.train.len(), &device);
    let first = Session::<Flex, _>::start(config.clone(), method, &data, folder, &device);
    let error = resume(&config, &data, dir.path()).unwrap_err();
    assert!(matches!(error, TrainError::Busy(_)), "{error}");
    drop(first);
    resume(&config, &data, dir.path()).unwrap();
}

#[test]
fn a_full_disk_is_named_and_the_run_goes_on_once_there_is_room() {
    let (mut config, data, dir) = (config(), data(), tempfile::tempdir().unwrap());
    let mounted = |size: &str, options: &str| {
        Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("{options}size={size}"),
                "tmpfs",
            ])
            .arg(dir.path())
            .output()
            .is_ok_and(|output| output.status.success())
    };
    if !mounted("4m", "") {
        println!("skipped: a small disk cannot be mounted here");
        return;
    }
    let path = dir.path().join("run");
    start(&config, &data, &path).unwrap();
    let before = contents(&path.join("checkpoints"));
    fs::write(dir.path().join("ballast"), vec![1; 8 << 20]).unwrap_err();
    config.iterations = 14;
    let error = resume(&config, &data, &path).unwrap_err().to_string();
    let after = contents(&path.join("checkpoints"));
    let grown = mounted("16m", "remount,");
    let resumed = resume(&config, &data, &path);
    Command::new("umount").arg(dir.path()).status().unwrap();
    assert!(error.contains("No space left"), "{error}");
    assert!(error.contains("run/"), "{error}");
    assert!(before.iter().all(|file| after.contains(file)));
    assert!(grown);
    assert_eq!(resumed.unwrap().0.iterations, 14);
}
