//! Symmetric matrices on the host, in float64.

use faer::{Mat, MatRef, Side};

use crate::ObjectiveError;

/// The factor `I - S H` of a chain's Jacobian, S diagonal and positive.
///
/// It has the eigenvalues `1 - λ` of the symmetric `I - S^{1/2} H S^{1/2}`.
pub(crate) struct Factor<'a> {
    hessian: &'a [f64],
    roots: &'a [f64],
}

/// `log|det|` and the smallest |eigenvalue|.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Determinant {
    pub(crate) log: f64,
    pub(crate) smallest: f64,
}

/// What the gradient needs of a factor.
pub(crate) struct Inverse {
    pub(crate) determinant: Determinant,
    /// `(I - S H)^{-1} S`, row by row.
    pub(crate) weights: Vec<f64>,
    /// The diagonal of `H (I - S H)^{-1}`: minus the derivatives of `log|det|` in each of S.
    pub(crate) slopes: Vec<f64>,
}

impl<'a> Factor<'a> {
    /// `hessian` `[d, d]`, `roots` the square roots of S `[d]`.
    pub(crate) fn new(hessian: &'a [f64], roots: &'a [f64]) -> Self {
        Self { hessian, roots }
    }

    /// `S^{1/2} H S^{1/2}`, symmetric to the last bit; `None` if an entry is not finite.
    fn scaled(&self) -> Option<Mat<f64>> {
        let d = self.roots.len();
        let h = MatRef::from_row_major_slice(self.hessian, d, d);
        let scaled = Mat::from_fn(d, d, |i, j| {
            0.5 * (h[(i, j)] + h[(j, i)]) * self.roots[i] * self.roots[j]
        });
        self.hessian.iter().all(|h| h.is_finite()).then_some(scaled)
    }

    /// The determinant; `-inf` for a Hessian that is not finite.
    pub(crate) fn determinant(&self) -> Result<Determinant, ObjectiveError> {
        let Some(scaled) = self.scaled() else {
            return Ok(Determinant::EXPLODED);
        };
        let eigenvalues = scaled
            .self_adjoint_eigenvalues(Side::Lower)
            .map_err(|_| ObjectiveError::Eigenvalues)?;
        Ok(Determinant::of(&eigenvalues))
    }

    /// The determinant and its derivatives; `None` for a Hessian that is not finite.
    pub(crate) fn inverse(&self) -> Result<Option<Inverse>, ObjectiveError> {
        let Some(scaled) = self.scaled() else {
            return Ok(None);
        };
        let d = self.roots.len();
        let eigen = scaled
            .self_adjoint_eigen(Side::Lower)
            .map_err(|_| ObjectiveError::Eigenvalues)?;
        let vectors = eigen.U();
        let values: Vec<f64> = (0..d).map(|i| eigen.S()[i]).collect();
        let divided = Mat::from_fn(d, d, |i, j| vectors[(i, j)] / (1.0 - values[j]));
        let inverse = &divided * vectors.transpose();
        let mut weights = vec![0.0; d * d];
        for i in 0..d {
            for j in 0..d {
                weights[i * d + j] = inverse[(i, j)] * self.roots[i] * self.roots[j];
            }
        }
        let slopes = (0..d).map(|j| {
            let along = (0..d).map(|i| vectors[(j, i)].powi(2) * values[i] / (1.0 - values[i]));
            along.sum::<f64>() / self.roots[j].powi(2)
        });
        Ok(Some(Inverse {
            determinant: Determinant::of(&values),
            slopes: slopes.collect(),
            weights,
        }))
    }
}

impl Determinant {
    pub(crate) const EXPLODED: Self = Self {
        log: f64::NEG_INFINITY,
        smallest: 0.0,
    };

    /// Of `I - M`, from the eigenvalues of M.
    fn of(eigenvalues: &[f64]) -> Self {
        let factors = eigenvalues.iter().map(|value| (1.0 - value).abs());
        factors.fold(
            Self {
                log: 0.0,
                smallest: f64::INFINITY,
            },
            |sum, factor| Self {
                log: sum.log + factor.ln(),
                smallest: sum.smallest.min(factor),
            },
        )
    }
}

/// Nodes and weights of the quadrature of a tridiagonal matrix: its eigenvalues, and the squared
/// first entries of its eigenvectors (Golub and Welsch, 1969).
pub(crate) fn quadrature(
    diagonal: &[f64],
    beside: &[f64],
) -> Result<Vec<(f64, f64)>, ObjectiveError> {
    let m = diagonal.len();
    let matrix = Mat::from_fn(m, m, |i, j| match i.abs_diff(j) {
        0 => diagonal[i],
        1 => beside[i.min(j)],
        _ => 0.0,
    });
    let eigen = matrix
        .self_adjoint_eigen(Side::Lower)
        .map_err(|_| ObjectiveError::Eigenvalues)?;
    Ok((0..m)
        .map(|i| (eigen.S()[i], eigen.U()[(0, i)].powi(2)))
        .collect())
}

/// `Σ log|λ|` over the eigenvalues of any square matrix, given row by row.
pub(crate) fn log_modulus_of_eigenvalues(matrix: &[f64], d: usize) -> Result<f64, ObjectiveError> {
    let eigenvalues = MatRef::from_row_major_slice(matrix, d, d)
        .to_owned()
        .eigenvalues()
        .map_err(|_| ObjectiveError::Eigenvalues)?;
    Ok(eigenvalues.iter().map(|value| value.norm().ln()).sum())
}

/// `M v` of a matrix given row by row.
pub(crate) fn times(matrix: &[f64], vector: &[f64]) -> Vec<f64> {
    matrix
        .chunks_exact(vector.len())
        .map(|row| dot(row, vector))
        .collect()
}

/// `a · b`
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
