//! Work on the tangents of one node in all directions on the CPU backend, by our own kernels.
//!
//! Each function returns `None` if the tensors are not on the CPU backend.

use burn::prelude::*;
use shortrun_kernels::cpu;

use super::{Values, tensor};

/// `J diag(weights) J^T`, `[n, m, m]`, of rows J `[n, m, k]` and weights `[n, 1, k]`.
pub(crate) fn gram<B: Backend>(
    rows: &Tensor<B, 3>,
    weights: &Tensor<B, 3>,
) -> Option<Tensor<B, 3>> {
    let ([n, m, k], device) = (rows.dims(), rows.device());
    let (rows, weights) = (Values::of(rows.clone())?, Values::of(weights.clone())?);
    let mut result = vec![0.0; n * m * m];
    let examples = rows.chunks_exact(m * k).zip(weights.chunks_exact(k));
    for ((rows, weights), result) in examples.zip(result.chunks_exact_mut(m * m)) {
        cpu::gram(rows, weights, m, result);
    }
    Some(tensor(result, [n, m, m], &device))
}

/// `sum_j a_j b_j`, `[n, 1, k]`, of rows `[n, m, k]`.
pub(crate) fn column_products<B: Backend>(
    a: &Tensor<B, 3>,
    b: &Tensor<B, 3>,
) -> Option<Tensor<B, 3>> {
    let ([n, m, k], device) = (a.dims(), a.device());
    let (a, b) = (Values::of(a.clone())?, Values::of(b.clone())?);
    let mut result = vec![0.0; n * k];
    let examples = a.chunks_exact(m * k).zip(b.chunks_exact(m * k));
    for ((a, b), result) in examples.zip(result.chunks_exact_mut(k)) {
        cpu::column_products(a, b, result);
    }
    Some(tensor(result, [n, 1, k], &device))
}

/// `a_j by_a + b_j by_b`, `[n, m, k]`, of rows `[n, m, k]` and factors `[n, 1, k]`.
pub(crate) fn combine<B: Backend>(
    [a, by_a]: [&Tensor<B, 3>; 2],
    [b, by_b]: [&Tensor<B, 3>; 2],
) -> Option<Tensor<B, 3>> {
    let ([n, m, k], device) = (a.dims(), a.device());
    let (a, by_a) = (Values::of(a.clone())?, Values::of(by_a.clone())?);
    let (b, by_b) = (Values::of(b.clone())?, Values::of(by_b.clone())?);
    let mut result = vec![0.0; n * m * k];
    let factors = by_a.chunks_exact(k).zip(by_b.chunks_exact(k));
    let rows = a.chunks_exact(m * k).zip(b.chunks_exact(m * k));
    for (((a, b), (by_a, by_b)), result) in rows.zip(factors).zip(result.chunks_exact_mut(m * k)) {
        cpu::combine([a, by_a], [b, by_b], result);
    }
    Some(tensor(result, [n, m, k], &device))
}
