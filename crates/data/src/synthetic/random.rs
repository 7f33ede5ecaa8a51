//! Draws that give the same numbers on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// One image's own stream of random numbers.
///
/// The distributions are written here, not taken from `rand`, whose values may change with its version.
pub(super) struct Draws(ChaCha8Rng);

impl Draws {
    /// The stream keyed by four words, little-endian.
    pub(super) fn keyed(words: [u64; 4]) -> Self {
        let mut key = [0; 32];
        for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Uniform on [0, 1), in steps of 2^-24: each is exact in `f32`.
    pub(super) fn unit(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / (1 << 24) as f32
    }

    /// Uniform between `low` and `high`.
    pub(super) fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Between `low` and `high`, the middle likelier (triangular).
    pub(super) fn middling(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * 0.5 * (self.unit() + self.unit())
    }

    /// True with probability `p`.
    pub(super) fn chance(&mut self, p: f32) -> bool {
        self.unit() < p
    }

    /// Uniform on 0..n.
    pub(super) fn below(&mut self, n: u32) -> u32 {
        ((u64::from(self.0.next_u32()) * u64::from(n)) >> 32) as u32
    }

    /// Nearly normal, mean 0 and variance 1: the sum of four uniforms, so that no logarithm is needed.
    pub(super) fn bell(&mut self) -> f32 {
        let bits = self.0.next_u64();
        let sum: u64 = (0..4).map(|k| (bits >> (16 * k)) & 0xffff).sum();
        (sum as f32 / 65536.0 - 2.0) * 1.732_050_8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bell_has_mean_zero_and_variance_one() {
        let mut draws = Draws::keyed([1, 2, 3, 4]);
        let values: Vec<f32> = (0..40_000).map(|_| draws.bell()).collect();
        let mean = values.iter().sum::<f32>() / 40_000.0;
        let variance = values.iter().map(|v| v * v).sum::<f32>() / 40_000.0;
        // Four standard errors.
        assert!(mean.abs() < 0.02, "{mean}");
        assert!((variance - 1.0).abs() < 0.03, "{variance}");
    }
}
