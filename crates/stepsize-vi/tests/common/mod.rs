//! Oracles: what the step-size objectives must come out as, by other means than the crate's own.
//!
//! [`LinearGaussian`] is closed form in float64; [`TanhNet`] goes with the numbers that
//! `pytorch/reference.py` wrote ([`Reference`]).
// Each test file uses some of it.
#![allow(dead_code, unused_imports, clippy::unwrap_used)]

mod cubature;
mod gaussian;
mod linear_gaussian;
mod reference;
mod search;
mod sizes;
mod tanh_net;

use burn::prelude::*;

pub(crate) use cubature::{Cubature, cubature};
pub(crate) use gaussian::Gaussian;
pub(crate) use linear_gaussian::LinearGaussian;
pub(crate) use reference::{AtStart, Augmented, Case, Exact, Reference};
pub(crate) use search::{best, gradient};
pub(crate) use sizes::{Sizes, by_step_sizes, constant, per_layer, per_step};
pub(crate) use tanh_net::TanhNet;

/// A tensor's values on the host.
pub(crate) fn host<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f64> {
    tensor.into_data().convert::<f64>().to_vec().unwrap()
}

/// The largest `|found - expected| / (1 + |expected|)`; not a number counts as infinite.
pub(crate) fn error(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let one = |(a, b): (&f64, &f64)| (a - b).abs() / (1.0 + b.abs());
    let errors = found.iter().zip(expected).map(one);
    errors.fold(0.0, |worst, error| {
        if error.is_nan() {
            f64::INFINITY
        } else {
            error.max(worst)
        }
    })
}

/// Panics unless [`error`] is below `tolerance`.
#[track_caller]
pub(crate) fn assert_close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    let error = error(found, expected);
    assert!(
        error < tolerance,
        "{what} is off by {error:.1e}: found {found:?}, expected {expected:?}"
    );
}
