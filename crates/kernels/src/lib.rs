//! Kernels for the hot path of the built-in generator.

pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
