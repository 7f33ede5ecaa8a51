//! Space into channels and back.

use burn::prelude::*;

/// Every 2 x 2 square of a channel becomes four channels, at half the size.
///
/// # Shapes
/// `[n, c, h, w]` to `[n, 4 c, h / 2, w / 2]`; h and w are even.
pub(crate) fn squeeze<B: Backend>(x: Tensor<B, 4>) -> Tensor<B, 4> {
    let [n, c, h, w] = x.dims();
    x.reshape([n, c, h / 2, 2, w / 2, 2])
        .permute([0, 1, 3, 5, 2, 4])
        .reshape([n, 4 * c, h / 2, w / 2])
}

/// The inverse of [`squeeze`].
///
/// # Shapes
/// `[n, 4 c, h, w]` to `[n, c, 2 h, 2 w]`
pub(crate) fn unsqueeze<B: Backend>(x: Tensor<B, 4>) -> Tensor<B, 4> {
    let [n, c, h, w] = x.dims();
    x.reshape([n, c / 4, 2, 2, h, w])
        .permute([0, 1, 4, 2, 5, 3])
        .reshape([n, c / 4, 2 * h, 2 * w])
}
