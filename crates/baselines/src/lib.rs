//! The methods that short-run inference is compared with, on the same generator, data and metrics.

pub mod glow;
