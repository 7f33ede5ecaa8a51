//! The `shortrun` program, and a run small enough for tests.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use safetensors::SafeTensors;
use serde_json::Value;

/// The program, in `folder`.
pub fn shortrun(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("shortrun"));
    command.args(arguments).current_dir(folder);
    command
}

/// What the program says and how it ends.
pub fn output(folder: &Path, arguments: &[&str]) -> Output {
    shortrun(folder, arguments).output().unwrap()
}

/// Standard output of a command that succeeds.
pub fn done(folder: &Path, arguments: &[&str]) -> String {
    let output = output(folder, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// The one JSON object that a command prints.
pub fn json(folder: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&done(folder, arguments)).unwrap()
}

/// Standard error of a command that ends with `code`: no panic, and nothing on standard output.
pub fn refused(folder: &Path, arguments: &[&str], code: i32) -> String {
    let output = output(folder, arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
    assert!(!error.contains("panicked"), "{error}");
    assert!(error.starts_with("error: "), "{error}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    error
}

/// `train` with a generator and images so small that an iteration takes a moment.
pub const TINY: &[&str] = &[
    "train",
    "--data",
    "tiny.npy",
    "--size",
    "28",
    "--set",
    "generator.features=4",
    "--set",
    "generator.latents=[2, 3]",
    "--set",
    "generator.head_width={ fixed = 3 }",
    "--set",
    "batch_size=3",
    "--set",
    "langevin.steps=3",
    "--set",
    "langevin.step_size.eta=0.05",
    "--set",
    "checkpoint.every=4",
    "--set",
    "log_every=1",
    "--set",
    "evaluation={ images = 2, samples = 2 }",
];

/// `TINY` and more.
pub fn tiny<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [TINY, more].concat()
}

/// `count` grey images of 28 x 28 pixels as a .npy file of unsigned bytes.
pub fn write_npy(path: &Path, count: usize) {
    let pixels = (0..count * 28 * 28).map(|place| {
        let (image, y, x) = (place / 784, place % 784 / 28, place % 28);
        let along = if image % 2 == 0 { x } else { y };
        if (along / (2 + image % 5)) % 2 == 0 {
            30
        } else {
            220
        }
    });
    fs::write(
        path,
        npy("|u1", &[count, 28, 28, 1], &pixels.collect::<Vec<u8>>()),
    )
    .unwrap();
}

/// The bytes of a .npy file.
pub fn npy(dtype: &str, shape: &[usize], values: &[u8]) -> Vec<u8> {
    let shape: Vec<String> = shape.iter().map(usize::to_string).collect();
    let mut header = format!(
        "{{'descr': '{dtype}', 'fortran_order': False, 'shape': ({},), }}",
        shape.join(", ")
    );
    while (header.len() + 11) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values);
    bytes
}

/// A folder with `tiny.npy` in it.
pub fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_npy(&folder.path().join("tiny.npy"), 20);
    folder
}

/// A folder with `tiny.npy` and a run of six iterations in it.
pub fn trained() -> tempfile::TempDir {
    let folder = workplace();
    done(folder.path(), &tiny(&["--run", "run", "--steps", "6"]));
    folder
}

/// Every file of a run that training must not touch, with its bytes.
pub fn kept(run: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = vec![run.join("config.toml"), run.join("metrics.jsonl")];
    for checkpoint in fs::read_dir(run.join("checkpoints")).unwrap() {
        let entries = fs::read_dir(checkpoint.unwrap().path()).unwrap();
        files.extend(entries.map(|entry| entry.unwrap().path()));
    }
    files.sort();
    let read = |file: PathBuf| (file.clone(), fs::read(file).unwrap());
    files.into_iter().map(read).collect()
}

/// The lines of `metrics.jsonl`, without the seconds.
pub fn metrics(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let line = |line| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        line.as_object_mut().unwrap().remove("seconds");
        line
    };
    text.lines().map(line).collect()
}

/// The weights of a run's newest checkpoint by name. (Checkpoints also hold random identifiers, and
/// the order of an exported file's metadata changes.)
pub fn weights(folder: &Path, run: &str) -> BTreeMap<String, Vec<u8>> {
    let out = format!("{run}.safetensors");
    done(folder, &["export", "--run", run, "--out", &out]);
    let bytes = fs::read(folder.join(out)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.tensors().into_iter();
    tensors
        .map(|(name, tensor)| (name, tensor.data().to_vec()))
        .collect()
}
