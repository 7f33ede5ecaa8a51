//! The methods that short-run inference is compared with, on the same generator, data and metrics.

mod abp;
mod amortised;
mod config;
mod encoder;
mod gaussian;
pub mod glo;
pub mod glow;
mod iaf;
mod inference;
mod mcmc;
mod top_down;
mod vae;

pub use abp::AbpConfig;
pub use amortised::{Amortised, Amortising};
pub use config::{MethodConfig, MethodName};
pub use encoder::{ConvNorm, Encoder, Level, Residual};
pub use gaussian::Gaussian;
pub use iaf::{Flow, FlowEncoder, FlowMethod, IafConfig, Made};
pub use inference::{InferenceNetwork, Inferred, TopDown};
pub use mcmc::McmcConfig;
pub use top_down::top_down_posterior;
pub use vae::{EncoderMethod, LadderVaeConfig, VaeConfig};
