//! GELU with the exact Gaussian distribution function, and its derivatives.
//!
//! With `Q(a) = 1 - Phi(a)` and `a = |x|`, `gelu(x) = max(x, 0) - a Q(a)`, which loses no digits on
//! either side. `Q(a) = phi(a) M(a)` with Mills' ratio `M`, a polynomial in `t = 1 / (1 + p a)`
//! (the form of Hastings, 1955; Abramowitz and Stegun 7.1.26). The coefficients are our own weighted
//! minimax fit, `scripts/fit_gelu.py`: fitted error 2e-9 relative for `M` where it counts, 3e-9 for
//! the exponential, so that what is left is rounding. The density `phi` is needed for the slope
//! anyway.

use rayon::prelude::*;

use super::simd::{Isa, Job, Simd};

/// Beyond this the density is below 1e-37 and only must stay finite.
const LIMIT: f32 = 13.0;
const MILLS_P: f32 = 0.28;
/// Coefficients of `t^8` to `t`.
const MILLS: [f32; 8] = [
    0.104_840_82,
    -0.570_033_3,
    1.050_521_9,
    -0.692_639_65,
    0.663_333_54,
    0.113_011_96,
    0.306_353_17,
    0.277_925_64,
];
/// Coefficients of `r^6` to `r^2` in `exp(r)`.
const EXP: [f32; 5] = [
    0.001_381_461_3,
    0.008_368_71,
    0.041_668_387,
    0.166_665_2,
    0.499_999_94,
];
const FRAC_1_SQRT_TAU: f32 = 0.398_942_3;
/// `ln(2)` in two parts; the first has few bits, so that its product with a whole number is exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// Adding this rounds to a whole number and leaves it, plus the bias of the exponent, in the low
/// bits of the mantissa.
const ROUND: f32 = 12_582_912.0 + 127.0;

/// `gelu(x)` and its derivative.
#[inline(always)]
pub(super) fn gelu_and_slope<S: Simd>(x: S) -> (S, S) {
    // SAFETY: `x` proves the instructions.
    let c = |v| unsafe { S::splat(v) };
    let a = x.abs().min(c(LIMIT));
    // phi(a) = exp(v) / sqrt(2 pi), v in [-LIMIT^2 / 2, 0]
    let v = a.mul(a).mul(c(-0.5));
    let shifted = v.mul_add(c(std::f32::consts::LOG2_E), c(ROUND));
    let whole = shifted.sub(c(ROUND));
    let r = whole.mul_add(c(-LN_2_HIGH), v);
    let r = whole.mul_add(c(-LN_2_LOW), r);
    let p = polynomial(r, &EXP);
    let exp = p.mul(r).mul_add(r, r).add(c(1.0));
    let phi = exp
        .mul(shifted.mantissa_to_exponent())
        .mul(c(FRAC_1_SQRT_TAU));
    // Q(a) = phi(a) M(a)
    let t = c(1.0).div(a.mul_add(c(MILLS_P), c(1.0)));
    let m = polynomial(t, &MILLS);
    let q = m.mul(t).mul(phi);
    let y = x.max(c(0.0)).sub(a.mul(q));
    let cdf = x.where_negative(q, c(1.0).sub(q));
    let clamped = x.where_negative(c(0.0).sub(a), a);
    (y, clamped.mul_add(phi, cdf))
}

/// Horner's scheme, the highest power first.
#[inline(always)]
fn polynomial<S: Simd>(x: S, coefficients: &[f32]) -> S {
    // SAFETY: `x` proves the instructions.
    let mut sum = unsafe { S::splat(coefficients[0]) };
    for &c in &coefficients[1..] {
        // SAFETY: as above.
        sum = sum.mul_add(x, unsafe { S::splat(c) });
    }
    sum
}

/// `y = gelu(x) = x Phi(x)`, elementwise. NaN gives NaN, `inf` gives `inf` and `-inf` gives zero (to
/// 1e-36).
///
/// # Panics
///
/// If the lengths differ.
pub fn gelu(x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len(), "gelu: lengths of x and y");
    y.par_chunks_mut(CHUNK)
        .zip(x.par_chunks(CHUNK))
        .for_each(|(y, x)| gelu_chunk(Isa::best(), x, y, None));
}

