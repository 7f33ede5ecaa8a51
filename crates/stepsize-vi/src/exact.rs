//! The exact objective, and its exact gradient by one sweep back along the chain.

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
    let mut waiting = None;
    if path.all_exploded() {
        steps = exploded(problem);
    } else {
        for k in 0..problem.steps() {
            // The device works on step k while the host takes step k - 1 apart.
            let (hessian, before) = alongside(
                || host(curvature.hessian(path.positions[k].clone(), rows)),
                waiting.take().map(|job| move || determinants(job, d)),
            );
            steps.extend(before.transpose()?);
            waiting = Some((hessian, roots(sizes, k, d)));
        }
        steps.extend(waiting.map(|job| determinants(job, d)).transpose()?);
    }
    let cost = problem.examples() * (problem.steps() * (1 + 2 * d) + 1);
    Ok(evaluation(problem, &path, steps, cost))
}

/// Determinants where there is nothing to take apart.
fn exploded<B: Backend>(problem: &Problem<B>) -> Vec<Vec<Determinant>> {
    vec![vec![Determinant::EXPLODED; problem.examples()]; problem.steps()]
}

/// A Hessian for each example, and the roots of the step sizes at that step.
type Job = (Vec<f64>, Vec<f64>);

fn determinants((hessians, roots): Job, d: usize) -> Result<Vec<Determinant>, ObjectiveError> {
    hessians
        .par_chunks_exact(d * d)
        .map(|hessian| Factor::new(hessian, &roots).determinant())
        .collect()
}

/// Runs the second, if there is one, on a thread of its own.
fn alongside<A, R: Send>(
    here: impl FnOnce() -> A,
    there: Option<impl FnOnce() -> R + Send>,
) -> (A, Option<R>) {
    let Some(there) = there else {
        return (here(), None);
    };
    std::thread::scope(|scope| {
        let worker = scope.spawn(there);
        let found = here();
        match worker.join() {
            Ok(result) => (found, Some(result)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
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
/// One step is worked on at a time, so memory does not grow with K.
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
        for k in (0..problem.steps()).rev() {
            let back = StepBack::new(curvature, problem, &path, sizes, k, rows)?;
            for (i, adjoint) in adjoint.chunks_exact(d).enumerate() {
                slopes.add(k, &back.slope(i, adjoint));
            }
            adjoint = back.adjoint(&adjoint);
            steps.push(back.determinants);
        }
        steps.reverse();
    }
    // The third derivative counts as two further products for each direction.
    let cost = n * (problem.steps() * (1 + 4 * d) + 1);
    Ok(slopes.finish(evaluation(problem, &path, steps, cost)))
}

/// One step of the sweep, for all examples.
struct StepBack {
    d: usize,
    roots: Vec<f64>,
    hessians: Vec<f64>,
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
    fn new<B: Backend>(
        curvature: &dyn Curvature<B>,
        problem: &Problem<B>,
        path: &Path<B>,
        sizes: &StepSizes,
        k: usize,
        rows: usize,
    ) -> Result<Self, ObjectiveError> {
        let (n, d) = (problem.examples(), problem.dim());
        let position = path.positions[k].clone();
        let roots = roots(sizes, k, d);
        let hessians = host(curvature.hessian(position.clone(), rows));
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
        let weights = device(&weights, [n, d, d], &position.device());
        Ok(Self {
            third: host(curvature.trace_gradient(position, weights, rows)),
            gradients: host(path.gradients[k].clone()),
            noise: host(problem.noise(k)),
            d,
            roots,
            hessians,
            traces,
            determinants,
        })
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
