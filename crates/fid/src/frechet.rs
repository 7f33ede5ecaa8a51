//! The Fréchet distance of two Gaussians.

use faer::{Mat, MatRef, Side};

use crate::{FidError, Gaussian};

/// How negative an eigenvalue of a covariance may be, in parts of the largest: what rounding makes.
const ROUNDING: f64 = 1e-6;

/// The squared 2-Wasserstein distance of two Gaussians (Dowson and Landau, 1982; as FID: Heusel et
/// al., 2017),
///
/// ```text
/// |m_1 - m_2|^2 + tr S_1 + tr S_2 - 2 tr (S_1^{1/2} S_2 S_1^{1/2})^{1/2}
/// ```
///
/// by two symmetric eigendecompositions in float64, so that singular covariances (fewer images than
/// features) are no trouble.
///
/// # Errors
/// [`FidError::Dimensions`] if they have different dimensions, [`FidError::CovarianceSize`] if a
/// covariance is not `[d, d]`, [`FidError::NoCovariance`] if it has a negative eigenvalue,
/// [`FidError::Eigenvalues`] if they cannot be computed.
pub fn frechet_distance(one: &Gaussian, other: &Gaussian) -> Result<f64, FidError> {
    let d = one.dim();
    if other.dim() != d {
        return Err(FidError::Dimensions(d, other.dim()));
    }
    for gaussian in [one, other] {
        let found = gaussian.covariance.len();
        if found != d * d {
            return Err(FidError::CovarianceSize { dim: d, found });
        }
    }
    let eigen = symmetric(one)
        .self_adjoint_eigen(Side::Lower)
        .map_err(|_| FidError::Eigenvalues)?;
    let values: Vec<f64> = (0..d).map(|i| eigen.S()[i]).collect();
    check(&values)?;
    // R = V D^{1/2}: R^T S_2 R has the eigenvalues of S_1^{1/2} S_2 S_1^{1/2}.
    let vectors = eigen.U();
    let root = Mat::from_fn(d, d, |i, j| vectors[(i, j)] * values[j].max(0.0).sqrt());
    let inner = root.transpose() * symmetric(other) * &root;
    let inner = inner
        .self_adjoint_eigenvalues(Side::Lower)
        .map_err(|_| FidError::Eigenvalues)?;
    check(&inner)?;
    let shared: f64 = inner.iter().map(|value| value.max(0.0).sqrt()).sum();
    let means = one.mean.iter().zip(&other.mean);
    let between: f64 = means.map(|(a, b)| (a - b).powi(2)).sum();
    let trace = |of: &Gaussian| (0..d).map(|i| of.covariance[i * (d + 1)]).sum::<f64>();
    Ok(between + trace(one) + trace(other) - 2.0 * shared)
}

fn symmetric(gaussian: &Gaussian) -> Mat<f64> {
    let d = gaussian.dim();
    let given = MatRef::from_row_major_slice(&gaussian.covariance, d, d);
    Mat::from_fn(d, d, |i, j| 0.5 * (given[(i, j)] + given[(j, i)]))
}

/// Refuses eigenvalues that no rounding makes.
fn check(eigenvalues: &[f64]) -> Result<(), FidError> {
    let bounds = eigenvalues.iter().fold((0.0, 0.0), |(low, high), value| {
        (f64::min(low, *value), f64::max(high, *value))
    });
    if eigenvalues.iter().any(|value| !value.is_finite()) {
        return Err(FidError::Eigenvalues);
    }
    match bounds {
        (smallest, largest)
            if smallest < -ROUNDING * largest || (largest == 0.0 && smallest < 0.0) =>
        {
            Err(FidError::NoCovariance { smallest, largest })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaussian<const D: usize>(mean: [f64; D], covariance: [[f64; D]; D]) -> Gaussian {
        Gaussian {
            mean: mean.to_vec(),
            covariance: covariance.concat(),
        }
    }

    fn distance<const D: usize>(
        (m1, s1): ([f64; D], [[f64; D]; D]),
        (m2, s2): ([f64; D], [[f64; D]; D]),
    ) -> f64 {
        let (one, other) = (gaussian(m1, s1), gaussian(m2, s2));
        let there = frechet_distance(&one, &other).unwrap();
        let back = frechet_distance(&other, &one).unwrap();
        assert!((there - back).abs() < 1e-10 * (1.0 + there.abs()));
        there
    }

    #[test]
    fn commuting_covariances() {
        // Σ (m - m')^2 + Σ (s - s')^2 over the common axes.
        let one = (
            [1.0, 0.0, -1.0],
            [[4.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 0.0]],
        );
        let other = (
            [0.0, 0.0, 1.0],
            [[1.0, 0.0, 0.0], [0.0, 25.0, 0.0], [0.0, 0.0, 2.25]],
        );
        let expected = 1.0 + 4.0 + 1.0 + 4.0 + 2.25;
        assert!((distance(one, other) - expected).abs() < 1e-12);
        assert!(distance(one, one).abs() < 1e-12);
    }

    #[test]
    fn covariances_that_do_not_commute() {
        // In two dimensions tr (A B)^{1/2} = sqrt(tr AB + 2 sqrt(det A det B)).
        let (a, b) = ([[2.0, 0.5], [0.5, 1.0]], [[1.0, -0.7], [-0.7, 3.0]]);
        let trace = 2.0 * 1.0 + 2.0 * 0.5 * -0.7 + 1.0 * 3.0;
        let (det_a, det_b): (f64, f64) = (1.75, 2.51);
        let shared = (trace + 2.0 * (det_a * det_b).sqrt()).sqrt();
        let found = distance(([0.0; 2], a), ([0.0, 2.0], b));
        assert!((found - (4.0 + 3.0 + 4.0 - 2.0 * shared)).abs() < 1e-12);
    }

    #[test]
    fn lines_at_an_angle() {
        // Rank one each: u u^T and v v^T share |u . v|.
        let [u, v] = [[3.0, 4.0, 0.0], [1.0, 2.0, 2.0]];
        let outer = |w: [f64; 3]| w.map(|a| w.map(|b| a * b));
        let found = distance(([0.0; 3], outer(u)), ([0.0; 3], outer(v)));
        assert!((found - (25.0 + 9.0 - 2.0 * 11.0)).abs() < 1e-6, "{found}");
    }

    #[test]
    fn what_is_no_covariance_is_refused() {
        let good = gaussian([0.0; 2], [[1.0, 0.0], [0.0, 1.0]]);
        let bad = gaussian([0.0; 2], [[1.0, 2.0], [2.0, 1.0]]);
        for (one, other) in [(&good, &bad), (&bad, &good)] {
            let error = frechet_distance(one, other).unwrap_err().to_string();
            assert!(error.contains("no covariance"), "{error}");
        }
        let short = gaussian([0.0], [[1.0]]);
        let error = frechet_distance(&good, &short).unwrap_err().to_string();
        assert!(
            error.contains("2 values") && error.contains("of 1"),
            "{error}"
        );
        let cut = Gaussian {
            mean: vec![0.0; 2],
            covariance: vec![1.0; 3],
        };
        for (one, other) in [(&good, &cut), (&cut, &good)] {
            let error = frechet_distance(one, other).unwrap_err().to_string();
            assert!(error.contains("2 x 2 values; this one has 3"), "{error}");
        }
        let unknown = gaussian([0.0; 2], [[f64::NAN, 0.0], [0.0, 1.0]]);
        assert!(frechet_distance(&unknown, &good).is_err());
    }
}
