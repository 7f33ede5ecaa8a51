//! Inception v3 as FID uses it.

mod blocks;
mod conv;
mod network;
mod weights;

use std::path::Path;

use burn::{
    prelude::*,
    tensor::{
        module::interpolate,
        ops::{InterpolateMode, InterpolateOptions},
    },
};

pub use network::{InceptionV3, InceptionV3Config};
pub use weights::standard_weights;

use crate::{Extractor, FidError};

/// Side of the images that the network sees.
const SIDE: usize = 299;

/// Features of FID: images scaled up to 299 x 299 (bilinear, pixel centres aligned, no smoothing), in
/// [-1, 1], and averaged over what is left of them after the last block. Grey images are repeated in
/// three channels.
#[derive(Debug)]
pub struct Inception<B: Backend> {
    network: InceptionV3<B>,
    sha256: String,
}

impl<B: Backend> Inception<B> {
    /// Reads the standard weights from a PyTorch file.
    ///
    /// # Errors
    /// [`FidError::NoWeights`] if the file is not there, [`FidError::Unreadable`] if it is none of
    /// PyTorch's, [`FidError::Weights`] with their names if tensors are missing, of another shape or
    /// unknown.
    pub fn load(path: &Path, device: &B::Device) -> Result<Self, FidError> {
        Self::load_as(InceptionV3Config::new(), path, device)
    }

    /// Likewise, of another width.
    ///
    /// # Errors
    /// [`FidError::Narrower`] if there is no such width, else as [`load`](Self::load).
    pub fn load_as(
        config: InceptionV3Config,
        path: &Path,
        device: &B::Device,
    ) -> Result<Self, FidError> {
        let network = weights::load(config, path, device)?;
        let sha256 = shortrun_data::sha256(path)?;
        Ok(Self { network, sha256 })
    }

    /// Whether these are the weights that published numbers were made with.
    pub fn is_standard(&self) -> bool {
        let standard = standard_weights();
        standard.files.iter().any(|file| file.sha256 == self.sha256)
    }
}

impl<B: Backend> Extractor<B> for Inception<B> {
    fn name(&self) -> String {
        let weights = &self.sha256[..8];
        let which = if self.is_standard() {
            "the standard"
        } else {
            "OTHER"
        };
        format!("Inception v3 of FID, {which} weights (SHA-256 {weights})")
    }

    fn distance_name(&self) -> &'static str {
        if self.is_standard() {
            "FID"
        } else {
            "Fréchet distance on Inception v3 with other than the standard weights (not FID)"
        }
    }

    fn dim(&self) -> usize {
        self.network.features()
    }

    fn features(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let images = match images.dims()[1] {
            1 => images.repeat_dim(1, 3),
            _ => images,
        };
        let bilinear = InterpolateOptions::new(InterpolateMode::Bilinear).with_align_corners(false);
        let large = interpolate(images, [SIDE, SIDE], bilinear);
        self.network.forward(large * 2.0 - 1.0)
    }
}
