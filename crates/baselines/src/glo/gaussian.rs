//! A Gaussian fitted to latents, for samples.

use burn::{prelude::*, tensor::TensorData};
use nalgebra::{DMatrix, SymmetricEigen};
use shortrun_eval::EvalError;
use shortrun_fid::Moments;
use shortrun_train::TrainError;

use super::Latents;

/// `N(m, F F^T)`, with the mean and the full covariance of a set of latents.
#[derive(Clone, Debug)]
pub struct LatentGaussian {
    /// `[d]`
    mean: Vec<f64>,
    /// A root of the covariance.
    factor: DMatrix<f64>,
}

impl LatentGaussian {
    /// The mean and the covariance (divided by n - 1) of all latents.
    ///
    /// # Errors
    /// If there are fewer than two.
    pub fn fit(latents: &Latents) -> Result<Self, TrainError> {
        let [_, dim] = latents.dims();
        let mut moments = Moments::new(dim);
        moments.push(latents.values());
        let gaussian = moments.gaussian().map_err(|error| {
            TrainError::Eval(EvalError::Setting {
                setting: "the number of training images",
                reason: format!("is too small to fit a Gaussian to their latents: {error}"),
            })
        })?;
        let covariance = DMatrix::from_row_slice(dim, dim, &gaussian.covariance);
        let eigen = SymmetricEigen::new(covariance);
        // Of fewer images than dimensions some are 0, give or take rounding.
        let roots = eigen.eigenvalues.map(|value| value.max(0.0).sqrt());
        Ok(Self {
            mean: gaussian.mean,
            factor: eigen.eigenvectors * DMatrix::from_diagonal(&roots),
        })
    }

    /// Latents `[n, d]` of standard normal noise `[n, d]`.
    pub fn draw<B: Backend>(&self, noise: Tensor<B, 2>) -> Tensor<B, 2> {
        let device = noise.device();
        let dim = self.mean.len();
        let mean: Vec<f32> = self.mean.iter().map(|v| *v as f32).collect();
        // nalgebra stores columns, so these are the rows of the transpose.
        let factor: Vec<f32> = self.factor.iter().map(|v| *v as f32).collect();
        let factor = Tensor::from_data(TensorData::new(factor, [dim, dim]), &device);
        noise.matmul(factor) + Tensor::<B, 1>::from_data(mean.as_slice(), &device).unsqueeze()
    }
}
