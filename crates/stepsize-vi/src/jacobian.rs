//! The paper's own route to the log-determinant, as a cross-check: the Jacobian of the whole chain
//! and its eigenvalues.

use burn::{backend::Autodiff, prelude::*};
use rayon::prelude::*;
use shortrun_langevin::{Autodiff2, Posterior, StepSizes, gradient_by_autodiff, langevin_step};

use crate::{ObjectiveError, Problem, chain::host, linear_algebra::log_modulus_of_eigenvalues};

/// The Jacobian `∂e_K / ∂e_0` of the whole chain, row by row through nested autodiff: `[n, d, d]`.
///
/// **Slow**: each of its d rows runs the chain again and holds the tape of all K steps. The
/// exact objective needs neither; this exists to check it.
///
/// # Errors
/// If the step sizes do not fit the chain.
pub fn jacobian<B: Backend>(
    posterior: &impl Posterior<Autodiff2<B>>,
    problem: &Problem<B>,
    sizes: &StepSizes,
) -> Result<Tensor<B, 3>, ObjectiveError> {
    problem.check(sizes)?;
    let (n, d) = (problem.examples(), problem.dim());
    let device = problem.start().device();
    let rows = (0..d).map(|j| {
        let leaf = Tensor::<Autodiff<B>, 2>::from_inner(problem.start().clone()).require_grad();
        let mut latents = leaf.clone();
        for k in 0..problem.steps() {
            let (_, gradient) = gradient_by_autodiff::<Autodiff2<B>>(latents.clone(), |latents| {
                posterior.energy(latents)
            });
            let noise = Some(Tensor::from_inner(problem.noise(k)));
            let step = sizes.step::<Autodiff<B>>(k, &device);
            latents = langevin_step(latents, gradient, noise, &step);
        }
        let gradients = latents.slice([0..n, j..j + 1]).sum().backward();
        let row = leaf.grad(&gradients);
        row.unwrap_or_else(|| problem.start().zeros_like())
            .unsqueeze_dim::<3>(1)
    });
    Ok(Tensor::cat(rows.collect(), 1))
}

/// `log|det ∂e_K / ∂e_0|` of each example, as the paper computes it: the sum of the logarithms of
/// the moduli of the eigenvalues of [`jacobian`].
///
/// # Errors
/// If the step sizes do not fit the chain, or the eigenvalue iteration fails.
pub fn log_determinant_by_jacobian<B: Backend>(
    posterior: &impl Posterior<Autodiff2<B>>,
    problem: &Problem<B>,
    sizes: &StepSizes,
) -> Result<Vec<f64>, ObjectiveError> {
    let d = problem.dim();
    host(jacobian(posterior, problem, sizes)?)
        .par_chunks_exact(d * d)
        .map(|jacobian| log_modulus_of_eigenvalues(jacobian, d))
        .collect()
}
