//! The exact GELU and its slope.

use std::f64::consts::{PI, SQRT_2};

use burn::prelude::*;

/// The exact (erf) GELU, `x Φ(x)`.
///
/// Written out because Burn 0.21 differentiates its own `gelu` by the tanh approximation on most
/// backends, which is off by 1e-3.
pub fn gelu<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    let cdf = normal_cdf(x.clone());
    x * cdf
}

/// GELU and its slope, `Φ(x) + x φ(x)`.
pub(crate) fn gelu_with_slope<B: Backend, const D: usize>(
    x: Tensor<B, D>,
) -> (Tensor<B, D>, Tensor<B, D>) {
    #[cfg(feature = "cuda")]
    if let Some([value, slope]) = crate::cuda::tensors::gelu_with_slope(&x) {
        return (value, slope);
    }
    let cdf = normal_cdf(x.clone());
    let density = normal_density(x.clone());
    let slope = cdf.clone() + x.clone() * density;
    (x * cdf, slope)
}

/// GELU's second and third derivatives, `φ(x) (2 - x²)` and `φ(x) (x³ - 4 x)`.
pub(crate) fn gelu_bends<B: Backend, const D: usize>(x: Tensor<B, D>) -> [Tensor<B, D>; 2] {
    #[cfg(feature = "cuda")]
    if let Some(bends) = crate::cuda::tensors::gelu_bends(&x) {
        return bends;
    }
    let density = normal_density(x.clone());
    let square = x.clone().square();
    let second = density.clone() * (-square.clone() + 2.0);
    let third = density * (x * (square - 4.0));
    [second, third]
}

fn normal_density<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    (x.square() * -0.5).exp() * (1.0 / (2.0 * PI).sqrt())
}

fn normal_cdf<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    ((x * (1.0 / SQRT_2)).erf() + 1.0) * 0.5
}
