//! What can be wrong with an objective or a search.

use shortrun_langevin::ChainError;
use thiserror::Error;

/// An objective that cannot be evaluated, or a search that cannot be made, as asked.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ObjectiveError {
    /// The chain itself makes no sense.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A step of size zero moves nothing, and the objective has no derivative there.
    #[error("step sizes must be above 0 for the objective; found 0")]
    ZeroStep,
    /// Not one example.
    #[error("the objective needs at least one example; found 0")]
    NoExamples,
    /// Densities of another number of examples.
    #[error("there are {found} log densities for {expected} starts")]
    Densities {
        /// How many were given.
        found: usize,
        /// n.
        expected: usize,
    },
    /// The energy at the start is not finite: no step size is to blame.
    #[error(
        "the energy of example {example} is {energy} at the start of its chain, before any step: \
         check the model's weights and the images"
    )]
    Energy {
        /// Which example.
        example: usize,
        /// Its energy.
        energy: f64,
    },
    /// Hessians that do not fit.
    #[error(
        "the exact objective of {examples} examples with d = {dim} latents needs {needed_mib} MiB, \
         the budget is {budget_mib} MiB: it holds {}; take fewer examples, raise the budget, or \
         use a cheap objective (lanczos or augmented), which needs no Hessian",
        fits(*examples_that_fit, *dim_that_fits)
    )]
    Memory {
        /// n.
        examples: usize,
        /// d.
        dim: usize,
        /// What it takes.
        needed_mib: usize,
        /// What there is.
        budget_mib: usize,
        /// Examples of this d that would fit.
        examples_that_fit: usize,
        /// The largest d of one example that would fit.
        dim_that_fits: usize,
    },
    /// Hessians of a model that gives none.
    #[error(
        "the {0} objective needs second derivatives of the energy, and this generator gives none: \
         implement Generator::curvature (nested autodiff will do), or use the augmented objective \
         with a grid"
    )]
    NoCurvature(&'static str),
    /// Gradient search on an objective without a gradient.
    #[error(
        "the lanczos objective has no gradient in the step size: use a grid or refine, or the \
         exact or augmented objective"
    )]
    NoGradient,
    /// A setting of a search or estimator that makes no sense.
    #[error("{setting} {reason}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Every step size that was tried made the chain explode.
    #[error(
        "every step size that was tried, the smallest eta = {smallest_eta}, makes the chain \
         explode; try smaller ones"
    )]
    AllExploded {
        /// The smallest.
        smallest_eta: f64,
    },
    /// The eigenvalue iteration did not converge.
    #[error("the eigenvalues of a Hessian could not be found")]
    Eigenvalues,
}

fn fits(examples: usize, dim: usize) -> String {
    if examples > 0 {
        format!("{examples} such examples")
    } else {
        format!("one example of d = {dim}")
    }
}
