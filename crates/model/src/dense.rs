//! A linear layer that autodiff can differentiate more than once.

use burn::{nn::Linear, prelude::*};

/// `x W + b`, as a product and a sum: the backward pass of Burn 0.21's own linear operation panics
/// under nested autodiff ("Can't differentiate linear_x_backward").
///
/// # Shapes
/// `[n, in]` to `[n, out]`
pub fn dense<B: Backend>(linear: &Linear<B>, x: Tensor<B, 2>) -> Tensor<B, 2> {
    let product = x.matmul(linear.weight.val());
    match &linear.bias {
        Some(bias) => product + bias.val().unsqueeze(),
        None => product,
    }
}
