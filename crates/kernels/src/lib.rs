//! Kernels for the hot path of the built-in generator.
