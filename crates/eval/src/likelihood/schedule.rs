//! How inverse temperatures are spaced between 0 and 1.

use std::{fmt, str::FromStr};

use serde::Serialize;

/// How the inverse temperatures `0 = β_0 < β_1 < … < β_T = 1` are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// `t / T`.
    Linear,
    /// The logistic function of `4 (2 t / T - 1)`, scaled to [0, 1]: dense at both ends (Wu et al.,
    /// 2017).
    Sigmoid,
    /// From 1e-4 by equal factors, after 0: dense near the prior.
    Geometric,
}

const STEEPNESS: f64 = 4.0;
const FIRST: f64 = 1e-4;

impl Schedule {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Linear, Self::Sigmoid, Self::Geometric];

    /// `β_0, …, β_T` for `temperatures` = T, at least 1.
    pub fn betas(self, temperatures: usize) -> Vec<f64> {
        let last = temperatures.max(1);
        let logistic = |at: f64| 1.0 / (1.0 + (-STEEPNESS * (2.0 * at - 1.0)).exp());
        let beta = |t: usize| {
            let at = t as f64 / last as f64;
            match self {
                Self::Linear => at,
                Self::Sigmoid => (logistic(at) - logistic(0.0)) / (logistic(1.0) - logistic(0.0)),
                // One temperature leaves no room: 0 and 1.
                Self::Geometric => {
                    let left = (last - t) as f64 / (last - 1).max(1) as f64;
                    FIRST.powf(left)
                }
            }
        };
        std::iter::once(0.0)
            .chain((1..last).map(beta))
            .chain([1.0])
            .collect()
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Linear => "linear",
            Self::Sigmoid => "sigmoid",
            Self::Geometric => "geometric",
        })
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL
            .into_iter()
            .find(|schedule| schedule.to_string() == text);
        found.ok_or_else(|| "must be linear, sigmoid or geometric".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schedule_rises_from_0_to_1() {
        for schedule in Schedule::ALL {
            for temperatures in [1, 2, 7, 300] {
                let betas = schedule.betas(temperatures);
                assert_eq!(betas.len(), temperatures + 1);
                assert_eq!((betas[0], betas[temperatures]), (0.0, 1.0));
                assert!(
                    betas.windows(2).all(|pair| pair[0] < pair[1]),
                    "{schedule}: {betas:?}"
                );
            }
            assert_eq!(schedule.to_string().parse(), Ok(schedule));
        }
    }
}
