//! Kernels for the hot path of the built-in generator.

pub mod cpu;
