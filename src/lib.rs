//! Deep generative models with several layers of latent variables, learned without an inference
//! network.
//!
//! For each image a short, noise-initialised Langevin chain infers the latents; the generator
//! learns from those. The method is that of Nijkamp, Pang, Han, Zhou, Zhu and Wu, *Learning
//! Multi-layer Latent Variable Model via Variational Optimization of Short Run MCMC for Approximate
//! Inference* (2020).
//!
//! This crate is the front door: it re-exports the crates of the workspace, and holds the command
//! line.
//!
//! | module | what it is for |
//! |---|---|
//! | [`langevin`] | the short chain, on any posterior |
//! | [`model`] | the generator, its energy and latent gradient |
//! | [`data`] | images |
//! | [`train`] | learning, checkpoints, metrics |
//! | [`baselines`] | the methods that short-run inference is compared with |
//! | [`stepsize_vi`] | tuning the chain's step size, on any posterior |
//! | [`eval`] | reconstruction, synthesis, traces |
//! | [`fid`] | how far samples are from real images |
//! | [`report`] | one HTML page about a run |
//! | [`backend`] | picking one of the compiled backends by name |
//! | [`run`] | opening a run folder |
//! | [`run_config`] | `config.toml` |
//! | [`settings`] | what a user asks for, laid over a configuration |
//! | [`cli`] | the command line |

//!
//! # Tuning the chain of your own model
//!
//! Any [`Generator`](model::Generator) will do; `generator` here is the built-in one, small.
//!
//! ```
//! # #[cfg(feature = "flex")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use burn::{backend::{Autodiff, Flex}, module::Module, prelude::*};
//! use shortrun::{langevin::*, model::*, stepsize_vi::*};
//!
//! # let device = Default::default();
//! # let mut shape = Preset::Quick.config(28, 1)?;
//! # (shape.latents, shape.features) = (LatentLayers::new([1, 2])?, 2);
//! # let generator = shape.init::<Flex>(1, &device);
//! # let images = Tensor::<Flex, 4>::zeros([2, 1, 28, 28], &device);
//! # let key = NoiseKey { seed: 1, iteration: 0, purpose: Purpose::StepSize };
//! let lifted = generator.train::<Autodiff<Flex>>().train::<Autodiff2<Flex>>().train::<Autodiff3<Flex>>();
//! let observation = Observation::new(images, 0.3)?;
//! let posterior = ByNestedAutodiff::new(NestedPosterior::new(lifted, observation));
//! let problem = Problem::<Flex>::drawn(key, [2, 3], 4, &device)?; // 2 images, 3 latents, K = 4
//! let model = Model::with_curvature(&posterior, MemoryBudget::mib(1024));
//! let start = StepSize::from_eta(0.05)?.into();
//! let found = Search::grid().run(&model, &problem, Objective::Exact, &start)?;
//! println!("{}: {:.1} nats", found.step_sizes, found.evaluation.mean());
//! # assert!(found.evaluation.mean().is_finite());
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "flex"))]
//! # fn main() {}
//! ```

pub mod backend;
pub mod cli;
pub mod run;
pub mod run_config;
pub mod settings;

pub use shortrun_baselines as baselines;
pub use shortrun_data as data;
pub use shortrun_eval as eval;
pub use shortrun_fid as fid;
pub use shortrun_langevin as langevin;
pub use shortrun_model as model;
pub use shortrun_report as report;
pub use shortrun_stepsize_vi as stepsize_vi;
pub use shortrun_train as train;
