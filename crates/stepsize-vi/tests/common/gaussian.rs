//! Normal distributions.

use std::f64::consts::{E, TAU};

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

/// `N(mean, covariance)`.
#[derive(Clone, Debug)]
pub(crate) struct Gaussian {
    pub(crate) mean: DVector<f64>,
    pub(crate) covariance: DMatrix<f64>,
}

impl Gaussian {
    /// `N(0, I)`.
    pub(crate) fn standard(d: usize) -> Self {
        Self {
            mean: DVector::zeros(d),
            covariance: DMatrix::identity(d, d),
        }
    }

    pub(crate) fn dim(&self) -> usize {
        self.mean.len()
    }

    pub(crate) fn cholesky(&self) -> Cholesky<f64, Dyn> {
        self.covariance.clone().cholesky().unwrap()
    }

    /// `log det C`.
    pub(crate) fn log_det(&self) -> f64 {
        self.cholesky().ln_determinant()
    }

    /// `½ log det(2πe C)`.
    pub(crate) fn entropy(&self) -> f64 {
        (self.dim() as f64 * (TAU * E).ln() + self.log_det()) / 2.0
    }

    /// `log N(at; mean, C)`.
    pub(crate) fn log_density(&self, at: &DVector<f64>) -> f64 {
        let off = at - &self.mean;
        let square = off.dot(&self.cholesky().solve(&off));
        -(self.dim() as f64 * TAU.ln() + self.log_det() + square) / 2.0
    }

    /// `KL(self || other) = ½ [ tr(C'⁻¹ C) + |m' - m|²_{C'⁻¹} - d + log det C' - log det C ]`.
    pub(crate) fn kl(&self, other: &Self) -> f64 {
        let inverse = other.cholesky();
        let off = &other.mean - &self.mean;
        let trace = inverse.solve(&self.covariance).trace();
        let square = off.dot(&inverse.solve(&off));
        (trace + square - self.dim() as f64 + other.log_det() - self.log_det()) / 2.0
    }
}
