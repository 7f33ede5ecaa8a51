//! Mean and covariance of a stream, in float64.

use faer::{Accum, Mat, MatRef, Par, linalg::matmul::matmul};

use crate::FidError;

/// Rows that are added up at a time. A fixed number, so that sums do not depend on the batches in
/// which rows arrive: not in the last bit.
const BLOCK: usize = 256;

/// Adds up the mean and covariance of rows of d features that come a few at a time.
///
/// Sums are taken about the first row, `Σ (x - x_0)` and `Σ (x - x_0)(x - x_0)^T`, so that features
/// far from zero lose no digits.
#[derive(Clone, Debug)]
pub struct Moments {
    dim: usize,
    count: usize,
    shift: Vec<f64>,
    sum: Vec<f64>,
    products: Mat<f64>,
    /// Shifted rows not yet added.
    waiting: Vec<f64>,
}

/// A mean and a covariance: all that a Fréchet distance looks at.
#[derive(Clone, Debug, PartialEq)]
pub struct Gaussian {
    /// `[d]`
    pub mean: Vec<f64>,
    /// `[d, d]`, row by row.
    pub covariance: Vec<f64>,
}

impl Moments {
    /// Nothing yet, of features of `dim` values.
    pub fn new(dim: usize) -> Self {
        Self {
            dim,
            count: 0,
            shift: Vec::new(),
            sum: vec![0.0; dim],
            products: Mat::zeros(dim, dim),
            waiting: Vec::new(),
        }
    }

    /// Takes whole rows `[n, dim]`.
    pub fn push(&mut self, rows: &[f32]) {
        for row in rows.chunks_exact(self.dim.max(1)) {
            if self.count == 0 {
                self.shift = row.iter().map(|value| f64::from(*value)).collect();
            }
            let shifted = row.iter().zip(&self.shift);
            self.waiting
                .extend(shifted.map(|(value, shift)| f64::from(*value) - shift));
            self.count += 1;
            if self.waiting.len() == BLOCK * self.dim {
                self.add_waiting();
            }
        }
    }

    /// How many rows have come.
    pub fn count(&self) -> usize {
        self.count
    }

    fn add_waiting(&mut self) {
        for row in self.waiting.chunks_exact(self.dim.max(1)) {
            for (sum, value) in self.sum.iter_mut().zip(row) {
                *sum += value;
            }
        }
        let count = self.waiting.len() / self.dim.max(1);
        let rows = MatRef::from_row_major_slice(&self.waiting, count, self.dim);
        let products = self.products.as_mut();
        matmul(products, Accum::Add, rows.transpose(), rows, 1.0, Par::Seq);
        self.waiting.clear();
    }

    /// The mean, and the covariance divided by n - 1, as `numpy.cov` does.
    ///
    /// # Errors
    /// [`FidError::TooFew`] of fewer than two rows.
    pub fn gaussian(mut self) -> Result<Gaussian, FidError> {
        if self.count < 2 {
            return Err(FidError::TooFew {
                what: "mean and covariance",
                found: self.count,
                needed: 2,
            });
        }
        self.add_waiting();
        let (d, n) = (self.dim, self.count as f64);
        let mut covariance = Vec::with_capacity(d * d);
        for i in 0..d {
            for j in 0..d {
                // Symmetric to the last bit, whatever order a product was summed in.
                let product = 0.5 * (self.products[(i, j)] + self.products[(j, i)]);
                covariance.push((product - self.sum[i] * self.sum[j] / n) / (n - 1.0));
            }
        }
        let means = self.sum.iter().zip(&self.shift);
        Ok(Gaussian {
            mean: means.map(|(sum, shift)| shift + sum / n).collect(),
            covariance,
        })
    }
}

impl Gaussian {
    /// Length of a feature.
    pub fn dim(&self) -> usize {
        self.mean.len()
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// `n` rows of 3 features around 1000, which no sum of plain squares in float32 would survive.
    fn rows(n: usize) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        (0..3 * n)
            .map(|_| 1000.0 + rng.random_range(-1.0..1.0_f32))
            .collect()
    }

    fn moments(rows: &[f32], batch: usize) -> Gaussian {
        let mut moments = Moments::new(3);
        rows.chunks(3 * batch).for_each(|rows| moments.push(rows));
        moments.gaussian().unwrap()
    }

    #[test]
    fn the_definition_is_met() {
        let rows = rows(700);
        let found = moments(&rows, 50);
        let n = 700.0;
        let column = |c: usize| rows.iter().skip(c).step_by(3).map(|v| f64::from(*v));
        for i in 0..3 {
            let mean = column(i).sum::<f64>() / n;
            assert!((found.mean[i] - mean).abs() < 1e-9);
            for j in 0..3 {
                let of_j = column(j).sum::<f64>() / n;
                let pairs = column(i).zip(column(j));
                let sum: f64 = pairs.map(|(a, b)| (a - mean) * (b - of_j)).sum();
                assert!((found.covariance[3 * i + j] - sum / (n - 1.0)).abs() < 1e-10);
            }
        }
    }

    #[test]
    fn batches_make_no_difference_at_all() {
        let rows = rows(700);
        let whole = moments(&rows, 700);
        for batch in [1, 7, 256, 300] {
            assert_eq!(moments(&rows, batch), whole);
        }
    }

    #[test]
    fn one_image_has_no_covariance() {
        let mut moments = Moments::new(3);
        moments.push(&[1.0, 2.0, 3.0]);
        let error = moments.gaussian().unwrap_err().to_string();
        assert!(error.contains("1 images are too few, 2"), "{error}");
    }
}
