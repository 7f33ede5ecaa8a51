//! Multi-layer latent-variable generators.
//!
//! The built-in [`MultiLayerGenerator`] is the top-down network of Nijkamp et al. (2020), Table 4:
//! noise vectors `e_L, …, e_1` (top layer first) shape feature maps layer by layer, and the last
//! features become an image. As an [`Architecture::Ladder`] it is the top-down network of Zhao, Song
//! and Ermon (2017) instead, whose layers are independent. Any other network works with the chain, with training and with
//! reconstruction too, once it implements [`Generator`], a trait with one required method.
//!
//! ```
//! use burn::{backend::Flex, prelude::*};
//! use shortrun_model::{Generator, Preset};
//!
//! let device = Default::default();
//! let generator = Preset::Quick.config(32, 3)?.init::<Flex>(1, &device);
//! let images = generator.forward(Tensor::zeros([2, generator.config().latents.dim()], &device));
//! assert_eq!(images.dims(), [2, 3, 32, 32]);
//! # Ok::<(), shortrun_model::ConfigError>(())
//! ```

mod adam;
mod block;
mod config;
mod conv_gelu;
#[cfg(feature = "cuda")]
mod cuda;
mod dense;
mod explicit;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
mod fused;
mod gelu;
mod generator;
#[cfg(feature = "flex")]
mod host;
mod init;
mod nested;
mod observation;
mod operands;
mod output;
mod precision;
mod preset;
mod stochastic;
mod summary;
mod tape;
mod top_down;
mod weights;
#[cfg(feature = "wgpu")]
mod wgpu;

pub use adam::{AdamTensor, AdamUpdate, gradient_sums};
pub use block::{Block, Project, Refine};
pub use config::{
    Architecture, ConfigError, GeneratorConfig, HeadWidth, Parameterisation, ScaleForm,
};
pub use conv_gelu::{conv, conv_gelu, conv_halving};
pub use dense::{dense, product};
pub use explicit::{CentredError, ExplicitCurvature, ExplicitPosterior};
pub use gelu::gelu;
pub use generator::{Generator, Learnable};
pub use init::Init;
pub use nested::NestedPosterior;
pub use observation::{Observation, ObservationError};
pub use operands::has_16_bit_operands;
pub use precision::{Precision, chosen_precision, precision, set_precision};
pub use preset::Preset;
pub use stochastic::{Head, Stochastic};
pub use summary::Summary;
pub use tape::TapePosterior;
pub use top_down::{Above, MultiLayerGenerator};
pub use weights::{WeightsError, load, save};
