//! What is done to the tangents of one node in all directions, `[n, m, units]`: by our own kernels
//! on the CPU and CUDA backends, else by tensor operations.

use std::ops::Range;

use burn::prelude::*;

#[cfg(feature = "cuda")]
use crate::cuda::tensors as cuda;
#[cfg(feature = "flex")]
use crate::host::rows as host;

/// Some of the directions.
pub(super) fn directions<B: Backend>(rows: Tensor<B, 3>, range: Range<usize>) -> Tensor<B, 3> {
    let [n, m, units] = rows.dims();
    if n == 1 {
        // As a matrix: the CPU backend takes part of a larger tensor to have gaps even where its
        // first dimension is 1, and is slow on those.
        let rows = rows.reshape([m, units]).slice_dim(0, range);
        return rows.unsqueeze_dim(0);
    }
    rows.slice_dim(1, range)
}

/// Every row times the example's own `[n, 1, units]`.
pub(super) fn times<B: Backend>(rows: Tensor<B, 3>, by: Tensor<B, 3>) -> Tensor<B, 3> {
    rows * by
}

/// `a_j by_a + b_j by_b` of rows a and b, with the example's own factors `[n, 1, units]`.
pub(super) fn combine<B: Backend>(a: [Tensor<B, 3>; 2], b: [Tensor<B, 3>; 2]) -> Tensor<B, 3> {
    #[cfg(feature = "flex")]
    if let Some(done) = host::combine(a.each_ref(), b.each_ref()) {
        return done;
    }
    let ([a, by_a], [b, by_b]) = (a, b);
    times(a, by_a) + times(b, by_b)
}

/// The product of matrices; one matrix serves all of the other side's.
pub(super) fn multiply<B: Backend>(a: Tensor<B, 3>, b: Tensor<B, 3>) -> Tensor<B, 3> {
    #[cfg(feature = "cuda")]
    if let Some(done) = cuda::multiply(&a, &b) {
        return done;
    }
    a.matmul(b)
}

/// `J diag(weights) J^T`, `[n, m, m]`, of rows J and weights `[n, 1, units]`.
pub(super) fn gram<B: Backend>(rows: Tensor<B, 3>, weights: Tensor<B, 3>) -> Tensor<B, 3> {
    #[cfg(feature = "flex")]
    if let Some(done) = host::gram(&rows, &weights) {
        return done;
    }
    multiply(times(rows.clone(), weights), rows.swap_dims(1, 2))
}

/// `sum_j a_j b_j` of each unit, `[n, 1, units]`.
pub(super) fn quadratic<B: Backend>(a: Tensor<B, 3>, b: Tensor<B, 3>) -> Tensor<B, 3> {
    #[cfg(feature = "flex")]
    if let Some(done) = host::column_products(&a, &b) {
        return done;
    }
    #[cfg(feature = "cuda")]
    if let Some(done) = cuda::column_products(&a, &b) {
        return done;
    }
    (a * b).sum_dim(1)
}
