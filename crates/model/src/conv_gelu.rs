//! A convolution of stride 1 and its GELU, for synthesis and for learning.

use burn::{
    prelude::*,
    tensor::{module::conv2d, ops::ConvOptions},
};

use crate::gelu;

/// `GELU(conv(x))`, stride 1.
///
/// On the CPU backend, and on its autodiff where weights are being learned, our own kernels do it;
/// elsewhere tensor operations.
///
/// # Shapes
/// x `[n, in, h, w]`, weight `[out, in, k, k]`, bias `[out]`, result `[n, out, h', w']`
pub fn conv_gelu<B: Backend>(
    x: Tensor<B, 4>,
    weight: Tensor<B, 4>,
    bias: Option<Tensor<B, 1>>,
    padding: usize,
) -> Tensor<B, 4> {
    #[cfg(feature = "flex")]
    if let Some(done) = crate::host::conv_gelu(&x, &weight, bias.as_ref(), padding) {
        return done;
    }
    let options = ConvOptions::new([1, 1], [padding; 2], [1, 1], 1);
    gelu(conv2d(x, weight, bias, options))
}
