//! Ranks, their histograms, and tests of their uniformity.

use serde::Serialize;
use statrs::distribution::{ChiSquared, ContinuousCDF, StudentsT};

use crate::EvalError;

/// Images that a bin must be expected to hold for the chi-square distribution to be near enough.
const EXPECTED: usize = 5;

/// The ranks of one function of latents and image, one for each image.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RankTest {
    /// How many images in each bin of ranks, from the lowest.
    pub histogram: Vec<usize>,
    /// Of the chi-square test of uniformity.
    pub p_value: f64,
}

/// How far the ranks of a layer's coordinates lie from the middle.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Mean squared distance of ranks from the middle, over that of uniform ranks: above 1 the
    /// chain's ends are too narrow (or off), below 1 too wide.
    pub ratio: f64,
    /// Of a t-test that the ratio is 1, over images (each with the mean over its coordinates).
    pub p_value: f64,
}

/// The rank of `truth`: how many of `others` lie below it.
pub(super) fn below(truth: f64, others: impl Iterator<Item = f64>) -> usize {
    others.filter(|other| *other < truth).count()
}

/// Into how many bins the `chains + 1` ranks of each image go: as many as leave each an
/// expectation of five.
pub(super) fn bins(images: usize, chains: usize) -> Result<usize, EvalError> {
    if chains == 0 {
        return Err(EvalError::Setting {
            setting: "chains",
            reason: "must be at least 1; found 0".to_owned(),
        });
    }
    let ranks = chains + 1;
    let mut divisors = (2..=ranks).rev().filter(|bins| ranks.is_multiple_of(*bins));
    let found = divisors.find(|bins| images >= EXPECTED * bins);
    found.ok_or_else(|| {
        let least = (2..=ranks).find(|bins| ranks.is_multiple_of(*bins)).unwrap_or(ranks);
        EvalError::Setting {
            setting: "images",
            reason: format!(
                "must be at least {} to test the {ranks} ranks among {chains} chains; found {images}",
                EXPECTED * least
            ),
        }
    })
}

fn bin(rank: usize, chains: usize, bins: usize) -> usize {
    rank * bins / (chains + 1)
}

/// Counts of ranks from 0 to `chains`.
pub(super) fn histogram(ranks: &[usize], chains: usize, bins: usize) -> Vec<usize> {
    let mut counts = vec![0; bins];
    for rank in ranks {
        counts[bin(*rank, chains, bins)] += 1;
    }
    counts
}

/// The standard error of each bin's count over all coordinates (`[d_l][N]`), by the spread over
/// images.
pub(super) fn standard_errors(coordinates: &[Vec<usize>], chains: usize, bins: usize) -> Vec<f64> {
    let images = coordinates.first().map_or(0, Vec::len);
    let by_image: Vec<Vec<usize>> = (0..images)
        .map(|image| {
            let ranks: Vec<usize> = coordinates.iter().map(|ranks| ranks[image]).collect();
            histogram(&ranks, chains, bins)
        })
        .collect();
    let error = |bin: usize| {
        let counts: Vec<f64> = by_image.iter().map(|counts| counts[bin] as f64).collect();
        (variance(&counts) * images as f64).sqrt()
    };
    (0..bins).map(error).collect()
}

/// The least of some p-values, multiplied by their number.
pub(super) fn bonferroni(p_values: impl Iterator<Item = f64>) -> f64 {
    let (count, least) = p_values.fold((0, 1.0_f64), |(count, least), p| (count + 1, least.min(p)));
    (least * f64::from(count)).min(1.0)
}

impl RankTest {
    pub(super) fn of(histogram: &[usize]) -> Self {
        let total: usize = histogram.iter().sum();
        let expected = total as f64 / histogram.len() as f64;
        let statistic: f64 = histogram
            .iter()
            .map(|count| (*count as f64 - expected).powi(2) / expected)
            .sum();
        let freedom = (histogram.len() - 1) as f64;
        Self {
            histogram: histogram.to_vec(),
            p_value: ChiSquared::new(freedom).map_or(f64::NAN, |law| law.sf(statistic)),
        }
    }
}

impl Spread {
    /// Of the ranks of each coordinate (`[d_l][N]`).
    pub(super) fn of(coordinates: &[Vec<usize>], chains: usize) -> Self {
        let images = coordinates.first().map_or(0, Vec::len);
        // Of uniform ranks 0 to M.
        let expected = (((chains + 1) as f64).powi(2) - 1.0) / 12.0;
        let middle = chains as f64 / 2.0;
        let ratio = |image: usize| {
            let squares = coordinates
                .iter()
                .map(|ranks| (ranks[image] as f64 - middle).powi(2));
            squares.sum::<f64>() / (coordinates.len() as f64 * expected)
        };
        let ratios: Vec<f64> = (0..images).map(ratio).collect();
        let mean = ratios.iter().sum::<f64>() / images as f64;
        let error = (variance(&ratios) / images as f64).sqrt();
        let freedom = images as f64 - 1.0;
        let p_value = match (mean - 1.0).abs() {
            0.0 => 1.0,
            off => {
                StudentsT::new(0.0, 1.0, freedom).map_or(f64::NAN, |law| 2.0 * law.sf(off / error))
            }
        };
        Self {
            ratio: mean,
            p_value,
        }
    }
}

/// The sample variance.
fn variance(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    values
        .iter()
        .map(|value| (value - mean).powi(2))
        .sum::<f64>()
        / (n - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_fall_into_bins_of_equal_width() {
        assert_eq!(below(0.5, [0.1, 0.7, f64::NAN, 0.2].into_iter()), 2);
        assert_eq!(bins(200, 19).unwrap(), 20);
        assert_eq!(bins(60, 19).unwrap(), 10);
        assert_eq!(
            histogram(&[0, 1, 2, 19, 18, 5], 19, 10),
            [2, 1, 1, 0, 0, 0, 0, 0, 0, 2]
        );
        let refused = bins(40, 16).unwrap_err().to_string();
        assert!(refused.contains("at least 85"), "{refused}");
        assert!(bins(40, 0).is_err());
    }

    /// `scipy.stats.chisquare([8, 12, 9, 11, 20]).pvalue` and, for squared
    /// distances over 1.25, `scipy.stats.ttest_1samp([1.8, 1.8, 0.2, 0.2, 1.8, 0.2, 1.8], 1).pvalue`.
    #[test]
    fn tests_agree_with_scipy() {
        let test = RankTest::of(&[8, 12, 9, 11, 20]);
        assert!(
            (test.p_value - CHI_SQUARE).abs() < 1e-10,
            "{}",
            test.p_value
        );
        let spread = Spread::of(&[vec![0, 3, 1, 2, 3, 1, 0]], 3);
        assert!(
            (spread.p_value - STUDENT).abs() < 1e-10,
            "{}",
            spread.p_value
        );
    }

    const CHI_SQUARE: f64 = 0.11170929281604328;
    const STUDENT: f64 = 0.735764859879812;
}
