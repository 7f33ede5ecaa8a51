//! The exact objective, and its exact gradient by one sweep back along the chain.

use std::{collections::VecDeque, thread::ScopedJoinHandle};

use burn::prelude::*;
use rayon::prelude::*;
use shortrun_langevin::{Curvature, StepSizes};

use crate::{
    Determinants, Evaluation, Model, ObjectiveError, Problem, Slope,
    chain::{Path, device, host, roots},
    linear_algebra::{Determinant, Factor, Inverse, times},
    slope::SlopeSum,
};

const NAME: &str = "exact";

/// F and its parts.
pub(crate) fn evaluate<B: Backend>(
    model: &Model<'_, B>,
    problem: &Problem<B>,
    sizes: &StepSizes,
) -> Result<Evaluation, ObjectiveError> {
    let curvature = model.curvature(NAME)?;
    let rows = rows(model, problem)?;
    let path = Path::run(model, problem, sizes)?;
    let d = problem.dim();
    let mut steps = Vec::with_capacity(problem.steps());
    if path.all_exploded() {
        steps = exploded(problem);
    } else {
        let found = |of_step: Result<_, _>| -> Result<(), ObjectiveError> {
            steps.push(of_step?);
            Ok(())
        };
        let hessians = |k: usize| (host(curvature.hessian(path.positions[k].clone(), rows)), k);
        alongside(
            0..problem.steps(),
            problem.examples(),
            hessians,
            |(hessians, k)| determinants(&hessians, &roots(sizes, k, d)),
            found,
        )?;
    }
    let cost = problem.examples() * (problem.steps() * (1 + 2 * d) + 1);
    Ok(evaluation(problem, &path, steps, cost))
}

/// Determinants where there is nothing to take apart.
fn exploded<B: Backend>(problem: &Problem<B>) -> Vec<Vec<Determinant>> {
    vec![vec![Determinant::EXPLODED; problem.examples()]; problem.steps()]
}

/// Of the examples' Hessians, `[n, d, d]`.
fn determinants(hessians: &[f64], roots: &[f64]) -> Result<Vec<Determinant>, ObjectiveError> {
    let d = roots.len();
    hessians
        .par_chunks_exact(d * d)
        .map(|hessian| Factor::new(hessian, roots).determinant())
        .collect()
}

/// For each of `order`: `device` here, `host` with what that made on a thread of its own, and `found`
/// here again with the result, in order. The device works on a step while the host takes those before
/// it apart: as many as there are threads for, `examples` of them for each step.
fn alongside<A: Send, R: Send>(
    order: impl Iterator<Item = usize>,
    examples: usize,
    device: impl Fn(usize) -> A,
    host: impl Fn(A) -> R + Sync,
    mut found: impl FnMut(R) -> Result<(), ObjectiveError>,
) -> Result<(), ObjectiveError> {
    let room = (rayon::current_num_threads() / examples.max(1)).max(1);
    let host = &host;
    std::thread::scope(|scope| {
        let mut waiting = VecDeque::new();
        let mut take = |worker: ScopedJoinHandle<'_, R>| match worker.join() {
            Ok(result) => found(result),
            Err(panic) => std::panic::resume_unwind(panic),
        };
        for k in order {
            let made = device(k);
            if waiting.len() == room
                && let Some(first) = waiting.pop_front()
            {
                take(first)?;
            }
            waiting.push_back(scope.spawn(move || host(made)));
        }
        waiting.into_iter().try_for_each(take)
    })
}

/// F and `dF/ds` of every step size, in one sweep back along the chain.
///
/// ```text
/// λ_K = ∇U(e_K)
/// dF/ds_k = λ_{k+1} · (-∇U(e_k) + n_k / sqrt(2 s_k)) + diag(H A⁻¹),        A = I - S H(e_k)
/// λ_k = Aᵀ λ_{k+1} + ∇_e tr(A⁻¹ S H(e)) at e_k, with A⁻¹ S held fixed
/// ```
///
/// No more steps are worked on at a time than there are threads, so memory does not grow with K.
pub(crate) fn slope<B: Backend>(
    model: &Model<'_, B>,
    problem: &Problem<B>,
    sizes: &StepSizes,
) -> Result<Slope, ObjectiveError> {
    let curvature = model.curvature(NAME)?;
    let rows = rows(model, problem)?;
    let path = Path::run(model, problem, sizes)?;
    let (n, d) = (problem.examples(), problem.dim());
    let mut slopes = SlopeSum::new(sizes, n);
    let mut steps = Vec::with_capacity(problem.steps());
    let mut adjoint = host(path.gradients[problem.steps()].clone());
    if path.all_exploded() {
        steps = exploded(problem);
    } else {
        let hessians = |k: usize| (k, host(curvature.hessian(path.positions[k].clone(), rows)));
        let work = |(k, hessians)| StepBack::new(problem, hessians, roots(sizes, k, d), k);
        let found = |back: Result<StepBack, _>| {
            let mut back: StepBack = back?;
            back.add_derivatives(curvature, problem, &path, rows);
            for (i, adjoint) in adjoint.chunks_exact(d).enumerate() {
                slopes.add(back.k, &back.slope(i, adjoint));
            }
            adjoint = back.adjoint(&adjoint);
            steps.push(back.determinants);
            Ok(())
        };
        alongside((0..problem.steps()).rev(), n, hessians, work, found)?;
        steps.reverse();
    }
    // The third derivative counts as two further products for each direction.
    let cost = n * (problem.steps() * (1 + 4 * d) + 1);
    Ok(slopes.finish(evaluation(problem, &path, steps, cost)))
}

