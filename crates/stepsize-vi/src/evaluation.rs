//! What an objective is made of, at one step size.

use serde::Serialize;

/// An objective with its parts, example by example, in nats.
///
/// `F = log p(e_0) - expansion - log p(x, e_K)`. An example whose chain exploded has an infinite
/// energy and so an infinite objective; it is never NaN.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// `log p(e_0)` (without `(d/2) log 2π`), `[n]`.
    pub log_start: Vec<f64>,
    /// What the chain takes off the log-density of its start, `[n]`: `Σ_k log|det(I - s_k H(e_k))|`,
    /// an estimate of it, or, in the augmented bound, `Σ_k (log r - log q)` of the reverse and
    /// forward kernels.
    pub expansion: Vec<f64>,
    /// `log p(x, e_K)` (without `(d/2) log 2π`), `[n]`.
    pub log_joint: Vec<f64>,
    /// The determinants step by step; not in the augmented bound.
    pub determinants: Option<Determinants>,
    /// Standard error of the mean objective that random probes cause; none in an objective without.
    pub probe_error: Option<f64>,
    /// The work done, in gradient evaluations of one example (a Hessian-vector product counts two).
    pub gradient_evaluations: usize,
}

/// `log|det(I - s_k H(e_k))|` step by step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Determinants {
    /// `[K][n]`.
    pub log: Vec<Vec<f64>>,
    /// The smallest |eigenvalue| of `I - s_k H(e_k)`, `[K][n]`: how close the chain comes to
    /// folding space onto itself. (Of Lanczos quadrature: the smallest seen.)
    pub smallest_eigenvalue: Vec<Vec<f64>>,
}

impl Evaluation {
    /// F of each example.
    pub fn objective(&self) -> Vec<f64> {
        let parts = self
            .log_start
            .iter()
            .zip(&self.expansion)
            .zip(&self.log_joint);
        parts
            .map(|((start, expansion), joint)| {
                let value = start - expansion - joint;
                // A determinant of 0, or an explosion that left no numbers, is infinitely bad.
                if value.is_nan() { f64::INFINITY } else { value }
            })
            .collect()
    }

    /// F, averaged over the examples.
    pub fn mean(&self) -> f64 {
        let values = self.objective();
        values.iter().sum::<f64>() / values.len() as f64
    }
}
