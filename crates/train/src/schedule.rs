//! Quantities that change with the iteration: learning rate and sigma.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A piecewise constant learning rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LearningRate {
    /// The same throughout: `learning_rate = 1e-4`.
    Constant(f64),
    /// From each iteration on, the rate beside it:
    /// `learning_rate = [[0, 1e-4], [100000, 5e-5], [200000, 1e-5]]`.
    Pieces(Vec<(u64, f64)>),
}

impl LearningRate {
    /// The rate of an iteration, counted from 0.
    pub fn at(&self, iteration: u64) -> f64 {
        match self {
            Self::Constant(rate) => *rate,
            Self::Pieces(pieces) => {
                let begun = pieces.iter().take_while(|(from, _)| *from <= iteration);
                begun.last().map_or(0.0, |(_, rate)| *rate)
            }
        }
    }

    /// What is wrong with the schedule, if anything.
    pub(crate) fn fault(&self) -> Option<String> {
        let (rates, ordered): (Vec<f64>, bool) = match self {
            Self::Constant(rate) => (vec![*rate], true),
            Self::Pieces(pieces) => (
                pieces.iter().map(|(_, rate)| *rate).collect(),
                pieces.first().is_some_and(|(from, _)| *from == 0)
                    && pieces.windows(2).all(|pair| pair[0].0 < pair[1].0),
            ),
        };
        if !ordered {
            return Some("its pieces must begin at iteration 0 and rise".to_owned());
        }
        // Weights are float32, and so is what they are multiplied by.
        let bad = rates.iter().find(|rate| {
            let rate = **rate as f32;
            !(rate.is_finite() && rate > 0.0)
        })?;
        Some(format!(
            "rates must be above 0 and finite, in float32 too; found {bad}"
        ))
    }
}

/// The observation noise: the standard deviation of a pixel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Sigma {
    /// The same throughout: `sigma = 0.15`.
    Constant(f64),
    /// Falls geometrically from `start` to `end` over the first `iterations`, then stays:
    /// `sigma = { start = 0.3, end = 0.15, iterations = 1000 }`.
    Annealed {
        /// At iteration 0.
        start: f64,
        /// From iteration `iterations` on.
        end: f64,
        /// How long the fall takes.
        iterations: u64,
    },
}

impl fmt::Display for Sigma {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(sigma) => write!(f, "{sigma}"),
            Self::Annealed {
                start,
                end,
                iterations,
            } => write!(f, "{start} to {end} over {iterations} iterations"),
        }
    }
}

impl Sigma {
    /// Sigma at an iteration, counted from 0.
    pub fn at(&self, iteration: u64) -> f64 {
        match *self {
            Self::Constant(sigma) => sigma,
            Self::Annealed {
                start,
                end,
                iterations,
            } => {
                let done = iteration as f64 / iterations.max(1) as f64;
                start * (end / start).powf(done.min(1.0))
            }
        }
    }

    /// Sigma once annealing is over.
    pub fn last(&self) -> f64 {
        match *self {
            Self::Constant(sigma) => sigma,
            Self::Annealed { end, .. } => end,
        }
    }

    /// How many iterations it falls for.
    pub fn annealing(&self) -> u64 {
        match *self {
            Self::Constant(_) => 0,
            Self::Annealed { iterations, .. } => iterations,
        }
    }

    /// What is wrong with the schedule, if anything.
    pub(crate) fn fault(&self) -> Option<String> {
        let ends = [self.at(0), self.last()];
        let bad = ends.iter().find(|s| !(s.is_finite() && **s > 0.0))?;
        Some(format!("it must be finite and above 0; found {bad}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_change_at_their_iterations() {
        let rate = LearningRate::Pieces(vec![(0, 1e-4), (100, 5e-5), (200, 1e-5)]);
        let rates: Vec<f64> = [0, 99, 100, 199, 200, 9999].map(|i| rate.at(i)).to_vec();
        assert_eq!(rates, [1e-4, 1e-4, 5e-5, 5e-5, 1e-5, 1e-5]);
    }

    #[test]
    fn sigma_falls_geometrically_and_stays() {
        let sigma = Sigma::Annealed {
            start: 0.4,
            end: 0.1,
            iterations: 100,
        };
        assert_eq!(sigma.at(0), 0.4);
        assert!((sigma.at(50) - 0.2).abs() < 1e-12);
        assert!((sigma.at(100) - 0.1).abs() < 1e-12);
        assert!((sigma.at(1000) - 0.1).abs() < 1e-12);
    }

    #[test]
    fn schedules_that_make_no_sense_are_named() {
        assert!(LearningRate::Pieces(vec![(5, 1e-4)]).fault().is_some());
        // 1e39 is infinite in float32, and 1e-50 nothing.
        for rate in [f64::NAN, f64::INFINITY, 1e39, 1e-50, 0.0, -1.0] {
            assert!(LearningRate::Constant(rate).fault().is_some(), "{rate}");
            let pieces = LearningRate::Pieces(vec![(0, 1e-4), (5, rate)]);
            assert!(pieces.fault().is_some(), "{rate}");
        }
        assert!(LearningRate::Constant(1e-4).fault().is_none());
        assert!(Sigma::Constant(0.0).fault().is_some());
    }
}
