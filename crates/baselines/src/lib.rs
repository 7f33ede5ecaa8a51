//! The methods that short-run inference is compared with, on the same generator, data and metrics.

mod abp;
pub mod glo;
pub mod glow;
mod mcmc;

pub use abp::AbpConfig;
pub use mcmc::McmcConfig;

/// A tensor's values on the host, row by row.
fn host<B: burn::prelude::Backend, const D: usize>(tensor: burn::Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().iter().collect()
}
