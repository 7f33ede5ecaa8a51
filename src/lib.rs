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
//! | [`stepsize_vi`] | tuning the chain's step size, on any posterior |
//! | [`eval`] | reconstruction, synthesis, traces |
//! | [`backend`] | picking one of the compiled backends by name |
//! | [`run_config`] | `config.toml` |
//! | [`settings`] | what a user asks for, laid over a configuration |
//! | [`cli`] | the command line |

pub mod backend;
pub mod cli;
pub mod run_config;
pub mod settings;

pub use shortrun_data as data;
pub use shortrun_eval as eval;
pub use shortrun_langevin as langevin;
pub use shortrun_model as model;
pub use shortrun_stepsize_vi as stepsize_vi;
pub use shortrun_train as train;
