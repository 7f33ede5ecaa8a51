//! Weights in and out: safetensors, in PyTorch's layouts.
//!
//! Names follow the order of computation, top layer first: `blocks.{i}.project.linear.weight`,
//! `blocks.{i}.project.deconv.weight`, `blocks.{i}.conv1.weight`, `stochastic.{i}.mean.conv.weight`
//! (from block i to latents i + 1; a ladder has none), `refine.{j}.conv1.weight`, `output.{j}.weight`, and so on.
//! Linear weights are `[out, in]`, convolutions `[out, in, kh, kw]`, transposed convolutions
//! `[in, out, kh, kw]`. The configuration travels as JSON in the metadata, key `config`.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use atomic_write_file::AtomicWriteFile;
use burn::prelude::*;
use burn_store::{
    BurnToPyTorchAdapter, ModuleSnapshot, PyTorchToBurnAdapter, SafetensorsStore,
    SafetensorsStoreError,
};
use safetensors::{Dtype, SafeTensors};
use thiserror::Error;

use crate::{ConfigError, GeneratorConfig, MultiLayerGenerator};

const CONFIG_KEY: &str = "config";

/// A weights file that cannot be read or written.
#[derive(Debug, Error)]
pub enum WeightsError {
    /// The file system refused.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// Not a safetensors file, or cut short.
    #[error("{path} is not a whole safetensors file: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// No configuration in the metadata, or one that does not parse.
    #[error(
        "{path} has no generator configuration in its metadata (key 'config', as JSON): {reason}; \
         export it with `shortrun export`"
    )]
    Config {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A configuration that makes no sense.
    #[error("{path}: {source}")]
    Shape {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ConfigError,
    },
    /// Tensors are missing or have another shape.
    #[error("{path} does not hold this generator's weights: {reason}")]
    Tensors {
        /// The file.
        path: PathBuf,
        /// Which tensors.
        reason: String,
    },
}

/// Writes the generator's weights and configuration.
///
/// # Errors
/// If the file cannot be written.
pub fn save<B: Backend>(
    generator: &MultiLayerGenerator<B>,
    path: impl AsRef<Path>,
) -> Result<(), WeightsError> {
    let path = path.as_ref();
    let file = |source| WeightsError::File {
        path: path.to_owned(),
        source,
    };
    let store_error = |error: SafetensorsStoreError| file(std::io::Error::other(error));
    let config = serde_json::to_string(generator.config()).map_err(|e| file(e.into()))?;
    let mut store = SafetensorsStore::from_bytes(None)
        // One key only: with more, their order in the file would change from run to run.
        .clear_metadata()
        .metadata(CONFIG_KEY, config)
        .with_to_adapter(BurnToPyTorchAdapter);
    generator.save_into(&mut store).map_err(store_error)?;
    let bytes = store.get_bytes().map_err(store_error)?;
    // Whole or not at all: a full disk leaves an older file as it was.
    let mut out = AtomicWriteFile::open(path).map_err(file)?;
    out.write_all(&bytes).map_err(file)?;
    out.commit().map_err(file)
}

/// Reads a generator: its configuration, then its weights. Every tensor must be there, in shape.
/// To learn on from these weights, read them on an autodiff backend.
///
/// # Errors
/// If the file is missing, damaged, without configuration, or lacks tensors.
pub fn load<B: Backend>(
    path: impl AsRef<Path>,
    device: &B::Device,
) -> Result<MultiLayerGenerator<B>, WeightsError> {
    let path = path.as_ref();
    let bytes = fs::read(path).map_err(|source| WeightsError::File {
        path: path.to_owned(),
        source,
    })?;
    let config = read_config(path, &bytes)?;
    let mut generator = config
        .try_init(0, device)
        .map_err(|source| WeightsError::Shape {
            path: path.to_owned(),
            source,
        })?;
    let mut store =
        SafetensorsStore::from_bytes(Some(bytes)).with_from_adapter(PyTorchToBurnAdapter);
    generator
        .load_from(&mut store)
        .map_err(|error| WeightsError::Tensors {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
    Ok(generator)
}

fn read_config(path: &Path, bytes: &[u8]) -> Result<GeneratorConfig, WeightsError> {
    let path = path.to_owned();
    // Checks offsets and lengths against the file, not the header alone.
    let header = SafeTensors::deserialize(bytes)
        .and_then(|tensors| Ok((tensors, SafeTensors::read_metadata(bytes)?.1)));
    let (tensors, metadata) = match header {
        Ok(header) => header,
        Err(error) => {
            let reason = error.to_string();
            return Err(WeightsError::Format { path, reason });
        }
    };
    // Burn would panic on weights of another type.
    if let Some((name, tensor)) = tensors.iter().find(|(_, t)| t.dtype() != Dtype::F32) {
        let reason = format!("{name} is {:?}, not F32", tensor.dtype());
        return Err(WeightsError::Tensors { path, reason });
    }
    let text = metadata
        .metadata()
        .as_ref()
        .and_then(|entries| entries.get(CONFIG_KEY));
    let parsed = match text {
        Some(text) => serde_json::from_str(text).map_err(|error| error.to_string()),
        None => Err("the key is missing".to_owned()),
    };
    parsed.map_err(|reason| WeightsError::Config { path, reason })
}
