//! Shared by the tests of the built-in generator.

use burn::prelude::*;

/// A tensor's values on the host.
pub(crate) fn host<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().to_vec().unwrap()
}

/// `|found - expected| / |expected|`, Euclidean norms; not a number counts as infinite.
pub(crate) fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |v: f64| v * v;
    let difference: f64 = found
        .iter()
        .zip(expected)
        .map(|(a, b)| square(f64::from(*a) - f64::from(*b)))
        .sum();
    let size: f64 = expected.iter().map(|v| square(f64::from(*v))).sum();
    let error = (difference / size).sqrt();
    if error.is_nan() { f64::INFINITY } else { error }
}
