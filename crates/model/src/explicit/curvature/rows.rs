//! What is done to the tangents of one node in all directions, `[n, m, units]`.

use burn::prelude::*;

/// Every row times the example's own `[n, 1, units]`.
pub(super) fn times<B: Backend>(rows: Tensor<B, 3>, by: Tensor<B, 3>) -> Tensor<B, 3> {
    rows * by
}

/// `J diag(weights) J^T`, `[n, m, m]`, of rows J and weights `[n, 1, units]`.
pub(super) fn gram<B: Backend>(rows: Tensor<B, 3>, weights: Tensor<B, 3>) -> Tensor<B, 3> {
    times(rows.clone(), weights).matmul(rows.swap_dims(1, 2))
}

/// `sum_j a_j b_j` of each unit, `[n, 1, units]`.
pub(super) fn quadratic<B: Backend>(a: Tensor<B, 3>, b: Tensor<B, 3>) -> Tensor<B, 3> {
    (a * b).sum_dim(1)
}
