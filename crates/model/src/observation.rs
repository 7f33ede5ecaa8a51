//! What the generator has to explain: images, their noise level, and which pixels were seen.

use std::ops::Range;

use burn::{prelude::*, tensor::backend::AutodiffBackend};
use thiserror::Error;

/// Images under the observation model `x = g(e) + N(0, σ²)`.
#[derive(Clone, Debug)]
pub struct Observation<B: Backend> {
    images: Tensor<B, 4>,
    mask: Option<Tensor<B, 4>>,
    sigma: f64,
}

/// An observation that makes no sense.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ObservationError {
    /// Zero, negative or not a number.
    #[error("sigma, the standard deviation of a pixel, must be finite and above 0; found {0}")]
    Sigma(f64),
    /// A mask of another shape.
    #[error(
        "the mask has shape {mask:?}; it must be 1 or the images' own size in each of {images:?}"
    )]
    MaskShape {
        /// Shape of the mask.
        mask: [usize; 4],
        /// Shape of the images.
        images: [usize; 4],
    },
}

impl<B: Backend> Observation<B> {
    /// Images `[n, c, h, w]` in [-1, 1], seen with noise of standard deviation `sigma`.
    ///
    /// # Errors
    /// If `sigma` is not a positive number.
    pub fn new(images: Tensor<B, 4>, sigma: f64) -> Result<Self, ObservationError> {
        if !(sigma.is_finite() && sigma > 0.0) {
            return Err(ObservationError::Sigma(sigma));
        }
        Ok(Self {
            images,
            mask: None,
            sigma,
        })
    }

    /// Only pixels where the mask is 1 were seen; where it is 0 they do not count.
    ///
    /// # Errors
    /// If a size of the mask is neither 1 nor that of the images.
    pub fn with_mask(mut self, mask: Tensor<B, 4>) -> Result<Self, ObservationError> {
        let (images, shape) = (self.images.dims(), mask.dims());
        if shape.iter().zip(images).any(|(m, i)| *m != 1 && *m != i) {
            return Err(ObservationError::MaskShape {
                mask: shape,
                images,
            });
        }
        self.mask = Some(mask);
        Ok(self)
    }

    /// The images, `[n, c, h, w]`.
    pub fn images(&self) -> &Tensor<B, 4> {
        &self.images
    }

    /// σ.
    pub fn sigma(&self) -> f64 {
        self.sigma
    }

    /// D, how many values of each example were seen: `[n]`.
    pub fn values_seen(&self) -> Vec<f64> {
        let shape = self.images.dims();
        match &self.mask {
            None => vec![shape[1..].iter().product::<usize>() as f64; shape[0]],
            Some(mask) => {
                let seen: Tensor<B, 2> = mask.clone().expand(shape).flatten(1, 3);
                seen.sum_dim(1)
                    .into_data()
                    .convert::<f64>()
                    .iter()
                    .collect()
            }
        }
    }

    /// `g - x` where a pixel was seen, 0 elsewhere: `[n, c, h, w]`.
    pub(crate) fn residual(&self, generated: Tensor<B, 4>) -> Tensor<B, 4> {
        let residual = generated - self.images.clone();
        match &self.mask {
            Some(mask) => residual * mask.clone(),
            None => residual,
        }
    }

    /// `|r|² / (2 σ²)` of each example's residual: `[n]`.
    pub(crate) fn energy_of_residual(&self, residual: Tensor<B, 4>) -> Tensor<B, 1> {
        let squares: Tensor<B, 2> = residual.square().flatten(1, 3);
        squares.sum_dim(1).squeeze_dim(1) * self.precision() * 0.5
    }

    /// `|x - g|² / (2 σ²)` of each example, over the pixels seen: `[n]`.
    pub fn energy(&self, generated: Tensor<B, 4>) -> Tensor<B, 1> {
        self.energy_of_residual(self.residual(generated))
    }

    /// 1 where a pixel was seen, 0 elsewhere, `[n, c, h, w]`; `None` if all were.
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    pub(crate) fn seen(&self) -> Option<Tensor<B, 4>> {
        let expand = |mask: &Tensor<B, 4>| mask.clone().expand(self.images.dims());
        self.mask.as_ref().map(expand)
    }

    /// `1 / σ²`.
    pub(crate) fn precision(&self) -> f64 {
        1.0 / (self.sigma * self.sigma)
    }

    /// `1 / σ²` where a pixel was seen, 0 elsewhere: `[n, c, h, w]`.
    pub(crate) fn pixel_precision(&self) -> Tensor<B, 4> {
        let seen = match &self.mask {
            Some(mask) => mask.clone().expand(self.images.dims()),
            None => self.images.ones_like(),
        };
        seen * self.precision()
    }

    /// Some of the examples.
    pub(crate) fn examples(&self, range: Range<usize>) -> Self {
        let rows = |of: &Tensor<B, 4>| match of.dims()[0] {
            1 => of.clone(),
            _ => of.clone().slice_dim(0, range.clone()),
        };
        Self {
            images: self.images.clone().slice_dim(0, range.clone()),
            mask: self.mask.as_ref().map(rows),
            sigma: self.sigma,
        }
    }

    /// Every example `times` times over, the copies one after the other.
    pub fn repeated(&self, times: usize) -> Self {
        let repeat = |of: &Tensor<B, 4>| {
            let [n, c, h, w] = of.dims();
            of.clone()
                .unsqueeze_dim::<5>(1)
                .expand([n, times, c, h, w])
                .reshape([n * times, c, h, w])
        };
        // A mask for all examples stays one.
        let mask = |of: &Tensor<B, 4>| match of.dims()[0] {
            1 => of.clone(),
            _ => repeat(of),
        };
        Self {
            images: repeat(&self.images),
            mask: self.mask.as_ref().map(mask),
            sigma: self.sigma,
        }
    }

    /// The same observation on an autodiff backend, as a constant.
    pub fn from_inner(inner: Observation<B::InnerBackend>) -> Self
    where
        B: AutodiffBackend,
    {
        Self {
            images: Tensor::from_inner(inner.images),
            mask: inner.mask.map(Tensor::from_inner),
            sigma: inner.sigma,
        }
    }
}
