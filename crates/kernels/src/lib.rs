//! Kernels for the hot path of the built-in generator.

#[cfg(any(feature = "cuda", feature = "portable"))]
mod adam;
#[cfg(any(feature = "cuda", feature = "portable"))]
mod copy;
pub mod cpu;
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

/// A number for this crate's sources, which every kernel takes.
///
/// CubeCL keeps compiled kernels on disk under their names, shapes and constants, not under what they do: without
/// it, a build with other kernels would go on with those of the one before.
#[cfg(any(feature = "cuda", feature = "portable"))]
const SOURCES: u64 = match u64::from_str_radix(env!("SHORTRUN_KERNEL_SOURCES"), 10) {
    Ok(number) => number,
    Err(_) => panic!("build.rs writes a number"),
};
