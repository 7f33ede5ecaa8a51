//! Convolutions for synthesis, inference and learning: of stride 1, with or without GELU, and of stride 2.

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
    if let Some(done) = crate::host::conv(&x, &weight, bias.as_ref(), padding, true) {
        return done;
    }
    gelu(by_tensor_operations(x, weight, bias, padding))
}

/// As [`conv_gelu`], without the GELU.
pub fn conv<B: Backend>(
    x: Tensor<B, 4>,
    weight: Tensor<B, 4>,
    bias: Option<Tensor<B, 1>>,
    padding: usize,
) -> Tensor<B, 4> {
    #[cfg(feature = "flex")]
    if let Some(done) = crate::host::conv(&x, &weight, bias.as_ref(), padding, false) {
        return done;
    }
    by_tensor_operations(x, weight, bias, padding)
}

/// A convolution 4x4 of stride 2 and padding 1: half the size.
///
/// # Shapes
/// x `[n, in, h, w]`, weight `[out, in, 4, 4]`, bias `[out]`, result `[n, out, h / 2, w / 2]`
pub fn conv_halving<B: Backend>(
    x: Tensor<B, 4>,
    weight: Tensor<B, 4>,
    bias: Option<Tensor<B, 1>>,
) -> Tensor<B, 4> {
    #[cfg(feature = "cuda")]
    if let Some(done) = crate::cuda::products::halving(&x, &weight) {
        return crate::explicit::with_bias(done, bias.as_ref());
    }
    conv2d(x, weight, bias, ConvOptions::new([2, 2], [1, 1], [1, 1], 1))
}

fn by_tensor_operations<B: Backend>(
    x: Tensor<B, 4>,
    weight: Tensor<B, 4>,
    bias: Option<Tensor<B, 1>>,
    padding: usize,
) -> Tensor<B, 4> {
    #[cfg(feature = "cuda")]
    if let Some(done) = crate::cuda::products::convolution(&x, &weight, padding) {
        return crate::explicit::with_bias(done, bias.as_ref());
    }
    let options = ConvOptions::new([1, 1], [padding; 2], [1, 1], 1);
    conv2d(x, weight, bias, options)
}
