//! The methods that short-run inference is compared with, on the same generator, data and metrics.

mod amortised;
mod encoder;
mod gaussian;
mod iaf;
mod inference;
mod top_down;
mod vae;

pub use amortised::{Amortised, Amortising};
pub use encoder::{ConvNorm, Encoder, Level, Residual};
pub use gaussian::Gaussian;
pub use iaf::{Flow, FlowEncoder, FlowMethod, IafConfig, Made};
pub use inference::{InferenceNetwork, Inferred, TopDown};
pub use top_down::top_down_posterior;
pub use vae::{EncoderMethod, LadderVaeConfig, VaeConfig};
