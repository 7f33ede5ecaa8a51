//! Variational optimisation of the step size of a short Langevin chain.
//!
//! A chain of K Langevin steps turns the prior into some distribution `q_s` of latents. The step
//! size s that makes `q_s` closest to the posterior in Kullback–Leibler divergence minimises, in
//! expectation over the starts and the noise,
//!
//! ```text
//! F(s) = log p(e_0) - Σ_k log|det(I - s_k H(e_k))| - log p(x, e_K),   H = ∇²U
//! ```
//!
//! (Nijkamp, Pang, Han, Zhou, Zhu and Wu, *Learning Multi-layer Latent Variable Model via
//! Variational Optimization of Short Run MCMC for Approximate Inference*, 2020). Each factor of the
//! chain's Jacobian is symmetric, so the log-determinant of the whole chain is a sum of K symmetric
//! ones.
//!
//! **What F is.** With one noise sequence for each start,
//! `E[F] = KL(q_s || p(e|x)) - log p(x) + I(e_K; n)`: the mutual information of the end and the
//! noise makes it an upper bound of the divergence that leans to small steps.
//!
//! Three objectives: [`Exact`](Objective::Exact) with its exact gradient, stochastic
//! [`Lanczos`](Objective::Lanczos) quadrature, and the [`Augmented`](Objective::Augmented) bound,
//! which needs no determinant. Three searches over the step size: a [grid](Search::Grid), a grid
//! that is [refined](Search::Refine), and [gradient descent](Search::Gradient) on `log s`. All of
//! them hold starts and noise fixed, so that step sizes are compared on the same random numbers.
//!
//! ```
//! use burn::{backend::Flex, prelude::*};
//! use shortrun_langevin::{ByNestedAutodiff, NoiseKey, Posterior, Purpose, StepSize};
//! use shortrun_stepsize_vi::{MemoryBudget, Model, Objective, Problem, Search};
//!
//! /// A normal posterior of variance 1/5.
//! struct Narrow;
//!
//! impl<B: Backend> Posterior<B> for Narrow {
//!     fn energy(&self, latents: Tensor<B, 2>) -> Tensor<B, 1> {
//!         latents.square().sum_dim(1).squeeze_dim(1) * 2.5
//!     }
//! }
//!
//! let key = NoiseKey { seed: 1, iteration: 0, purpose: Purpose::StepSize };
//! let problem = Problem::<Flex>::drawn(key, [64, 2], 10, &Default::default())?;
//! let posterior = ByNestedAutodiff::new(Narrow);
//! let model = Model::with_curvature(&posterior, MemoryBudget::default());
//! let start = StepSize::from_drift(0.1)?.into();
//! let found = Search::refine().run(&model, &problem, Objective::Exact, &start)?;
//! assert!((0.01..0.2).contains(&found.step_sizes.sizes()[0].drift()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arrangement;
mod augmented;
mod chain;
mod error;
mod evaluation;
mod exact;
mod jacobian;
mod lanczos;
mod linear_algebra;
mod model;
mod objective;
mod problem;
mod search;
mod slope;

pub use arrangement::Arrangement;
pub use error::ObjectiveError;
pub use evaluation::{Determinants, Evaluation, Parts};
pub use jacobian::{jacobian, log_determinant_by_jacobian};
pub use lanczos::LanczosConfig;
pub use model::{MemoryBudget, Model};
pub use objective::{Objective, ObjectiveName};
pub use problem::Problem;
pub use search::{
    Adam, AdamState, Found, GradientSearch, GridSearch, Point, RefineSearch, Search, SearchName,
};
pub use slope::Slope;
