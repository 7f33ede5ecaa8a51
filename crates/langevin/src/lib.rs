//! Short-run Langevin dynamics on a flat latent vector.
//!
//! A chain of K steps starts at noise and moves towards the posterior `p(e | x) ∝ exp(-U(e))`:
//!
//! ```text
//! e_{k+1} = e_k - s_k ∇U(e_k) + sqrt(2 s_k) n_k,    n_k ~ N(0, I),   k = 0, …, K-1
//! ```
//!
//! This is unadjusted Langevin dynamics, stopped after a short, fixed number of steps (Nijkamp,
//! Pang, Han, Zhou, Zhu and Wu, *Learning Multi-layer Latent Variable Model via Variational
//! Optimization of Short Run MCMC for Approximate Inference*, 2020). The crate knows nothing of
//! images or networks: give it anything that implements [`Posterior`], a trait with one method.
//!
//! ```
//! use burn::{backend::Flex, prelude::*, tensor::backend::AutodiffBackend};
//! use shortrun_langevin::{ByAutodiff, Noise, NoiseKey, Posterior, Purpose, ShortRun, StepSize};
//!
//! /// A standard normal posterior.
//! struct Normal;
//!
//! impl<B: Backend> Posterior<B> for Normal {
//!     fn energy(&self, latents: Tensor<B, 2>) -> Tensor<B, 1> {
//!         latents.square().sum_dim(1).squeeze_dim(1) / 2.0
//!     }
//! }
//!
//! let device = Default::default();
//! let key = |purpose| NoiseKey { seed: 1, iteration: 0, purpose };
//! let start = key(Purpose::Start).normal::<Flex, 2>([8, 3], 0, &device);
//! let chain = ShortRun::new(25, StepSize::from_eta(0.05)?)?;
//! let run = chain.run(&ByAutodiff(Normal), start, Noise::Keyed(key(Purpose::Langevin)))?;
//! assert_eq!(run.latents.dims(), [8, 3]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod chain;
mod curvature;
mod diagnostics;
mod layers;
mod noise;
mod persistent;
mod philox;
mod posterior;
mod step_size;
mod step_sizes;

pub use chain::{ChainError, Noise, Run, ShortRun, langevin_step};
pub use curvature::{Autodiff2, Autodiff3, ByNestedAutodiff, Curvature};
pub use diagnostics::{Diagnostics, Divergence, Trace};
pub use layers::{LatentLayers, LayersError};
pub use noise::{NoiseKey, Purpose};
pub use persistent::PersistentChains;
pub use posterior::{ByAutodiff, EnergyGradient, Posterior, gradient_by_autodiff};
pub use step_size::{StepSize, StepSizeError};
pub use step_sizes::{Step, StepSizes};
