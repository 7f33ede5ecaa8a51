//! What weights say: a log-density, its standard error, and bits per dimension.

use std::f64::consts::LN_2;

use serde::Serialize;

/// An estimate of `log p(x)` from the weights of several chains.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LogDensity {
    /// The logarithm of the mean weight, in nats.
    pub value: f64,
    /// Its standard error by the spread of the weights, in nats: that of the weights over their
    /// mean. It is itself unreliable where few chains carry the weight.
    pub standard_error: f64,
    /// `(Σw)² / Σw²`: how many equal weights would spread as these do; from 1 to the number of
    /// chains.
    pub effective_chains: f64,
    /// Mean acceptance of the transitions.
    pub acceptance: f64,
}

/// `log p(x)` of an image that the model made.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bounds {
    /// In expectation not above the truth.
    pub lower: LogDensity,
    /// In expectation not below the truth.
    pub upper: LogDensity,
}

impl LogDensity {
    /// Of the logarithms of one or more weights.
    pub(super) fn of(log_weights: &[f64], acceptance: f64) -> Self {
        let n = log_weights.len() as f64;
        let largest = log_weights
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = log_weights
            .iter()
            .map(|log| (log - largest).exp())
            .collect();
        let mean = weights.iter().sum::<f64>() / n;
        let squares = weights.iter().map(|weight| weight.powi(2)).sum::<f64>();
        let variance = (squares - n * mean.powi(2)).max(0.0) / (n - 1.0);
        Self {
            value: largest + mean.ln(),
            standard_error: (variance / n).sqrt() / mean,
            effective_chains: (n * mean).powi(2) / squares,
            acceptance,
        }
    }

    /// Of the inverse of what the weights estimate.
    pub(super) fn inverse(self) -> Self {
        Self {
            value: -self.value,
            ..self
        }
    }
}

impl Bounds {
    /// Upper minus lower, in nats: in expectation not less than either bound's error.
    pub fn gap(&self) -> f64 {
        self.upper.value - self.lower.value
    }
}

/// `-log2 p(x) / D` for the density of D values scaled to [-1, 1].
pub fn bits_per_dimension(log_density: f64, values: usize) -> f64 {
    -log_density / (values as f64 * LN_2)
}

/// The same for values on the scale 0 to 255, where the density of each is smaller by 127.5:
/// `log2 127.5` (6.994) more. It bounds the bits of the bytes themselves, from above, only if the
/// images were dequantised.
pub fn bits_per_dimension_of_bytes(log_density: f64, values: usize) -> f64 {
    bits_per_dimension(log_density, values) + 127.5_f64.log2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_become_their_mean_and_its_error() {
        let logs = [1.0_f64, 2.0, 6.0].map(|weight| weight.ln() - 800.0);
        let found = LogDensity::of(&logs, 0.5);
        assert!((found.value - (3.0_f64.ln() - 800.0)).abs() < 1e-9);
        // Sample variance 7: sqrt(7 / 3) over 3.
        assert!((found.standard_error - (7.0_f64 / 3.0).sqrt() / 3.0).abs() < 1e-9);
        assert!((found.effective_chains - 81.0 / 41.0).abs() < 1e-9);
    }

    #[test]
    fn uniform_values_have_the_bits_of_their_range() {
        // Uniform on [-1, 1] has density 1/2: 1 bit; on 0 to 255 it has log2 255.
        let uniform = -(2.0_f64.ln()) * 10.0;
        assert!((bits_per_dimension(uniform, 10) - 1.0).abs() < 1e-12);
        assert!((bits_per_dimension_of_bytes(uniform, 10) - 255.0_f64.log2()).abs() < 1e-12);
    }
}
