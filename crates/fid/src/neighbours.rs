//! Precision and recall by nearest neighbours.

use faer::{Accum, Mat, MatRef, Par, linalg::matmul::matmul};
use rayon::prelude::*;

use crate::FidError;

/// Rows and columns of distances that are looked at together.
const TILE: usize = 256;

/// Rows of features.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Features {
    /// Length of a row.
    pub dim: usize,
    /// `[n, dim]`, row by row.
    pub values: Vec<f32>,
}

/// How good and how varied samples are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrecisionRecall {
    /// The share of samples that lie among the real images: quality.
    pub precision: f64,
    /// The share of real images that lie among the samples: variety.
    pub recall: f64,
}

/// Precision and recall of samples (Kynkäänniemi et al., 2019). The manifold of a set is the union
/// of balls around its features, each as wide as the distance to the `k`-th nearest other feature of
/// the set; precision is the share of samples in the manifold of the real images, recall the share of
/// real images in that of the samples.
///
/// # Errors
/// [`FidError::TooFew`] if a set has no more than `k` features or `k` is 0, [`FidError::Dimensions`]
/// if they differ in length.
pub fn precision_recall(
    real: &Features,
    samples: &Features,
    k: usize,
) -> Result<PrecisionRecall, FidError> {
    if real.dim != samples.dim {
        return Err(FidError::Dimensions(real.dim, samples.dim));
    }
    let least = real.count().min(samples.count());
    if k == 0 || least <= k {
        return Err(FidError::TooFew {
            what: "precision and recall",
            found: least,
            needed: k.max(1) + 1,
        });
    }
    let (real, samples) = (Rows::new(real), Rows::new(samples));
    Ok(PrecisionRecall {
        precision: share_within(&samples, &real, &real.radii(k)),
        recall: share_within(&real, &samples, &samples.radii(k)),
    })
}

/// The share of `points` that lie in a ball of `radii` (squared) around one of `centres`.
fn share_within(points: &Rows<'_>, centres: &Rows<'_>, radii: &[f64]) -> f64 {
    let inside: usize = points
        .tiles()
        .map(|rows| {
            let mut within = vec![false; rows.len()];
            centres.squared_distances(points, rows, |row, column, distance| {
                within[row] |= distance <= radii[column];
            });
            within.into_iter().filter(|within| *within).count()
        })
        .sum();
    inside as f64 / points.features.count() as f64
}

impl Features {
    /// How many rows.
    pub fn count(&self) -> usize {
        self.values.len() / self.dim.max(1)
    }
}

/// Features with their squared lengths.
struct Rows<'a> {
    features: &'a Features,
    squares: Vec<f64>,
}

impl<'a> Rows<'a> {
    fn new(features: &'a Features) -> Self {
        let rows = features.values.par_chunks_exact(features.dim.max(1));
        let squares = rows.map(|row| row.iter().map(|v| f64::from(*v).powi(2)).sum());
        Self {
            features,
            squares: squares.collect(),
        }
    }

    fn tiles(&self) -> impl ParallelIterator<Item = std::ops::Range<usize>> + use<> {
        let count = self.features.count();
        let tiles = (0..count.div_ceil(TILE)).into_par_iter();
        tiles.map(move |tile| tile * TILE..count.min((tile + 1) * TILE))
    }

    /// Squared distances to the k-th nearest other row.
    fn radii(&self, k: usize) -> Vec<f64> {
        let radii = self.tiles().map(|rows| {
            let mut nearest = vec![vec![f64::INFINITY; k]; rows.len()];
            let first = rows.start;
            self.squared_distances(self, rows, |row, column, distance| {
                let nearest = &mut nearest[row];
                if first + row != column && distance < nearest[k - 1] {
                    let place = nearest.partition_point(|near| *near <= distance);
                    nearest.insert(place, distance);
                    nearest.pop();
                }
            });
            nearest.into_iter().map(move |near| near[k - 1]).collect()
        });
        radii.collect::<Vec<Vec<f64>>>().concat()
    }

