//! Stochastic Lanczos quadrature of the log-determinants (Ubaru, Chen and Saad, *Fast Estimation of
//! tr(f(A)) via Stochastic Lanczos Quadrature*, 2017): m Hessian-vector products for each probe in
//! place of the d of a whole Hessian.

use burn::prelude::*;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use shortrun_langevin::{Curvature, NoiseKey, Purpose, StepSizes};

use crate::{
    Determinants, Evaluation, Model, ObjectiveError, Problem,
    chain::{Path, device, host, roots},
    linear_algebra::{dot, quadrature},
};

/// Settings of stochastic Lanczos quadrature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LanczosConfig {
    /// m, the Lanczos steps of each probe: as many Hessian-vector products.
    pub steps: usize,
    /// Random probes for each example and Langevin step. Two or more give a standard error.
    pub probes: usize,
    /// Seed of the probes. The same probes serve every step size.
    pub seed: u64,
}

impl Default for LanczosConfig {
    /// 12 steps, 4 probes.
    fn default() -> Self {
        Self {
            steps: 12,
            probes: 4,
            seed: 0,
        }
    }
}

/// Steps and probes at most.
const MOST: usize = 1_000_000;

/// The objective with estimated determinants.
pub(crate) fn evaluate<B: Backend>(
    model: &Model<'_, B>,
    problem: &Problem<B>,
    sizes: &StepSizes,
    config: LanczosConfig,
) -> Result<Evaluation, ObjectiveError> {
    for (setting, count) in [
        ("lanczos.steps", config.steps),
        ("lanczos.probes", config.probes),
    ] {
        if !(1..=MOST).contains(&count) {
            let reason = format!("must be between 1 and {MOST}; found {count}");
            return Err(ObjectiveError::Setting { setting, reason });
        }
    }
    let curvature = model.curvature("lanczos")?;
    let rows = model.rows_alone(curvature.bytes_per_row());
    let path = Path::run(model, problem, sizes)?;
    let (n, d) = (problem.examples(), problem.dim());
    let mut determinants = Determinants {
        log: Vec::new(),
        smallest_eigenvalue: Vec::new(),
    };
    // Σ_k of each probe's estimate, [n][probes].
    let mut totals = vec![vec![0.0; config.probes]; n];
    let mut products = 0;
    if !path.all_exploded() {
        for k in 0..problem.steps() {
            let roots = roots(sizes, k, d);
            let probes = config.probes(k, n, d);
            let position = &path.positions[k];
            let recursion = Recursion::run(curvature, position, &roots, probes, config, rows);
            products += recursion.products;
            let (mut log, mut smallest) = (vec![0.0; n], vec![f64::INFINITY; n]);
            for i in 0..n {
                for (p, total) in totals[i].iter_mut().enumerate() {
                    let estimate = recursion.estimate(i * config.probes + p, d)?;
                    log[i] += estimate.log / config.probes as f64;
                    smallest[i] = smallest[i].min(estimate.smallest);
                    *total += estimate.log;
                }
            }
            determinants.log.push(log);
            determinants.smallest_eigenvalue.push(smallest);
        }
    }
    let cost = n * (problem.steps() + 1) + 2 * products;
    Ok(Evaluation {
        determinants: Some(determinants),
        probe_error: standard_error(&totals),
        ..path.evaluation(problem, |i| mean(&totals[i]), cost)
    })
}

impl LanczosConfig {
    /// Rademacher probes of norm 1, `[n, probes, d]`.
    fn probes(self, k: usize, n: usize, d: usize) -> Vec<f64> {
        let key = NoiseKey {
            seed: self.seed,
            iteration: k as u64,
            purpose: Purpose::Probes,
        };
        let mut rng = key.rng(0);
        let entry = (d as f64).sqrt().recip();
        (0..n * self.probes * d)
            .map(|_| if rng.random::<bool>() { entry } else { -entry })
            .collect()
    }
}

/// The Lanczos recursions of all probes of all examples at one step of the chain.
struct Recursion {
    /// Diagonals and off-diagonals of the tridiagonal matrices, by probe.
    tridiagonal: Vec<(Vec<f64>, Vec<f64>)>,
    /// Hessian-vector products made.
    products: usize,
}

