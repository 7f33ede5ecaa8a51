//! GLO: generative latent optimisation.
//!
//! Bojanowski, Joulin, Lopez-Paz and Szlam (2018), *Optimizing the Latent Space of Generative
//! Networks*. Every training image has a latent z in the unit ball, which is learned together with
//! the generator. `docs/baselines/glo.md` says what differs from the paper.
//!
//! The generators here take latents that are standard normal a priori, whose length is about
//! `sqrt(d)`; so they are given `e = sqrt(d) z`, and the sphere is where such latents lie.

mod config;
mod gaussian;
mod laplacian;
mod latents;
mod method;
mod search;

pub use config::{GloConfig, GloLoss, SearchConfig};
pub use gaussian::LatentGaussian;
pub use laplacian::Pyramid;
pub use latents::{Latents, to_ball};
pub use method::GloMethod;
