//! Fast kernels for the processor, over plain `f32` slices in NCHW order.
//!
//! [`Conv2d`] packs its weights once and runs many times. What surrounds a convolution in the
//! generator is done on its way in and out: [`Input::times`] multiplies the input by a slope while it
//! is copied (the backward pass through an activation), [`Epilogue`] applies bias, GELU and skip
//! connections, and keeps GELU's derivative for the backward pass. AVX-512, AVX2 with FMA, or plain
//! Rust, chosen at run time.
//!
//! # Two forms
//!
//! Where output channels fill vectors, lanes are channels, and products with the zeros around the
//! image are left out. Otherwise lanes are pixels (rows joined, so that any width fills them).
//!
//! # Speed
//!
//! Two cores of a Zen 4 EPYC, shared with other work, best of 75 runs, PyTorch 2.15 (oneDNN) in the
//! same minutes. The floor is the products with something else than padding, at the measured peak
//! of multiply-adds, 125 GFLOP/s a core; GFLOP/s count the padding, as others do.
//!
//! | 8 images | plain, ms | GELU and slope | times slope | GFLOP/s | PyTorch, plain | floor |
//! |---|---|---|---|---|---|---|
//! | 64 to 64, 5x5, 16 to 16 | 1.66 | 1.77 | 1.70 | 252 | 1.95 | 1.45 |
//! | 64 to 64, 3x3, 16 to 16 | 0.70 | 0.73 | 0.69 | 217 | 0.70 | 0.56 |
//! | 64 to 128, 5x5, 16 to 12 | 2.22 | 2.29 | 2.40 | 213 | 2.43 | 1.91 |
//! | 128 to 64, 5x5, 12 to 16 | 2.45 | 2.54 | 2.55 | 342 | 2.71 | 1.91 |
//! | 4 to 64, 5x5, 16 to 16 | 0.21 | 0.23 | 0.20 | 127 | 0.22 | 0.09 |
//! | 64 to 4, 5x5, 16 to 16 | 0.25 | 0.26 | 0.25 | 106 | 0.57 | 0.09 |
//! | 64 to 12, 3x3, 16 to 16 | 0.23 | 0.23 | 0.23 | 125 | 0.25 | 0.11 |
//! | 64 to 64, 5x5, 14 to 14 | 1.43 | 1.54 | 1.63 | 225 | 1.50 | 1.09 |
//! | 64 to 64, 3x3, 28 to 28 | 2.62 | 2.73 | 2.48 | 177 | 2.58 | 1.78 |
//! | 1 image, 64 to 64, 5x5, 16 | 0.29 | 0.30 | 0.26 | 182 | 0.29 | 0.18 |
//! | 32 images, 16 to 16, 5x5, 16 | 0.58 | 0.63 | 0.59 | 181 | 0.54 | 0.36 |
//! | 32 images, 24 to 24, 3x3, 16 | 0.50 | 0.57 | 0.50 | 169 | 0.84 | 0.32 |
//!
//! On one thread (less disturbed): 256 to 64, 5x5, 12 to 16: 8.85 ms, PyTorch 8.49; 100 images, 64 to
//! 64, 5x5: 42.6 ms, PyTorch 40.7. All convolutions and GELUs of a Langevin step of the five-layer
//! generator, 8 images, two threads: 60 ms (floor 45); PyTorch's whole step, with its linear layers,
//! took 80 to 87 ms in the same minute. GELU with slope: 0.42 ns an element on two threads. The
//! weight gradient is slower than PyTorch's in most shapes with padding (64 to 64, 5x5: 2.85 ms
//! against 2.36): it does not leave the padding out.
//!
//! Calls cost least from inside a rayon pool (`pool.install(|| ..)` around a whole chain): from
//! outside each wakes the pool.

mod conv;
mod gelu;
mod gram;
mod rows;
mod simd;
#[cfg(test)]
mod test_data;
mod upsample;
mod weight_gradient;

pub use conv::{Activation, Conv2d, ConvShape, Epilogue, Input};
pub use gelu::{gelu, gelu_with_slope};
pub use gram::gram;
pub use rows::{column_products, combine};
pub use upsample::{Upsample, depth_to_space, space_to_depth};
pub use weight_gradient::weight_gradient;
