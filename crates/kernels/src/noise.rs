//! Standard normal numbers from a counter (Philox 4x32, ten rounds; Salmon, Moraes, Dror and Shaw,
//! *Parallel random numbers: as easy as 1, 2, 3*, 2011).

// As in the other kernels: written out.
#![allow(clippy::approx_constant)]

use cubecl::prelude::*;

/// What a number depends on beside its place: seed, iteration and purpose of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoiseStream {
    /// The seed of the run.
    pub seed: u64,
    /// The iteration the noise belongs to.
    pub iteration: u64,
    /// What it is for.
    pub purpose: u32,
}

const MULTIPLY: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: u32 = 10;

impl NoiseStream {
    /// Counter and key of number `index` of step `step`: `[c0, c1, c2, c3, k0, k1]`.
    ///
    /// The purpose shares a word with the step, the iteration keeps 32 bits.
    fn words(self, step: u32, index: u32) -> [u32; 6] {
        let [low, high] = [self.seed as u32, (self.seed >> 32) as u32];
        [
            index,
            step,
            self.iteration as u32,
            self.purpose | ((self.iteration >> 32) as u32) << 8,
            low,
            high,
        ]
    }

    /// The words that a kernel completes with step and index.
    pub(super) fn header(self) -> [u32; 4] {
        let [_, _, iteration, purpose, low, high] = self.words(0, 0);
        [iteration, purpose, low, high]
    }

    /// Number `index` of step `step`, as the GPU draws it (up to its rounding).
    pub fn normal(self, step: u32, index: u32) -> f64 {
        let [mut c0, mut c1, mut c2, mut c3, mut k0, mut k1] = self.words(step, index);
        for _ in 0..ROUNDS {
            let p0 = u64::from(MULTIPLY[0]) * u64::from(c0);
            let p1 = u64::from(MULTIPLY[1]) * u64::from(c2);
            (c0, c1, c2, c3) = (
                (p1 >> 32) as u32 ^ c1 ^ k0,
                p1 as u32,
                (p0 >> 32) as u32 ^ c3 ^ k1,
                p0 as u32,
            );
            k0 = k0.wrapping_add(WEYL[0]);
            k1 = k1.wrapping_add(WEYL[1]);
        }
        let _ = (c2, c3);
        let radius = (f64::from(c0 >> 8) + 0.5) / f64::from(1 << 24);
        let angle = (f64::from(c1 >> 8) + 0.5) / f64::from(1 << 24);
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }
}

/// As [`NoiseStream::normal`].
#[cube]
pub(super) fn normal(
    index: u32,
    step: u32,
    iteration: u32,
    purpose: u32,
    low: u32,
    high: u32,
) -> f32 {
    let mut c0 = index;
    let mut c1 = step;
    let mut c2 = iteration;
    let mut c3 = purpose;
    let mut k0 = low;
    let mut k1 = high;
    for _round in 0..ROUNDS {
        let h0 = u32::mul_hi(0xD251_1F53u32, c0);
        let l0 = 0xD251_1F53u32 * c0;
        let h1 = u32::mul_hi(0xCD9E_8D57u32, c2);
        let l1 = 0xCD9E_8D57u32 * c2;
        c0 = h1 ^ c1 ^ k0;
        c1 = l1;
        c2 = h0 ^ c3 ^ k1;
        c3 = l0;
        k0 += 0x9E37_79B9u32;
        k1 += 0xBB67_AE85u32;
    }
    let radius = (f32::cast_from(c0 >> 8) + 0.5f32) * 5.9604645e-8f32;
    let angle = (f32::cast_from(c1 >> 8) + 0.5f32) * 5.9604645e-8f32;
    f32::sqrt(-2.0f32 * f32::ln(radius)) * f32::cos(6.2831853f32 * angle)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: NoiseStream = NoiseStream {
        seed: 7,
        iteration: 3,
        purpose: 3,
    };

    #[test]
    fn numbers_are_standard_normal_and_streams_independent() {
        let draw = |stream: NoiseStream, step| -> Vec<f64> {
            (0..20_000).map(|i| stream.normal(step, i)).collect()
        };
        let first = draw(STREAM, 0);
        let moment = |p: i32| first.iter().map(|v| v.powi(p)).sum::<f64>() / 20_000.0;
        // Four standard errors of each moment at 20,000 draws.
        assert!(moment(1).abs() < 0.03);
        assert!((moment(2) - 1.0).abs() < 0.04);
        assert!((moment(4) - 3.0).abs() < 0.28);
        let others = [
            draw(STREAM, 1),
            draw(NoiseStream { seed: 8, ..STREAM }, 0),
            draw(
                NoiseStream {
                    iteration: 4,
                    ..STREAM
                },
                0,
            ),
            draw(
                NoiseStream {
                    purpose: 4,
                    ..STREAM
                },
                0,
            ),
        ];
        for other in others {
            let correlation = first.iter().zip(&other).map(|(a, b)| a * b).sum::<f64>() / 20_000.0;
            assert!(correlation.abs() < 0.03, "{correlation}");
        }
    }
}