struct Estimate {
    log: f64,
    smallest: f64,
}

/// Below this part of the matrix's size, the recursion has found an invariant subspace.
const BREAKDOWN: f64 = 1e-6;

impl Recursion {
    /// Lanczos with full re-orthogonalisation on `S^{1/2} H S^{1/2}`.
    fn run<B: Backend>(
        curvature: &dyn Curvature<B>,
        position: &Tensor<B, 2>,
        roots: &[f64],
        probes: Vec<f64>,
        config: LanczosConfig,
        rows: usize,
    ) -> Self {
        let [n, d] = position.dims();
        let count = n * config.probes;
        let mut tridiagonal = vec![(Vec::new(), Vec::new()); count];
        let mut done = vec![false; count];
        let mut bases: Vec<Vec<Vec<f64>>> = probes
            .chunks_exact(d)
            .map(|probe| vec![probe.to_vec()])
            .collect();
        let mut products = 0;
        for _ in 0..config.steps.min(d) {
            let scaled: Vec<f64> = bases
                .iter()
                .flat_map(|basis| basis[basis.len() - 1].iter().zip(roots))
                .map(|(v, root)| v * root)
                .collect();
            let vectors = device(&scaled, [n, config.probes, d], &position.device());
            let product = host(curvature.hessian_products(position.clone(), vectors, rows));
            products += count;
            for (p, product) in product.chunks_exact(d).enumerate() {
                if done[p] {
                    continue;
                }
                let mut next: Vec<f64> = product.iter().zip(roots).map(|(v, r)| v * r).collect();
                let basis = &mut bases[p];
                let (diagonal, beside) = &mut tridiagonal[p];
                let length: f64 = dot(&next, &next).sqrt();
                diagonal.push(dot(&next, &basis[basis.len() - 1]));
                // Twice is enough (Parlett): the products are of float32.
                for _ in 0..2 {
                    for v in basis.iter() {
                        let along = dot(&next, v);
                        next.iter_mut().zip(v).for_each(|(x, v)| *x -= along * v);
                    }
                }
                let norm = dot(&next, &next).sqrt();
                // Numbers that are not finite end the recursion too.
                let goes_on = norm.is_finite() && norm > BREAKDOWN * length;
                if !goes_on || basis.len() == config.steps.min(d) {
                    done[p] = true;
                } else {
                    beside.push(norm);
                    next.iter_mut().for_each(|x| *x /= norm);
                    basis.push(next);
                }
            }
        }
        Self {
            tridiagonal,
            products,
        }
    }

    /// `d Σ_i w_i log|1 - θ_i|` of one probe.
    fn estimate(&self, probe: usize, d: usize) -> Result<Estimate, ObjectiveError> {
        let (diagonal, beside) = &self.tridiagonal[probe];
        if diagonal
            .iter()
            .chain(beside)
            .any(|value| !value.is_finite())
        {
            return Ok(Estimate {
                log: f64::NEG_INFINITY,
                smallest: 0.0,
            });
        }
        let mut estimate = Estimate {
            log: 0.0,
            smallest: f64::INFINITY,
        };
        for (node, weight) in quadrature(diagonal, beside)? {
            let factor = (1.0 - node).abs();
            estimate.log += d as f64 * weight * factor.ln();
            estimate.smallest = estimate.smallest.min(factor);
        }
        Ok(estimate)
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Of the mean over examples, from the spread among each example's probes; `None` with one probe.
fn standard_error(totals: &[Vec<f64>]) -> Option<f64> {
    let (n, probes) = (totals.len() as f64, totals.first()?.len() as f64);
    if probes < 2.0 {
        return None;
    }
    let variance = totals.iter().map(|probes_of_one| {
        let mean = mean(probes_of_one);
        let squares = probes_of_one.iter().map(|value| (value - mean).powi(2));
        squares.sum::<f64>() / (probes - 1.0) / probes
    });
    Some(variance.sum::<f64>().sqrt() / n)
}