/// One step of the sweep, for all examples.
struct StepBack {
    k: usize,
    d: usize,
    roots: Vec<f64>,
    hessians: Vec<f64>,
    /// `A⁻¹ S`, `[n, d, d]`, until they are with the device.
    weights: Vec<f64>,
    /// `∇U(e_k)`, `[n, d]`.
    gradients: Vec<f64>,
    /// `n_k`, `[n, d]`.
    noise: Vec<f64>,
    /// `∇_e tr(A⁻¹ S H(e))`, `[n, d]`.
    third: Vec<f64>,
    /// Diagonals of `H A⁻¹`, `[n, d]`.
    traces: Vec<f64>,
    determinants: Vec<Determinant>,
}

impl StepBack {
    /// What the Hessians `[n, d, d]` of step k give.
    fn new<B: Backend>(
        problem: &Problem<B>,
        hessians: Vec<f64>,
        roots: Vec<f64>,
        k: usize,
    ) -> Result<Self, ObjectiveError> {
        let (n, d) = (problem.examples(), problem.dim());
        let inverses: Vec<Option<Inverse>> = hessians
            .par_chunks_exact(d * d)
            .map(|hessian| Factor::new(hessian, &roots).inverse())
            .collect::<Result<_, _>>()?;
        let mut weights = vec![0.0; n * d * d];
        let mut traces = vec![f64::NAN; n * d];
        let mut determinants = vec![Determinant::EXPLODED; n];
        for (i, inverse) in inverses.into_iter().enumerate() {
            // An exploded example keeps its NaN; the others are not touched by it.
            if let Some(inverse) = inverse {
                weights[i * d * d..(i + 1) * d * d].copy_from_slice(&inverse.weights);
                traces[i * d..(i + 1) * d].copy_from_slice(&inverse.slopes);
                determinants[i] = inverse.determinant;
            }
        }
        Ok(Self {
            k,
            d,
            roots,
            hessians,
            weights,
            gradients: Vec::new(),
            noise: Vec::new(),
            third: Vec::new(),
            traces,
            determinants,
        })
    }

    /// What the device knows.
    fn add_derivatives<B: Backend>(
        &mut self,
        curvature: &dyn Curvature<B>,
        problem: &Problem<B>,
        path: &Path<B>,
        rows: usize,
    ) {
        let (n, d) = (problem.examples(), self.d);
        let position = path.positions[self.k].clone();
        let weights = device(
            &std::mem::take(&mut self.weights),
            [n, d, d],
            &position.device(),
        );
        self.third = host(curvature.trace_gradient(position, weights, rows));
        self.gradients = host(path.gradients[self.k].clone());
        self.noise = host(problem.noise(self.k));
    }

    /// `dF/ds` of example i in each dimension.
    fn slope(&self, i: usize, adjoint: &[f64]) -> Vec<f64> {
        let at = i * self.d;
        (0..self.d)
            .map(|j| {
                let noise = self.noise[at + j] / (self.roots[j] * std::f64::consts::SQRT_2);
                adjoint[j] * (noise - self.gradients[at + j]) + self.traces[at + j]
            })
            .collect()
    }

    /// `λ_k` of all examples from `λ_{k+1}`.
    fn adjoint(&self, after: &[f64]) -> Vec<f64> {
        let d = self.d;
        let mut before = after.to_vec();
        for (i, after) in after.chunks_exact(d).enumerate() {
            let stepped: Vec<f64> = after
                .iter()
                .zip(&self.roots)
                .map(|(adjoint, root)| adjoint * root * root)
                .collect();
            let bent = times(&self.hessians[i * d * d..(i + 1) * d * d], &stepped);
            for (j, bent) in bent.iter().enumerate() {
                before[i * d + j] += self.third[i * d + j] - bent;
            }
        }
        before
    }
}

fn rows<B: Backend>(model: &Model<'_, B>, problem: &Problem<B>) -> Result<usize, ObjectiveError> {
    let bytes = model.curvature(NAME)?.bytes_per_row();
    model.rows_beside_hessians([problem.examples(), problem.dim()], bytes)
}

/// The parts of F from the chain and the determinants of its steps (none if it exploded).
fn evaluation<B: Backend>(
    problem: &Problem<B>,
    path: &Path<B>,
    steps: Vec<Vec<Determinant>>,
    gradient_evaluations: usize,
) -> Evaluation {
    let by_step = |part: fn(&Determinant) -> f64| -> Vec<Vec<f64>> {
        let steps = steps.iter();
        steps.map(|step| step.iter().map(part).collect()).collect()
    };
    let expansion = |i: usize| steps.iter().map(|step| step[i].log).sum();
    Evaluation {
        determinants: Some(Determinants {
            log: by_step(|determinant| determinant.log),
            smallest_eigenvalue: by_step(|determinant| determinant.smallest),
        }),
        ..path.evaluation(problem, expansion, gradient_evaluations)
    }
}