/// `y = gelu(x)` and `slope = Phi(x) + x phi(x)`, its derivative, elementwise.
///
/// # Panics
///
/// If the lengths differ.
pub fn gelu_with_slope(x: &[f32], y: &mut [f32], slope: &mut [f32]) {
    assert_eq!(x.len(), y.len(), "gelu: lengths of x and y");
    assert_eq!(x.len(), slope.len(), "gelu: lengths of x and slope");
    y.par_chunks_mut(CHUNK)
        .zip(slope.par_chunks_mut(CHUNK))
        .zip(x.par_chunks(CHUNK))
        .for_each(|((y, s), x)| gelu_chunk(Isa::best(), x, y, Some(s)));
}

/// Elements of one parallel task.
const CHUNK: usize = 1 << 14;

fn gelu_chunk(isa: Isa, x: &[f32], y: &mut [f32], slope: Option<&mut [f32]>) {
    isa.run(Gelu { x, y, slope });
}

struct Gelu<'a> {
    x: &'a [f32],
    y: &'a mut [f32],
    slope: Option<&'a mut [f32]>,
}

impl Job for Gelu<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        for start in (0..self.x.len()).step_by(S::LANES) {
            // SAFETY: the caller promises the instructions.
            let x = unsafe { S::load_slice(&self.x[start..]) };
            let (y, slope) = gelu_and_slope(x);
            y.store_slice(&mut self.y[start..]);
            if let Some(to) = &mut self.slope {
                slope.store_slice(&mut to[start..]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(x: f64) -> (f64, f64) {
        let cdf = 0.5 * libm::erfc(-x / 2f64.sqrt());
        let phi = (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
        (x * cdf, cdf + x * phi)
    }

    #[test]
    fn errors_on_every_instruction_set() {
        let x: Vec<f32> = (-240_001..240_001).map(|i| i as f32 * 5e-5).collect();
        for isa in Isa::available() {
            let (mut y, mut s) = (x.clone(), x.clone());
            gelu_chunk(isa, &x, &mut y, Some(&mut s));
            let (mut absolute, mut relative, mut slope) = (0f64, 0f64, 0f64);
            for ((&x, &y), &s) in x.iter().zip(&y).zip(&s) {
                let (exact_y, exact_s) = exact(f64::from(x));
                let error = (f64::from(y) - exact_y).abs();
                // Above 1 half a unit in the last place is already more than 2e-7.
                absolute = absolute.max(error / exact_y.abs().max(1.0));
                if exact_y.abs() > 1e-3 {
                    relative = relative.max(error / exact_y.abs());
                }
                slope = slope.max((f64::from(s) - exact_s).abs());
            }
            let found = format!("{isa:?}: {absolute:e} {relative:e} {slope:e}");
            assert!(
                absolute <= 2e-7 && relative <= 1e-6 && slope <= 3e-7,
                "{found}"
            );
        }
    }

    #[test]
    fn ends_of_the_line() {
        for isa in Isa::available() {
            let x = [
                f32::NAN,
                f32::INFINITY,
                f32::NEG_INFINITY,
                0.0,
                1e30,
                -1e30,
                f32::MIN_POSITIVE,
            ];
            let (mut y, mut s) = ([1.0; 7], [1.0; 7]);
            gelu_chunk(isa, &x, &mut y, Some(&mut s));
            assert!(y[0].is_nan() && s[0].is_nan());
            assert_eq!((y[1], s[1]), (f32::INFINITY, 1.0));
            assert!(y[2].abs() < 1e-35 && s[2].abs() < 1e-35);
            assert_eq!((y[3], s[3]), (0.0, 0.5));
            assert_eq!((y[4], s[4]), (1e30, 1.0));
            assert!(y[5].abs() < 1e-35);
            assert!(y[6] > 0.0);
        }
    }

    #[test]
    fn any_length() {
        for len in [0, 1, 15, 16, 17, CHUNK + 5] {
            let x: Vec<f32> = (0..len).map(|i| (i % 37) as f32 * 0.2 - 3.0).collect();
            let (mut y, mut z, mut s) = (x.clone(), x.clone(), x.clone());
            gelu(&x, &mut y);
            gelu_with_slope(&x, &mut z, &mut s);
            assert_eq!(y, z);
            for (x, y) in x.iter().zip(&y) {
                assert!((f64::from(*y) - exact(f64::from(*x)).0).abs() < 2e-7 * 4.0);
            }
        }
    }
}
