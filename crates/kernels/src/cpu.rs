//! Fast kernels for the processor, over plain `f32` slices in NCHW order.

mod conv;
mod gelu;
mod simd;
#[cfg(test)]
mod test_data;

pub use conv::{Activation, Conv2d, ConvShape, Epilogue, Input};
pub use gelu::{gelu, gelu_with_slope};
