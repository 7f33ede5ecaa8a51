//! The augmented bound: the chain's forward kernels against reverse kernels of the same form, as in
//! annealed Langevin variational inference (Thin et al., *Monte Carlo Variational Auto-Encoders*,
//! 2021). No determinant, no Hessian.
//!
//! With forward kernels `q(e_{k+1} | e_k) = N(e_k - S ∇U(e_k), 2 S)` and reverse kernels
//! `r(e_k | e_{k+1}) = N(e_{k+1} - S ∇U(e_{k+1}), 2 S)`,
//!
//! ```text
//! log q - log r = |v_k|² / 2 - |n_k|² / 2,   v_k = sqrt(S / 2) (∇U(e_k) + ∇U(e_{k+1})) - n_k
//! ```
//!
//! and `F = log p(e_0) + Σ_k (log q - log r) - log p(x, e_K)` is, in expectation, an upper bound of
//! `KL(q_s || posterior) - log p(x)`.

use burn::prelude::*;
use shortrun_langevin::StepSizes;

use crate::{
    Evaluation, Model, ObjectiveError, Problem, Slope,
    chain::{Path, device, host, roots},
    linear_algebra::dot,
    slope::SlopeSum,
};

const NAME: &str = "augmented";

/// The bound and its parts.
pub(crate) fn evaluate<B: Backend>(
    model: &Model<'_, B>,
    problem: &Problem<B>,
    sizes: &StepSizes,
) -> Result<Evaluation, ObjectiveError> {
    let path = Path::run(model, problem, sizes)?;
    let way = Way::new(problem, &path, sizes);
    let cost = problem.examples() * (problem.steps() + 1);
    Ok(way.evaluation(problem, &path, cost))
}

/// The bound and its exact derivatives, by a sweep back with one Hessian-vector product a step.
///
/// ```text
/// c_k = sqrt(S_k / 2) v_k                                      (c_{-1} = c_K = 0)
/// λ_K = ∇U(e_K) + H(e_K) c_{K-1}
/// dF/ds_k = λ_{k+1} · (-∇U(e_k) + n_k / sqrt(2 s_k)) + v_k · (∇U(e_k) + ∇U(e_{k+1})) / (2 sqrt(2 s_k))
/// λ_k = λ_{k+1} + H(e_k) (c_k + c_{k-1} - S_k λ_{k+1})
/// ```
pub(crate) fn slope<B: Backend>(
    model: &Model<'_, B>,
    problem: &Problem<B>,
    sizes: &StepSizes,
) -> Result<Slope, ObjectiveError> {
    let curvature = model.curvature(NAME)?;
    let rows = model.rows_alone(curvature.bytes_per_row());
    let path = Path::run(model, problem, sizes)?;
    let way = Way::new(problem, &path, sizes);
    let (n, d, steps) = (problem.examples(), problem.dim(), problem.steps());
    let cost = n * (steps + 1) * 3;
    let mut slopes = SlopeSum::new(sizes, n);
    if path.all_exploded() {
        return Ok(slopes.finish(way.evaluation(problem, &path, cost)));
    }

    let product = |k: usize, vectors: &[f64]| {
        let vectors = device(vectors, [n, 1, d], &problem.start().device());
        host(curvature.hessian_products(path.positions[k].clone(), vectors, rows))
    };
    let mut adjoint = way.gradients[steps].clone();
    add(&mut adjoint, &product(steps, &way.pull(steps - 1)));
    for k in (0..steps).rev() {
        for i in 0..n {
            let example = i * d..(i + 1) * d;
            slopes.add(k, &way.slope(k, example.clone(), &adjoint[example]));
        }
        let mut vectors = way.pull(k);
        if k > 0 {
            add(&mut vectors, &way.pull(k - 1));
        }
        for (at, vector) in vectors.iter_mut().enumerate() {
            *vector -= way.roots[k][at % d].powi(2) * adjoint[at];
        }
        add(&mut adjoint, &product(k, &vectors));
    }
    Ok(slopes.finish(way.evaluation(problem, &path, cost)))
}

/// What the bound needs of a chain, on the host.
struct Way {
    d: usize,
    /// `sqrt(s)` by step and dimension.
    roots: Vec<Vec<f64>>,
    /// `∇U(e_k)`, K + 1 of `[n, d]`.
    gradients: Vec<Vec<f64>>,
    /// `n_k`, K of `[n, d]`.
    noise: Vec<Vec<f64>>,
    /// `v_k`, K of `[n, d]`.
    reverse_noise: Vec<Vec<f64>>,
}

impl Way {
    fn new<B: Backend>(problem: &Problem<B>, path: &Path<B>, sizes: &StepSizes) -> Self {
        let (d, steps) = (problem.dim(), problem.steps());
        let gradients: Vec<Vec<f64>> = path.gradients.iter().cloned().map(host).collect();
        let noise: Vec<Vec<f64>> = (0..steps).map(|k| host(problem.noise(k))).collect();
        let roots: Vec<Vec<f64>> = (0..steps).map(|k| roots(sizes, k, d)).collect();
        let reverse_noise = (0..steps).map(|k| {
            let both = gradients[k].iter().zip(&gradients[k + 1]).zip(&noise[k]);
            both.enumerate()
                .map(|(at, ((before, after), noise))| {
                    let root = roots[k][at % d] * std::f64::consts::FRAC_1_SQRT_2;
                    root * (before + after) - noise
                })
                .collect()
        });
        Self {
            reverse_noise: reverse_noise.collect(),
            d,
            roots,
            gradients,
            noise,
        }
    }

    fn evaluation<B: Backend>(
        &self,
        problem: &Problem<B>,
        path: &Path<B>,
        gradient_evaluations: usize,
    ) -> Evaluation {
        let expansion = |i: usize| {
            let example = i * self.d..(i + 1) * self.d;
            let square = |rows: &[f64]| dot(&rows[example.clone()], &rows[example.clone()]);
            let steps = self.noise.iter().zip(&self.reverse_noise);
            steps
                .map(|(noise, reverse)| 0.5 * (square(noise) - square(reverse)))
                .sum()
        };
        path.evaluation(problem, expansion, gradient_evaluations)
    }

    /// `c_k`, `[n, d]`.
    fn pull(&self, k: usize) -> Vec<f64> {
        let reverse = self.reverse_noise[k].iter().enumerate();
        reverse
            .map(|(at, v)| v * self.roots[k][at % self.d] * std::f64::consts::FRAC_1_SQRT_2)
            .collect()
    }

    /// `dF/ds` of an example in each dimension.
    fn slope(&self, k: usize, example: std::ops::Range<usize>, adjoint: &[f64]) -> Vec<f64> {
        example
            .zip(adjoint)
            .map(|(at, adjoint)| {
                let eta = self.roots[k][at % self.d] * std::f64::consts::SQRT_2;
                let (before, after) = (self.gradients[k][at], self.gradients[k + 1][at]);
                let kernel = self.reverse_noise[k][at] * (before + after) / (2.0 * eta);
                adjoint * (self.noise[k][at] / eta - before) + kernel
            })
            .collect()
    }
}

fn add(sum: &mut [f64], values: &[f64]) {
    sum.iter_mut()
        .zip(values)
        .for_each(|(sum, value)| *sum += value);
}
