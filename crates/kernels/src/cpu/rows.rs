//! Elementwise work on a few long rows.

use rayon::prelude::*;

use super::simd::{Isa, Job, Simd};

/// Columns of one parallel task.
const COLUMNS: usize = 512;

/// Writes `sum over j of a[j] * b[j]`, `[k]`, of rows a and b `[m, k]`.
///
/// # Panics
///
/// If the length of a slice does not fit.
pub fn column_products(a: &[f32], b: &[f32], result: &mut [f32]) {
    let k = result.len();
    assert_eq!(a.len(), b.len(), "column products: lengths of the rows");
    assert!(
        k > 0 && a.len().is_multiple_of(k),
        "column products: {} are no rows of {k}",
        a.len()
    );
    let isa = Isa::best();
    result
        .par_chunks_mut(COLUMNS)
        .enumerate()
        .for_each(|(task, sums)| {
            isa.run(Products {
                rows: [a, b],
                from: task * COLUMNS,
                k,
                sums,
            });
        });
}

struct Products<'a> {
    rows: [&'a [f32]; 2],
    from: usize,
    k: usize,
    sums: &'a mut [f32],
}

impl Job for Products<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let columns = self.from..self.from + self.sums.len();
        self.sums.fill(0.0);
        let [a, b] = self.rows.map(|rows| rows.chunks_exact(self.k));
        for (a, b) in a.zip(b) {
            let (a, b) = (&a[columns.clone()], &b[columns.clone()]);
            for at in (0..a.len()).step_by(S::LANES) {
                // SAFETY: the caller promises the instructions.
                let [a, b, sum] =
                    unsafe { [&a[at..], &b[at..], &self.sums[at..]].map(|v| S::load_slice(v)) };
                a.mul_add(b, sum).store_slice(&mut self.sums[at..]);
            }
        }
    }
}

/// Writes `a[j] * by_a + b[j] * by_b` for each row j; rows a, b and the result `[m, k]`, factors
/// `[k]`.
///
/// # Panics
///
/// If the length of a slice does not fit.
pub fn combine([a, by_a]: [&[f32]; 2], [b, by_b]: [&[f32]; 2], result: &mut [f32]) {
    let k = by_a.len();
    assert_eq!(by_b.len(), k, "combine: lengths of the factors");
    assert!(
        a.len() == result.len() && b.len() == result.len(),
        "combine: lengths {} and {} for {}",
        a.len(),
        b.len(),
        result.len()
    );
    assert!(
        k > 0 && result.len().is_multiple_of(k),
        "combine: {} are no rows of {k}",
        result.len()
    );
    let isa = Isa::best();
    result
        .par_chunks_mut(k)
        .zip(a.par_chunks(k))
        .zip(b.par_chunks(k))
        .for_each(|((result, a), b)| {
            isa.run(Combine {
                terms: [[a, by_a], [b, by_b]],
                result,
            });
        });
}

struct Combine<'a> {
    terms: [[&'a [f32]; 2]; 2],
    result: &'a mut [f32],
}

impl Job for Combine<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for at in (0..self.result.len()).step_by(S::LANES) {
            // SAFETY: the caller promises the instructions.
            let [[a, by_a], [b, by_b]] = unsafe {
                self.terms
                    .map(|term| term.map(|values| S::load_slice(&values[at..])))
            };
            a.mul_add(by_a, b.mul(by_b))
                .store_slice(&mut self.result[at..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::test_data::{close, values};

    #[test]
    fn against_the_loop() {
        for [m, k] in [[1, 1], [3, 17], [2, 1029]] {
            let (a, b) = (values(m * k, 1), values(m * k, 2));
            let (by_a, by_b) = (values(k, 3), values(k, 4));
            let of = |x: &[f32], at: usize| f64::from(x[at]);

            let mut found = vec![f32::NAN; k];
            column_products(&a, &b, &mut found);
            let expected: Vec<f64> = (0..k)
                .map(|u| (0..m).map(|j| of(&a, j * k + u) * of(&b, j * k + u)).sum())
                .collect();
            close(&found, &expected, 1e-6, "column products");

            let mut found = vec![f32::NAN; m * k];
            combine([&a, &by_a], [&b, &by_b], &mut found);
            let expected: Vec<f64> = (0..m * k)
                .map(|q| of(&a, q) * of(&by_a, q % k) + of(&b, q) * of(&by_b, q % k))
                .collect();
            close(&found, &expected, 1e-6, "combine");
        }
    }
}
