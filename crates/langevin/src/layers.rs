//! How the flat latent vector is divided into layers.

use std::ops::Range;

use burn::prelude::*;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The sizes of the latent layers in the flat vector, top layer first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<usize>", into = "Vec<usize>")]
pub struct LatentLayers(Vec<usize>);

/// No layers, a layer of no dimensions, or too many dimensions in all.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "latent layers must be one or more sizes of at least 1, top first, and of at most {most} \
     together; found {0:?}",
    most = LatentLayers::MOST_DIMENSIONS
)]
pub struct LayersError(Vec<usize>);

impl LatentLayers {
    /// Dimensions at most, d: far more than a posterior is explored in.
    pub const MOST_DIMENSIONS: usize = 1_000_000;

    /// Layers of these sizes, top first.
    ///
    /// # Errors
    /// If there is no layer or one of size 0, or more than
    /// [`MOST_DIMENSIONS`](Self::MOST_DIMENSIONS) together.
    pub fn new(sizes: impl Into<Vec<usize>>) -> Result<Self, LayersError> {
        let sizes = sizes.into();
        let dim = sizes.iter().copied().fold(0, usize::saturating_add);
        if sizes.is_empty() || sizes.contains(&0) || dim > Self::MOST_DIMENSIONS {
            return Err(LayersError(sizes));
        }
        Ok(Self(sizes))
    }

    /// The size of each layer, top first.
    pub fn sizes(&self) -> &[usize] {
        &self.0
    }

    /// The number of layers, L.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The size of the flat vector, d.
    pub fn dim(&self) -> usize {
        self.0.iter().sum()
    }

    /// The columns of each layer in the flat vector, top first.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut end = 0;
        self.0.iter().map(move |size| {
            let start = end;
            end += size;
            start..end
        })
    }

    /// Splits `[n, d]` into one `[n, d_l]` for each layer, top first.
    pub fn split<B: Backend>(&self, latents: Tensor<B, 2>) -> Vec<Tensor<B, 2>> {
        let rows = latents.dims()[0];
        self.ranges()
            .map(|columns| latents.clone().slice([0..rows, columns]))
            .collect()
    }
}

impl TryFrom<Vec<usize>> for LatentLayers {
    type Error = LayersError;

    fn try_from(sizes: Vec<usize>) -> Result<Self, LayersError> {
        Self::new(sizes)
    }
}

impl From<LatentLayers> for Vec<usize> {
    fn from(layers: LatentLayers) -> Self {
        layers.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_the_vector_in_order() {
        let layers = LatentLayers::new([2, 3, 1]).unwrap();
        let ranges: Vec<_> = layers.ranges().collect();
        assert_eq!(ranges, [0..2, 2..5, 5..6]);
        assert_eq!(layers.dim(), 6);
    }

    #[test]
    fn empty_layers_are_refused() {
        assert!(LatentLayers::new([]).is_err());
        assert!(LatentLayers::new([4, 0]).is_err());
    }

    #[test]
    fn layers_whose_sum_is_too_large_are_refused() {
        let most = LatentLayers::MOST_DIMENSIONS;
        assert!(LatentLayers::new([most - 1, 1]).is_ok());
        for sizes in [[most, 1], [usize::MAX, 1], [usize::MAX, usize::MAX]] {
            assert!(LatentLayers::new(sizes).is_err());
        }
    }
}
