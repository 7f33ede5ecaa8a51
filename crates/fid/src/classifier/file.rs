//! Classifiers in files: safetensors, with how they were trained as JSON in the metadata.

use std::{fs, path::Path};

use burn::prelude::*;
use burn_store::{ModuleSnapshot, SafetensorsStore, SafetensorsStoreError};
use safetensors::SafeTensors;

use super::{Classifier, Trained, network::Network};
use crate::FidError;

const KEY: &str = "classifier";

impl<B: Backend> Classifier<B> {
    /// Writes the classifier: the whole of it, or nothing.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), FidError> {
        let fail = |reason: String| FidError::Write {
            path: path.to_owned(),
            reason,
        };
        let store_error = |error: SafetensorsStoreError| fail(error.to_string());
        let trained = serde_json::to_string(&self.trained).map_err(|e| fail(e.to_string()))?;
        let mut store = SafetensorsStore::from_bytes(None)
            .clear_metadata()
            .metadata(KEY, trained);
        self.network.save_into(&mut store).map_err(store_error)?;
        let bytes = store.get_bytes().map_err(store_error)?;
        let temporary = path.with_extension("unfinished");
        let written = fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
        written.map_err(|error| {
            let _ = fs::remove_file(&temporary);
            fail(error.to_string())
        })
    }

    /// Reads a classifier.
    ///
    /// # Errors
    /// [`FidError::Classifier`] if it is missing, damaged, or none.
    pub fn load(path: &Path, device: &B::Device) -> Result<Self, FidError> {
        let fail = |reason: String| FidError::Classifier {
            path: path.to_owned(),
            reason,
        };
        let bytes = fs::read(path).map_err(|error| fail(error.to_string()))?;
        // Offsets and lengths are checked against the file, too.
        let metadata = SafeTensors::deserialize(&bytes)
            .and_then(|_| SafeTensors::read_metadata(&bytes))
            .map_err(|error| fail(format!("not a whole safetensors file ({error})")))?;
        let metadata = metadata.1.metadata().clone().unwrap_or_default();
        let trained = metadata
            .get(KEY)
            .ok_or_else(|| fail("no classifier".into()))?;
        let trained: Trained =
            serde_json::from_str(trained).map_err(|error| fail(error.to_string()))?;
        let shape = [trained.channels, trained.size];
        let mut network = Network::new(shape, trained.classes, 0, device);
        let mut store = SafetensorsStore::from_bytes(Some(bytes));
        network
            .load_from(&mut store)
            .map_err(|error| fail(error.to_string()))?;
        Ok(Self { network, trained })
    }
}
