//! Weighted Gram matrices of a few long rows.

use rayon::prelude::*;

use super::simd::{Isa, Job, MAX_LANES, Simd};

/// Columns that a tile of the result sums at a time.
const CHUNK: usize = 1024;
/// The most tasks; each has a matrix of its own to sum to.
const TASKS: usize = 16;
/// Rows and columns of a tile: with its sums, weighted columns and one row it fills 16 registers.
const TILE: [usize; 2] = [4, 3];

/// Writes `A diag(weights) A^T`, `[m, m]`, exactly symmetric, of rows A `[m, k]` and weights `[k]`.
///
/// Parallel over the columns; the result has the same bits whatever the number of threads.
///
/// # Panics
///
/// If the length of a slice does not fit.
pub fn gram(rows: &[f32], weights: &[f32], m: usize, result: &mut [f32]) {
    on(Isa::best(), rows, weights, m, result);
}

fn on(isa: Isa, rows: &[f32], weights: &[f32], m: usize, result: &mut [f32]) {
    let k = weights.len();
    assert_eq!(rows.len(), m * k, "gram: length of {m} rows of {k}");
    assert_eq!(result.len(), m * m, "gram: length of the result");
    let columns = k.div_ceil(TASKS).max(CHUNK).next_multiple_of(MAX_LANES);
    let parts: Vec<Vec<f32>> = (0..k.div_ceil(columns))
        .into_par_iter()
        .with_max_len(1)
        .map(|task| {
            let from = task * columns;
            let to = k.min(from + columns);
            let mut sums = vec![0.0; m * m];
            for from in (from..to).step_by(CHUNK) {
                isa.run(Part {
                    rows,
                    weights,
                    m,
                    columns: [from, to.min(from + CHUNK)],
                    sums: &mut sums,
                });
            }
            sums
        })
        .collect();
    for i in 0..m {
        for j in 0..=i {
            let sum = parts.iter().map(|part| part[i * m + j]).sum();
            result[i * m + j] = sum;
            result[j * m + i] = sum;
        }
    }
}

/// Adds some columns' part of the lower triangle to `sums`.
struct Part<'a> {
    rows: &'a [f32],
    weights: &'a [f32],
    m: usize,
    columns: [usize; 2],
    sums: &'a mut [f32],
}

impl Job for Part<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let [from, to] = self.columns;
        let k = self.weights.len();
        let row = |i: usize| &self.rows[i * k + from..i * k + to];
        let weights = &self.weights[from..to];
        let [height, width] = TILE;
        for i in (0..self.m).step_by(height) {
            // Past the last row the last one stands in; its sums are not kept.
            let left: [&[f32]; TILE[0]] = std::array::from_fn(|a| row((i + a).min(self.m - 1)));
            for j in (0..self.m.min(i + height)).step_by(width) {
                let right: [&[f32]; TILE[1]] =
                    std::array::from_fn(|b| row((j + b).min(self.m - 1)));
                // SAFETY: the caller promises the instructions.
                let tile = unsafe { tile::<S>(left, right, weights) };
                for (a, sums) in tile.iter().enumerate().take(self.m - i) {
                    for (b, sum) in sums.iter().enumerate().take(self.m - j) {
                        self.sums[(i + a) * self.m + j + b] += sum;
                    }
                }
            }
        }
    }
}

/// Weighted products of each row with each column.
///
/// # Safety
/// The processor has the instructions of `S`.
#[inline(always)]
unsafe fn tile<S: Simd>(
    left: [&[f32]; TILE[0]],
    right: [&[f32]; TILE[1]],
    weights: &[f32],
) -> [[f32; TILE[1]]; TILE[0]] {
    // SAFETY: the caller promises the instructions, also below.
    let mut sums = unsafe { [[S::splat(0.0); TILE[1]]; TILE[0]] };
    let whole = weights.len() / S::LANES * S::LANES;
    for at in (0..whole).step_by(S::LANES) {
        // SAFETY: all slices have the length of the weights: `at` and `LANES` are within it.
        let read = |from: &[f32]| unsafe { S::load(from.as_ptr().add(at)) };
        add(&mut sums, left, right, weights, read);
    }
    if whole < weights.len() {
        // Zeros past the end.
        let read = |from: &[f32]| unsafe { S::load_slice(&from[whole..]) };
        add(&mut sums, left, right, weights, read);
    }
    sums.map(|sums| sums.map(total))
}

#[inline(always)]
fn add<S: Simd>(
    sums: &mut [[S; TILE[1]]; TILE[0]],
    left: [&[f32]; TILE[0]],
    right: [&[f32]; TILE[1]],
    weights: &[f32],
    read: impl Fn(&[f32]) -> S,
) {
    let weights = read(weights);
    let mut weighted = [weights; TILE[1]];
    for (weighted, right) in weighted.iter_mut().zip(right) {
        *weighted = weights.mul(read(right));
    }
    for (sums, left) in sums.iter_mut().zip(left) {
        let left = read(left);
        for (sum, weighted) in sums.iter_mut().zip(weighted) {
            *sum = left.mul_add(weighted, *sum);
        }
    }
}

/// The sum of all lanes, by halves.
#[inline(always)]
fn total<S: Simd>(sum: S) -> f32 {
    let mut lanes = [0.0; MAX_LANES];
    sum.store_slice(&mut lanes[..S::LANES]);
    let mut half = MAX_LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::test_data::{close, values};

    #[test]
    fn against_the_loop() {
        for [m, k] in [[1, 1], [2, 17], [5, 1024], [7, 3001], [13, 20_000]] {
            let (rows, weights) = (values(m * k, 1), values(k, 2));
            let mut expected = vec![0.0; m * m];
            for (at, expected) in expected.iter_mut().enumerate() {
                let (i, j) = (at / m, at % m);
                *expected = (0..k)
                    .map(|u| [rows[i * k + u], rows[j * k + u], weights[u]])
                    .map(|product| product.map(f64::from).iter().product::<f64>())
                    .sum();
            }
            for isa in Isa::available() {
                let mut found = vec![f32::NAN; m * m];
                on(isa, &rows, &weights, m, &mut found);
                close(&found, &expected, 1e-5, &format!("{isa:?} {m}x{k}"));
                for i in 0..m {
                    for j in 0..m {
                        assert_eq!(found[i * m + j], found[j * m + i]);
                    }
                }
            }
        }
    }
}
