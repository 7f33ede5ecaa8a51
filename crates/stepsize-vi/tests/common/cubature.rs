//! Starts and noise over which the mean of a quadratic is exact.

use burn::{prelude::*, tensor::TensorData};
use nalgebra::DVector;

/// The 2 m points `±sqrt(m) u_i` with `m = d (K + 1)` and the unit vectors `u_i`, read as
/// `(e_0, n_0, …, n_{K-1})`.
///
/// The mean of any polynomial of degree 3 or less over them is its expectation over `N(0, I_m)`.
/// For a linear generator every objective is a quadratic in starts and noise, so its mean over
/// these chains is its expectation, without sampling error; so is the mean of its gradient.
#[derive(Clone, Debug)]
pub(crate) struct Cubature {
    pub(crate) d: usize,
    pub(crate) steps: usize,
}

/// The chains of `steps` steps in `d` dimensions.
pub(crate) fn cubature(d: usize, steps: usize) -> Cubature {
    Cubature { d, steps }
}

impl Cubature {
    fn dim(&self) -> usize {
        self.d * (self.steps + 1)
    }

    /// How many chains: 2 m.
    pub(crate) fn chains(&self) -> usize {
        2 * self.dim()
    }

    /// `(e_0, n_0, …, n_{K-1})` of chain `i`.
    pub(crate) fn chain(&self, i: usize) -> (DVector<f64>, Vec<DVector<f64>>) {
        let m = self.dim();
        let sign = if i < m { 1.0 } else { -1.0 };
        let value = sign * (m as f64).sqrt();
        let part = |k: usize| {
            DVector::from_fn(
                self.d,
                |j, _| {
                    if k * self.d + j == i % m { value } else { 0.0 }
                },
            )
        };
        (part(0), (1..=self.steps).map(part).collect())
    }

    /// The mean of `value(e_0, noise)` over all chains.
    pub(crate) fn mean(&self, value: impl Fn(&DVector<f64>, &[DVector<f64>]) -> f64) -> f64 {
        let all = (0..self.chains()).map(|i| {
            let (start, noise) = self.chain(i);
            value(&start, &noise)
        });
        all.sum::<f64>() / self.chains() as f64
    }

    /// Starts `[2 m, d]` and noise `[K, 2 m, d]`.
    pub(crate) fn tensors<B: Backend>(&self, device: &B::Device) -> (Tensor<B, 2>, Tensor<B, 3>) {
        let (n, d) = (self.chains(), self.d);
        let chains: Vec<_> = (0..n).map(|i| self.chain(i)).collect();
        let mut starts: Vec<f32> = Vec::with_capacity(n * d);
        let mut noise: Vec<f32> = Vec::with_capacity(self.steps * n * d);
        for (start, _) in &chains {
            starts.extend(start.iter().map(|v| *v as f32));
        }
        for k in 0..self.steps {
            for (_, all) in &chains {
                noise.extend(all[k].iter().map(|v| *v as f32));
            }
        }
        (
            Tensor::from_data(TensorData::new(starts, [n, d]), device),
            Tensor::from_data(TensorData::new(noise, [self.steps, n, d]), device),
        )
    }
}
