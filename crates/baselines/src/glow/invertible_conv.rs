//! Invertible 1x1 convolution.

use burn::{
    module::{Module, Param, ParamId},
    prelude::*,
    tensor::TensorData,
};
use nalgebra::DMatrix;
use rand_distr::{Distribution, StandardNormal};
use shortrun_langevin::{NoiseKey, Purpose};
use shortrun_model::Init;

use shortrun_eval::host;

/// One matrix for all pixels, `y = W x` over the channels, as `W = P L (U + D)`: a fixed
/// permutation P, unit lower triangular L, strictly upper triangular U, and a diagonal D of fixed
/// signs and learned logarithms, so that `log |det W|` is their sum. (Kingma and Dhariwal, 2018,
/// equations 10 and 11.)
#[derive(Module, Debug)]
pub struct InvertibleConv<B: Backend> {
    /// P: row i of W is row `rows[i]` of `L (U + D)`. `[c]`
    pub rows: Param<Tensor<B, 1, Int>>,
    /// The signs of D, 1 or -1: `[c]`
    pub signs: Param<Tensor<B, 1, Int>>,
    /// L below the diagonal, U above it, and on it the logarithms of `|D|`: `[c, c]`
    pub factors: Param<Tensor<B, 2>>,
}

impl<B: Backend> InvertibleConv<B> {
    /// A random rotation: the number of it among the flow's convolutions, and the seed, decide.
    pub(crate) fn new(channels: usize, seed: u64, number: u64, init: &Init<'_, B>) -> Self {
        let rotation = rotation(channels, seed, number).lu();
        let mut rows = DMatrix::from_fn(channels, 1, |row, _| row as i64);
        rotation.p().inv_permute_rows(&mut rows);
        let mut factors = rotation.lu_internal().clone();
        let diagonal = factors.diagonal();
        let signs = diagonal.iter().map(|d| if *d < 0.0 { -1 } else { 1 });
        factors.set_diagonal(&diagonal.map(|d| d.abs().ln()));
        // nalgebra stores columns.
        let values = factors.transpose().iter().map(|v| *v as f32).collect();
        Self {
            rows: fixed(rows.iter().copied().collect(), init.device()),
            signs: fixed(signs.collect(), init.device()),
            factors: init.given(values, [channels, channels]),
        }
    }

    /// The logarithms of `|D|`: `[c, 1]`
    fn logs(&self) -> Tensor<B, 2> {
        let factors = self.factors.val();
        let eye = Tensor::eye(factors.dims()[0], &factors.device());
        (factors * eye).sum_dim(1)
    }

    /// W: `[c, c]`
    fn weight(&self) -> Tensor<B, 2> {
        let factors = self.factors.val();
        let eye = Tensor::eye(factors.dims()[0], &factors.device());
        let signs = self.signs.val().float().unsqueeze_dim(1);
        let lower = factors.clone().tril(-1) + eye.clone();
        let upper = factors.triu(1) + eye * (self.logs().exp() * signs);
        lower.matmul(upper).select(0, self.rows.val())
    }

    /// # Shapes
    /// `[n, c, h, w]`, and `log |det|`: `[1]`
    pub fn forward(&self, x: Tensor<B, 4>) -> (Tensor<B, 4>, Tensor<B, 1>) {
        let [_, _, h, w] = x.dims();
        let log_det = self.logs().sum() * (h * w) as f64;
        (at_every_pixel(self.weight(), x), log_det)
    }

    /// The inverse of [`forward`](Self::forward), solved on the host in float64, without a tape to
    /// the weights.
    pub fn inverse(&self, y: Tensor<B, 4>) -> Tensor<B, 4> {
        at_every_pixel(self.inverse_weight(), y)
    }

    fn inverse_weight(&self) -> Tensor<B, 2> {
        let [channels, _] = self.factors.dims();
        let (rows, signs) = (integers(&self.rows), integers(&self.signs));
        let factors = DMatrix::from_row_iterator(
            channels,
            channels,
            host(self.factors.val()).into_iter().map(f64::from),
        );
        let mut lower = factors.lower_triangle();
        lower.fill_diagonal(1.0);
        let mut upper = factors.upper_triangle();
        for (i, sign) in signs.iter().enumerate() {
            upper[(i, i)] = factors[(i, i)].exp() * *sign as f64;
        }
        let mut permutation = DMatrix::zeros(channels, channels);
        for (i, row) in rows.iter().enumerate() {
            permutation[(*row as usize, i)] = 1.0;
        }
        let inverse = lower
            .solve_lower_triangular(&permutation)
            .and_then(|solved| upper.solve_upper_triangular(&solved))
            // A diagonal of zeros, after weights that are not finite.
            .unwrap_or_else(|| DMatrix::from_element(channels, channels, f64::NAN));
        let values: Vec<f32> = inverse.transpose().iter().map(|v| *v as f32).collect();
        let data = TensorData::new(values, [channels, channels]);
        Tensor::from_data(data, &self.factors.device())
    }
}

/// The orthogonal factor of a matrix of seeded normal numbers.
fn rotation(channels: usize, seed: u64, number: u64) -> DMatrix<f64> {
    let key = NoiseKey {
        seed,
        iteration: 0,
        purpose: Purpose::Rotation,
    };
    let mut rng = key.rng(number);
    DMatrix::from_fn(channels, channels, |_, _| StandardNormal.sample(&mut rng))
        .qr()
        .q()
}

/// The product of `matrix` `[c, c]` with the channels of each pixel of x `[n, c, h, w]`.
fn at_every_pixel<B: Backend>(matrix: Tensor<B, 2>, x: Tensor<B, 4>) -> Tensor<B, 4> {
    let [n, c, h, w] = x.dims();
    let product = matrix.unsqueeze::<3>().matmul(x.reshape([n, c, h * w]));
    product.reshape([n, c, h, w])
}

/// Numbers that travel with the weights but are not learned.
fn fixed<B: Backend>(values: Vec<i64>, device: &B::Device) -> Param<Tensor<B, 1, Int>> {
    let values = Tensor::from_data(values.as_slice(), device);
    Param::initialized(ParamId::new(), values)
}

fn integers<B: Backend>(values: &Param<Tensor<B, 1, Int>>) -> Vec<i64> {
    values.val().into_data().convert::<i64>().iter().collect()
}
