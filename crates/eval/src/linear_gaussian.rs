//! A generator for which everything is closed form: `x = b + W e`, so that
//! `p(x) = N(x; b, W Wᵀ + σ² I)`.

use burn::{
    backend::{Autodiff, Flex},
    module::{Module, Param},
    prelude::*,
    tensor::TensorData,
};
use nalgebra::{DMatrix, DVector};
use shortrun_model::Generator;

pub(crate) const SIDE: usize = 4;
pub(crate) const VALUES: usize = SIDE * SIDE;
pub(crate) const D: usize = 3;
pub(crate) const SIGMA: f64 = 0.3;

/// Images of 4 x 4 grey pixels from three latents.
#[derive(Module, Debug)]
pub(crate) struct Linear<B: Backend> {
    weight: Param<Tensor<B, 2>>,
    bias: Param<Tensor<B, 2>>,
}

impl<B: Backend> Generator<B> for Linear<B> {
    fn forward(&self, latents: Tensor<B, 2>) -> Tensor<B, 4> {
        let [n, _] = latents.dims();
        (latents.matmul(self.weight.val()) + self.bias.val()).reshape([n, 1, SIDE, SIDE])
    }
}

fn weight(latent: usize, pixel: usize) -> f64 {
    let angle = pixel as f64 + 0.5;
    [0.4 * angle.sin(), 0.3 * (1.7 * angle).cos(), 0.2][latent]
}

fn bias(pixel: usize) -> f64 {
    0.1 * (pixel as f64 - 7.0) / 8.0
}

pub(crate) fn generator() -> Linear<Autodiff<Flex>> {
    let tensor = |rows: usize, value: &dyn Fn(usize, usize) -> f64| {
        let values =
            (0..rows).flat_map(|row| (0..VALUES).map(move |pixel| value(row, pixel) as f32));
        let values = TensorData::new(values.collect::<Vec<_>>(), [rows, VALUES]);
        Param::from_tensor(Tensor::from_data(values, &Default::default()))
    };
    Linear {
        weight: tensor(D, &weight),
        bias: tensor(1, &|_, pixel| bias(pixel)),
    }
}

/// `log N(x; b, W Wᵀ + σ² I)` in float64.
pub(crate) fn log_density(x: &[f32]) -> f64 {
    let w = DMatrix::from_fn(VALUES, D, |pixel, latent| weight(latent, pixel));
    let covariance = &w * w.transpose() + DMatrix::identity(VALUES, VALUES) * (SIGMA * SIGMA);
    let off = DVector::from_fn(VALUES, |pixel, _| f64::from(x[pixel]) - bias(pixel));
    let root = covariance.cholesky().unwrap();
    let log_det = 2.0 * root.l().diagonal().map(f64::ln).sum();
    let quadratic = off.dot(&root.solve(&off));
    -0.5 * (quadratic + log_det + VALUES as f64 * std::f64::consts::TAU.ln())
}
