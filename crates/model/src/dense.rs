//! A linear layer that autodiff can differentiate more than once, and its product.

use burn::{nn::Linear, prelude::*};

/// `x W + b`, as a product and a sum: the backward pass of Burn 0.21's own linear operation panics
/// under nested autodiff ("Can't differentiate linear_x_backward").
///
/// # Shapes
/// `[n, in]` to `[n, out]`
pub fn dense<B: Backend>(linear: &Linear<B>, x: Tensor<B, 2>) -> Tensor<B, 2> {
    let product = product(x, linear.weight.val());
    match &linear.bias {
        Some(bias) => product + bias.val().unsqueeze(),
        None => product,
    }
}

/// `x W`, by our own kernels on CUDA.
///
/// # Shapes
/// `[n, in]` times `[in, out]`
pub fn product<B: Backend>(x: Tensor<B, 2>, weight: Tensor<B, 2>) -> Tensor<B, 2> {
    #[cfg(feature = "cuda")]
    if let Some(done) = crate::cuda::products::matrices(&x, &weight) {
        return done;
    }
    x.matmul(weight)
}
