//! Standard normal numbers from a counter (Philox 4x32, ten rounds; Salmon, Moraes, Dror and Shaw,
//! *Parallel random numbers: as easy as 1, 2, 3*, 2011).

// As in the other kernels: written out.
#![allow(clippy::approx_constant)]

use cubecl::prelude::*;

/// What a number depends on beside its place: the first two words of the counter are its index and the
/// chain's step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoiseStream {
    /// The last two words of the counter.
    pub counter: [u32; 2],
    /// The key.
    pub key: [u32; 2],
}

const ROUNDS: u32 = 10;

impl NoiseStream {
    /// The words that a kernel completes with index and step.
    pub(super) fn header(self) -> [u32; 4] {
        let ([c2, c3], [k0, k1]) = (self.counter, self.key);
        [c2, c3, k0, k1]
    }
}

/// Number `index` of step `step`: the cosine of Box and Muller's pair.
#[cube]
pub(super) fn normal(
    index: u32,
    step: u32,
    counter2: u32,
    counter3: u32,
    key0: u32,
    key1: u32,
) -> f32 {
    let mut c0 = index;
    let mut c1 = step;
    let mut c2 = counter2;
    let mut c3 = counter3;
    let mut k0 = key0;
    let mut k1 = key1;
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
