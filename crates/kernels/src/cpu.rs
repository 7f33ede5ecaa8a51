//! Fast kernels for the processor, over plain `f32` slices in NCHW order.

mod conv;
mod gelu;
mod simd;
#[cfg(test)]
mod test_data;
mod upsample;
mod weight_gradient;

pub use conv::{Activation, Conv2d, ConvShape, Epilogue, Input};
pub use gelu::{gelu, gelu_with_slope};
pub use upsample::{Upsample, depth_to_space, space_to_depth};
pub use weight_gradient::weight_gradient;
