//! Linear layers.

use burn::{nn::Linear, prelude::*};

/// `x W + b` and its vector-Jacobian product.
#[derive(Clone, Debug)]
pub(super) struct Dense<B: Backend> {
    /// `[in, out]`
    weight: Tensor<B, 2>,
    /// `[1, out]`
    bias: Option<Tensor<B, 2>>,
}

impl<B: Backend> Dense<B> {
    pub(super) fn new(linear: &Linear<B>) -> Self {
        Self {
            weight: linear.weight.val(),
            bias: linear.bias.as_ref().map(|bias| bias.val().unsqueeze()),
        }
    }

    /// `[n, in]` to `[n, out]`
    pub(super) fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let product = x.matmul(self.weight.clone());
        match &self.bias {
            Some(bias) => product + bias.clone(),
            None => product,
        }
    }

    /// `[n, out]` to `[n, in]`
    pub(super) fn vjp(&self, gradient: Tensor<B, 2>) -> Tensor<B, 2> {
        gradient.matmul(self.weight.clone().transpose())
    }
}
