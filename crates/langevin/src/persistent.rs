//! Chains that go on from where they were left: one for each training image.

use burn::{prelude::*, tensor::TensorData};
use serde::{Deserialize, Serialize};

/// The last latents of every training image, for chains that are not restarted (persistent
/// chains, as in alternating back-propagation: a baseline of the paper).
///
/// Kept on the host: `4 * d` bytes an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PersistentChains {
    dim: usize,
    /// Row-major `[images, dim]`.
    latents: Vec<f32>,
    /// Which images have been visited; the others start from the prior.
    visited: Vec<bool>,
}

impl PersistentChains {
    /// Chains for `images` images in `dim` dimensions, none visited yet.
    pub fn new(images: usize, dim: usize) -> Self {
        Self {
            dim,
            latents: vec![0.0; images * dim],
            visited: vec![false; images],
        }
    }

    /// The number of images and of dimensions.
    pub fn dims(&self) -> [usize; 2] {
        [self.visited.len(), self.dim]
    }

    /// Where the chains of these images start: where they were left, or the row of `fresh`
    /// (`[n, d]`) for an image that was never visited. Indices must be within the data set.
    pub fn start<B: Backend>(&self, images: &[usize], fresh: Tensor<B, 2>) -> Tensor<B, 2> {
        let device = fresh.device();
        let shape = fresh.dims();
        let mut rows: Vec<f32> = fresh.into_data().convert::<f32>().iter().collect();
        for (row, image) in rows.chunks_exact_mut(self.dim).zip(images) {
            if self.visited[*image] {
                row.copy_from_slice(&self.latents[image * self.dim..][..self.dim]);
            }
        }
        Tensor::from_data(TensorData::new(rows, shape), &device)
    }

    /// Keeps the ends (`[n, d]`) of the chains of these images.
    pub fn keep<B: Backend>(&mut self, images: &[usize], ends: Tensor<B, 2>) {
        let rows: Vec<f32> = ends.into_data().convert::<f32>().iter().collect();
        for (row, image) in rows.chunks_exact(self.dim).zip(images) {
            self.latents[image * self.dim..][..self.dim].copy_from_slice(row);
            self.visited[*image] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;

    #[test]
    fn visited_images_go_on_and_others_start_fresh() {
        let device = Default::default();
        let mut chains = PersistentChains::new(3, 2);
        chains.keep(&[2], Tensor::<Flex, 2>::from_floats([[5.0, 6.0]], &device));
        let fresh = Tensor::<Flex, 2>::from_floats([[1.0, 2.0], [3.0, 4.0]], &device);
        let start = chains.start(&[0, 2], fresh).into_data();
        assert_eq!(start.to_vec::<f32>().unwrap(), [1.0, 2.0, 5.0, 6.0]);
    }
}
