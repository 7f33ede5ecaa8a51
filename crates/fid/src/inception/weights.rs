//! Weights from PyTorch's file: each tensor there and in shape, or an error that names it.

use std::{collections::BTreeSet, path::Path};

use burn::prelude::*;
use burn_store::{ApplyError, ModuleSnapshot, ModuleStore, PytorchStore};
use shortrun_data::{Remote, RemoteFile};

use super::{InceptionV3, InceptionV3Config, network::NARROWER};
use crate::FidError;

/// Tensors of the file that features do not need: the classifiers, and counters.
const UNUSED: [&str; 2] = ["fc.", "AuxLogits."];
const COUNTER: &str = "num_batches_tracked";

/// Names that an error lists; there may be hundreds.
const LISTED: usize = 5;

/// The file with FID's weights, converted from TensorFlow's of 2015-12-05, and where it is fetched.
pub fn standard_weights() -> Remote {
    Remote {
        base_url: "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights".into(),
        files: vec![RemoteFile {
            name: "pt_inception-2015-12-05-6726825d.pth".into(),
            bytes: 95_628_359,
            sha256: "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2".into(),
        }],
    }
}

fn url() -> String {
    let remote = standard_weights();
    let name = remote.files.first().map_or("", |file| &file.name);
    format!("{}/{name}", remote.base_url)
}

/// A network with the weights of a file.
pub(super) fn load<B: Backend>(
    config: InceptionV3Config,
    path: &Path,
    device: &B::Device,
) -> Result<InceptionV3<B>, FidError> {
    if !NARROWER.contains(&config.narrower) {
        return Err(FidError::Narrower(config.narrower));
    }
    if !path.is_file() {
        return Err(FidError::NoWeights {
            path: path.to_owned(),
            url: url(),
        });
    }
    let unreadable = |reason: String| FidError::Unreadable {
        path: path.to_owned(),
        reason,
    };
    let mut network = config.init(device);
    let mut store = PytorchStore::from_file(path)
        .with_key_remapping("^Conv2d_", "conv2d_")
        .with_key_remapping("^Mixed_", "mixed_")
        .map_indices_contiguous(false)
        // What is wrong is gathered below, all of it.
        .validate(false)
        .allow_partial(true);
    let held = store
        .get_all_snapshots()
        .map_err(|error| unreadable(error.to_string()))?;
    let wrong_type: Vec<String> = held
        .iter()
        .filter(|(name, tensor)| is_needed(name) && tensor.dtype != burn::tensor::DType::F32)
        .map(|(name, tensor)| format!("{} ({:?})", in_file(name), tensor.dtype))
        .collect();
    let held: BTreeSet<String> = held.keys().cloned().collect();
    let applied = network
        .load_from(&mut store)
        .map_err(|error| unreadable(error.to_string()))?;

    let missing = applied.missing.iter().map(|(name, _)| in_file(name));
    let mut misshapen = Vec::new();
    let mut damaged = Vec::new();
    for error in &applied.errors {
        match error {
            ApplyError::ShapeMismatch {
                path,
                expected,
                found,
            } => misshapen.push(format!(
                "{} ({:?}, not {:?})",
                in_file(path),
                found.to_vec(),
                expected.to_vec()
            )),
            other => damaged.push(other.to_string()),
        }
    }
    let known: BTreeSet<&String> = applied.applied.iter().collect();
    let errors: BTreeSet<&String> = applied.errors.iter().map(place).collect();
    let unknown = held
        .iter()
        .filter(|name| is_needed(name) && !known.contains(name) && !errors.contains(name));
    let found = [
        ("missing", missing.collect()),
        ("of another shape", misshapen),
        ("unreadable", damaged),
        ("not float32", wrong_type),
        ("unknown", unknown.map(|name| in_file(name)).collect()),
    ];
    let reasons: Vec<String> = found.iter().filter_map(listed).collect();
    if reasons.is_empty() {
        return Ok(network);
    }
    Err(FidError::Weights {
        path: path.to_owned(),
        reason: reasons.join("; "),
        url: url(),
    })
}

fn place(error: &ApplyError) -> &String {
    match error {
        ApplyError::ShapeMismatch { path, .. }
        | ApplyError::DTypeMismatch { path, .. }
        | ApplyError::AdapterError { path, .. }
        | ApplyError::LoadError { path, .. } => path,
    }
}

fn is_needed(name: &str) -> bool {
    !UNUSED.iter().any(|unused| name.starts_with(unused)) && !name.ends_with(COUNTER)
}

/// A tensor's name as it is in the file.
fn in_file(name: &str) -> String {
    name.replacen("conv2d_", "Conv2d_", 1)
        .replacen("mixed_", "Mixed_", 1)
}

/// "missing: a, b and 3 more", of something.
fn listed((what, names): &(&str, Vec<String>)) -> Option<String> {
    let first = names.iter().take(LISTED).cloned().collect::<Vec<_>>();
    let more = names.len() - first.len();
    let first = first.join(", ");
    match (names.len(), more) {
        (0, _) => None,
        (_, 0) => Some(format!("{what}: {first}")),
        _ => Some(format!("{what}: {first} and {more} more")),
    }
}
