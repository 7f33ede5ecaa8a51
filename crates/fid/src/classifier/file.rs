//! Classifiers in files: safetensors, with how they were trained as JSON in the metadata.

use std::{fs, io::Write, path::Path};

use atomic_write_file::AtomicWriteFile;
use burn::prelude::*;
use burn_store::{ModuleSnapshot, SafetensorsStore, SafetensorsStoreError};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{Classifier, Trained, network::Network};
use crate::FidError;

const KEY: &str = "classifier";
const SIZES: [usize; 3] = [28, 32, 64];
const MOST_CLASSES: usize = 256;

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
        let written = AtomicWriteFile::open(path).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.commit()
        });
        written.map_err(|error| fail(error.to_string()))
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
        let not_whole = |error| fail(format!("not a whole safetensors file ({error})"));
        let tensors = SafeTensors::deserialize(&bytes).map_err(not_whole)?;
        for (name, tensor) in tensors.iter() {
            check(tensor).map_err(|reason| fail(format!("{name} {reason}")))?;
        }
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(not_whole)?;
        let metadata = metadata.metadata().clone().unwrap_or_default();
        let trained = metadata
            .get(KEY)
            .ok_or_else(|| fail("no classifier".into()))?;
        let trained: Trained =
            serde_json::from_str(trained).map_err(|error| fail(error.to_string()))?;
        let shape = [trained.channels, trained.size];
        let known = [1, 3].contains(&shape[0]) && SIZES.contains(&shape[1]);
        if !(known && (1..=MOST_CLASSES).contains(&trained.classes)) {
            return Err(fail(format!(
                "no classifier of {} channels, {} pixels and {} classes is made here",
                shape[0], shape[1], trained.classes
            )));
        }
        let mut network = Network::new(shape, trained.classes, 0, device);
        let mut store = SafetensorsStore::from_bytes(Some(bytes));
        network
            .load_from(&mut store)
            .map_err(|error| fail(error.to_string()))?;
        Ok(Self { network, trained })
    }
}

/// Burn would panic on weights of another type, and a network may hide that weights are no numbers.
fn check(tensor: TensorView<'_>) -> Result<(), String> {
    if tensor.dtype() != Dtype::F32 {
        return Err(format!("is {:?}, not F32", tensor.dtype()));
    }
    let (values, _) = tensor.data().as_chunks::<4>();
    let finite = values
        .iter()
        .all(|bytes| f32::from_le_bytes(*bytes).is_finite());
    finite
        .then_some(())
        .ok_or_else(|| "holds values that are no finite numbers".to_owned())
}
