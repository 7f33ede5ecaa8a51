//! Chains that go on from where they were left: one for each training image.

use burn::{prelude::*, tensor::TensorData};

/// The last latents of every training image, for chains that are not restarted (persistent
/// chains, as in alternating back-propagation: a baseline of the paper).
///
/// Kept on the host: `4 * d` bytes an image.
#[derive(Clone, Debug, PartialEq)]
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

    /// What [`to_bytes`](Self::to_bytes) takes, and memory but for a few bytes: `4 d + 1` for each
    /// image, and 16.
    pub fn size_in_bytes(&self) -> usize {
        16 + self.visited.len() * (4 * self.dim + 1)
    }

    /// The number of images and of dimensions.
    pub fn dims(&self) -> [usize; 2] {
        [self.visited.len(), self.dim]
    }

    /// Where all chains are, row-major `[images, d]`; zeros where none has been.
    pub fn latents(&self) -> &[f32] {
        &self.latents
    }

    /// The chains as bytes: `dim` and the number of images as 8 bytes each, one byte for each image (1: visited), then the latents
    /// as float32; all little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = (self.dim as u64).to_le_bytes().to_vec();
        bytes.extend((self.visited.len() as u64).to_le_bytes());
        bytes.extend(self.visited.iter().map(|visited| u8::from(*visited)));
        bytes.extend(self.latents.iter().flat_map(|value| value.to_le_bytes()));
        bytes
    }

    /// The chains that [`to_bytes`](Self::to_bytes) wrote; `None` if the length is not right.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (dim, rest) = bytes.split_first_chunk::<8>()?;
        let (images, rest) = rest.split_first_chunk::<8>()?;
        let dim = usize::try_from(u64::from_le_bytes(*dim)).ok()?;
        let images = usize::try_from(u64::from_le_bytes(*images)).ok()?;
        let (visited, values) = rest.split_at_checked(images)?;
        let (values, tail) = values.as_chunks::<4>();
        if !tail.is_empty() || values.len() != images.checked_mul(dim)? {
            return None;
        }
        Some(Self {
            dim,
            latents: values.iter().map(|v| f32::from_le_bytes(*v)).collect(),
            visited: visited.iter().map(|visited| *visited != 0).collect(),
        })
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
        self.keep_rows(images, &rows);
    }

    /// As [`keep`](Self::keep), of ends on the host, row by row.
    pub fn keep_rows(&mut self, images: &[usize], ends: &[f32]) {
        for (row, image) in ends.chunks_exact(self.dim).zip(images) {
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
    fn bytes_give_the_same_chains_back_and_half_of_them_nothing() {
        let device = Default::default();
        let mut chains = PersistentChains::new(3, 2);
        chains.keep(&[1], Tensor::<Flex, 2>::from_floats([[5.0, 6.0]], &device));
        let bytes = chains.to_bytes();
        assert_eq!(bytes.len(), chains.size_in_bytes());
        assert_eq!(PersistentChains::from_bytes(&bytes), Some(chains));
        assert_eq!(
            PersistentChains::from_bytes(&bytes[..bytes.len() / 2]),
            None
        );
    }

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
