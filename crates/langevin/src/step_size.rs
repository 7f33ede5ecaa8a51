//! The step size of a Langevin chain, in both conventions, as one type that cannot be confused.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The step size of one Langevin step.
///
/// Two conventions are in use. The paper prints the **drift** form: drift `s ∇U`, noise
/// `sqrt(2 s)`. The authors' code uses the **eta** form: drift `eta² / 2 ∇U`, noise `eta`, so that
/// `s = eta² / 2`. The paper's grid {0.01, …, 0.15} and its optimum near 0.05 are values of eta.
/// A value can therefore only be made by naming the convention, and prints in both:
///
/// ```
/// use shortrun_langevin::StepSize;
///
/// let step = StepSize::from_eta(0.05)?;
/// assert!((step.drift() - 0.00125).abs() < 1e-15);
/// assert_eq!(step.to_string(), "eta = 0.05 (drift s = 0.00125)");
/// assert_eq!("drift=0.00125".parse::<StepSize>()?.eta(), step.eta());
/// # Ok::<(), shortrun_langevin::StepSizeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct StepSize {
    eta: f64,
}

/// A step size that is no finite, non-negative number, or does not say its convention.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum StepSizeError {
    /// Negative, infinite or not a number.
    #[error("a step size must be finite and not negative; found {convention} = {value}")]
    OutOfRange {
        /// `eta` or `drift`.
        convention: &'static str,
        /// The value as given.
        value: f64,
    },
    /// Text without `eta=` or `drift=`, or without a number behind it.
    #[error(
        "'{0}' does not say its convention: write eta=0.05 (noise eta, drift eta^2/2, as the \
         authors' code) or drift=0.00125 (drift s, noise sqrt(2 s), as the paper prints)"
    )]
    Convention(String),
}

/// How a step size is written in configuration files: `{ eta = 0.05 }` or `{ drift = 0.00125 }`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Written {
    Eta(f64),
    Drift(f64),
}

impl TryFrom<Written> for StepSize {
    type Error = StepSizeError;

    fn try_from(written: Written) -> Result<Self, StepSizeError> {
        match written {
            Written::Eta(eta) => Self::from_eta(eta),
            Written::Drift(drift) => Self::from_drift(drift),
        }
    }
}

impl From<StepSize> for Written {
    fn from(step: StepSize) -> Self {
        Self::Eta(step.eta)
    }
}

impl StepSize {
    /// No step at all.
    pub(crate) const ZERO: Self = Self { eta: 0.0 };

    /// The step with noise `eta` and drift `eta² / 2`, as in the authors' code.
    ///
    /// # Errors
    /// If `eta` is negative or not finite.
    pub fn from_eta(eta: f64) -> Result<Self, StepSizeError> {
        Self::checked("eta", eta, eta)
    }

    /// The step with drift `s` and noise `sqrt(2 s)`, as printed in the paper.
    ///
    /// # Errors
    /// If `s` is negative or not finite.
    pub fn from_drift(s: f64) -> Result<Self, StepSizeError> {
        Self::checked("drift", s, (2.0 * s).sqrt())
    }

    fn checked(convention: &'static str, value: f64, eta: f64) -> Result<Self, StepSizeError> {
        if value.is_finite() && value >= 0.0 {
            Ok(Self { eta })
        } else {
            Err(StepSizeError::OutOfRange { convention, value })
        }
    }

    /// `eta`: the standard deviation of the injected noise, `sqrt(2 s)`.
    pub fn eta(self) -> f64 {
        self.eta
    }

    /// The step with eta multiplied by `factor` (so drift by its square).
    pub fn scaled(self, factor: f64) -> Self {
        Self {
            eta: self.eta * factor,
        }
    }

    /// `s`: the factor of the gradient, `eta² / 2`.
    pub fn drift(self) -> f64 {
        self.eta * self.eta / 2.0
    }
}

impl fmt::Display for StepSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "eta = {} (drift s = {})",
            rounded(self.eta()),
            rounded(self.drift())
        )
    }
}

/// Six significant digits: enough to read, and free of the tails that the square root leaves.
pub(crate) fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

impl FromStr for StepSize {
    type Err = StepSizeError;

    fn from_str(text: &str) -> Result<Self, StepSizeError> {
        let unclear = || StepSizeError::Convention(text.to_owned());
        let (name, value) = text.split_once('=').ok_or_else(unclear)?;
        let value = value.trim().parse().map_err(|_| unclear())?;
        match name.trim() {
            "eta" => Self::from_eta(value),
            "drift" | "s" => Self::from_drift(value),
            _ => Err(unclear()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_conventions_agree() {
        let step = StepSize::from_drift(0.00125).unwrap();
        assert!((step.eta() - 0.05).abs() < 1e-15);
        assert!((StepSize::from_eta(0.05).unwrap().drift() - 0.00125).abs() < 1e-15);
    }

    #[test]
    fn a_bare_number_is_refused() {
        let error = "0.05".parse::<StepSize>().unwrap_err().to_string();
        assert!(
            error.contains("eta=") && error.contains("drift="),
            "{error}"
        );
    }

    #[test]
    fn negative_and_nan_are_refused() {
        assert!(StepSize::from_eta(-0.1).is_err());
        assert!(StepSize::from_drift(f64::NAN).is_err());
        assert!("eta=inf".parse::<StepSize>().is_err());
    }

    #[test]
    fn configuration_names_the_convention() {
        let step: StepSize = serde_json::from_str(r#"{"drift": 0.00125}"#).unwrap();
        assert!((step.eta() - 0.05).abs() < 1e-15);
        assert!(serde_json::from_str::<StepSize>("0.05").is_err());
    }
}
