//! Kernels for the hot path of the built-in generator.

#[cfg(any(feature = "cuda", feature = "portable"))]
mod adam;
#[cfg(any(feature = "cuda", feature = "portable"))]
mod copy;
pub mod cpu;
#[cfg(any(feature = "cuda", feature = "portable"))]
mod cubes;
#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(any(feature = "cuda", feature = "portable"))]
mod generator_kernels;
#[cfg(any(feature = "cuda", feature = "portable"))]
mod gradient_sums;
#[cfg(any(feature = "cuda", feature = "portable"))]
mod layout;
#[cfg(any(feature = "cuda", feature = "portable"))]
mod noise;
#[cfg(feature = "portable")]
pub mod portable;
#[cfg(any(feature = "cuda", feature = "portable"))]
mod several;
#[cfg(any(feature = "cuda", feature = "portable"))]
mod shape;

#[cfg(any(feature = "cuda", feature = "portable"))]
pub use self::{
    adam::{AdamStep, AdamTensor, adam},
    generator_kernels::{GeneratorKernels, Noise, Observed},
    gradient_sums::gradient_sums,
    noise::NoiseStream,
    shape::{Scale, Shape},
};