    /// Hands the squared distances of `rows` of `points` (counted from the first of them) and all
    /// rows of these to `each`: `|a|^2 + |b|^2 - 2 a.b` in float64.
    fn squared_distances(
        &self,
        points: &Self,
        rows: std::ops::Range<usize>,
        mut each: impl FnMut(usize, usize, f64),
    ) {
        let dim = self.features.dim;
        let double = |features: &Features, rows: &std::ops::Range<usize>| -> Vec<f64> {
            let values = &features.values[rows.start * dim..rows.end * dim];
            values.iter().map(|value| f64::from(*value)).collect()
        };
        let left = double(points.features, &rows);
        let left = MatRef::from_row_major_slice(&left, rows.len(), dim);
        let count = self.features.count();
        for start in (0..count).step_by(TILE) {
            let columns = start..count.min(start + TILE);
            let right = double(self.features, &columns);
            let right = MatRef::from_row_major_slice(&right, columns.len(), dim);
            let mut products = Mat::zeros(rows.len(), columns.len());
            let into = products.as_mut();
            matmul(into, Accum::Replace, left, right.transpose(), 1.0, Par::Seq);
            for (j, column) in columns.clone().enumerate() {
                for i in 0..rows.len() {
                    let squares = points.squares[rows.start + i] + self.squares[column];
                    each(i, column, (squares - 2.0 * products[(i, j)]).max(0.0));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn on_a_line(places: &[f32]) -> Features {
        Features {
            dim: 1,
            values: places.to_vec(),
        }
    }

    fn shares(real: &[f32], samples: &[f32], k: usize) -> (f64, f64) {
        let found = precision_recall(&on_a_line(real), &on_a_line(samples), k).unwrap();
        (found.precision, found.recall)
    }

    #[test]
    fn toy_sets_on_a_line() {
        // Radii of the real ones with k = 1: 1, 1, 2, so they cover [-1, 2] and [1, 5].
        let real = [0.0, 1.0, 3.0];
        // Radii of the samples: 2, 2, 91; the last covers [9, 191].
        assert_eq!(shares(&real, &[7.0, 9.0, 100.0], 1), (0.0, 0.0));
        // 5 is on the rim. Radii of the samples: 1.5, 1.5, 5, so they cover [3.5, 16.5].
        assert_eq!(shares(&real, &[5.0, 6.5, 11.5], 1), (1.0 / 3.0, 0.0));
        // With k = 2 they cover [-3, 6], and the samples, with radii 6.5, 5, 6.5, [-1.5, 18].
        assert_eq!(shares(&real, &[5.0, 6.5, 11.5], 2), (1.0 / 3.0, 1.0));
        // One mode of two: precise, but half the variety is lost.
        let two = [0.0, 1.0, 2.0, 50.0, 51.0, 52.0];
        assert_eq!(shares(&two, &[0.5, 1.5, 1.0], 1), (1.0, 0.5));
    }

    #[test]
    fn the_same_set_is_all_within() {
        assert_eq!(shares(&[0.0, 1.0, 5.0], &[0.0, 1.0, 5.0], 1), (1.0, 1.0));
    }

    #[test]
    fn tiles_agree_with_plain_loops() {
        let (n, dim, k) = (600, 5, 3);
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut draw = |from: f32| Features {
            dim,
            values: (0..n * dim)
                .map(|_| from + rng.random_range(0.0..1.0))
                .collect(),
        };
        let (real, samples) = (draw(0.0), draw(0.25));
        let distance = |a: &Features, i: usize, b: &Features, j: usize| -> f64 {
            let [a, b] = [(a, i), (b, j)].map(|(f, row)| &f.values[row * dim..][..dim]);
            let squares = a
                .iter()
                .zip(b)
                .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
            squares.sum()
        };
        let share = |points: &Features, centres: &Features| {
            let radius = |i: usize| {
                let others = (0..n).filter(|j| *j != i);
                let mut all: Vec<f64> = others.map(|j| distance(centres, i, centres, j)).collect();
                all.sort_by(f64::total_cmp);
                all[k - 1]
            };
            let radii: Vec<f64> = (0..n).map(radius).collect();
            let within =
                (0..n).filter(|i| (0..n).any(|j| distance(points, *i, centres, j) <= radii[j]));
            within.count() as f64 / n as f64
        };
        let found = precision_recall(&real, &samples, k).unwrap();
        assert_eq!(found.precision, share(&samples, &real));
        assert_eq!(found.recall, share(&real, &samples));
        assert!(found.precision < 0.9 && found.precision > 0.1, "{found:?}");
    }

    #[test]
    fn too_few_and_unlike_features_are_refused() {
        let few = precision_recall(&on_a_line(&[1.0, 2.0, 3.0]), &on_a_line(&[1.0; 9]), 3);
        let error = few.unwrap_err().to_string();
        assert!(error.contains("3 images are too few, 4"), "{error}");
        let none = precision_recall(&on_a_line(&[1.0; 9]), &on_a_line(&[1.0; 9]), 0);
        assert!(none.is_err());
        let wide = Features {
            dim: 2,
            values: vec![0.0; 18],
        };
        assert!(precision_recall(&wide, &on_a_line(&[1.0; 9]), 3).is_err());
    }
}
