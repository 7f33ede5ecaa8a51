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
        let product = multiply(x, self.weight.clone());
        match &self.bias {
            Some(bias) => product + bias.clone(),
            None => product,
        }
    }

    /// `[n, out]` to `[n, in]`
    pub(super) fn vjp(&self, gradient: Tensor<B, 2>) -> Tensor<B, 2> {
        multiply(gradient, self.weight.clone().transpose())
    }
}

pub(crate) fn multiply<B: Backend>(x: Tensor<B, 2>, weight: Tensor<B, 2>) -> Tensor<B, 2> {
    #[cfg(feature = "cuda")]
    {
        let [x, weight] = [&x, &weight].map(|matrix| matrix.clone().unsqueeze_dim::<3>(0));
        if let Some(done) = crate::cuda::tensors::multiply(&x, &weight) {
            return done.squeeze_dim(0);
        }
    }
    x.matmul(weight)
}
