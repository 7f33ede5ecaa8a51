//! The micro-kernel.

use super::{super::simd::Simd, padded::Padded};

/// The convolution at `R` vectors of pixels from `pixel` on for the `C` output channels of a block:
/// `C * R` sums in registers; each step loads `R` vectors of pixels and `C` weights, for `C * R`
/// multiply-adds.
///
/// # Safety
/// The processor has the instructions of `S`.
#[inline(always)]
#[expect(
    clippy::needless_range_loop,
    reason = "counted loops over constants unroll"
)]
pub(super) unsafe fn sums<S: Simd, const C: usize, const R: usize>(
    padded: &Padded<'_>,
    weights: &[f32],
    bias: &[f32],
    pixel: usize,
) -> [[S; R]; C] {
    let &Padded {
        plane,
        planes,
        columns,
        kernel,
        ..
    } = padded;
    let pixels = padded.from(pixel);
    assert!(bias.len() == C && weights.len() == planes * kernel * C);
    assert!(pixels.len() >= (planes - 1) * plane + (kernel - 1) * columns + R * S::LANES);
    // SAFETY: the caller promises the instructions; the two asserts are the bounds of the loop.
    unsafe {
        let mut sums = [[S::splat(0.0); R]; C];
        for c in 0..C {
            sums[c] = [S::splat(bias[c]); R];
        }
        let mut weights = weights.as_ptr();
        let mut start = pixels.as_ptr();
        for _ in 0..planes {
            let mut row = start;
            for _ in 0..kernel {
                let mut x = [S::splat(0.0); R];
                for r in 0..R {
                    x[r] = S::load(row.add(r * S::LANES));
                }
                for c in 0..C {
                    let w = S::splat(*weights.add(c));
                    for r in 0..R {
                        sums[c][r] = x[r].mul_add(w, sums[c][r]);
                    }
                }
                weights = weights.add(C);
                row = row.wrapping_add(columns);
            }
            start = start.wrapping_add(plane);
        }
        sums
    }
}
