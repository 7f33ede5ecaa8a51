//! Image data sets: loading, decoding, shuffling. Knows nothing of models.

pub mod synthetic;
