//! What is done on Burn's CUDA backend by our own kernels.

pub(crate) mod products;
pub(crate) mod tensors;

use std::sync::Arc;

use burn::prelude::*;
use burn_cubecl::tensor::CubeTensor;
use cubecl::cuda::CudaRuntime;
use shortrun_kernels::{GeneratorKernels, cuda::Operands};

use crate::{
    GeneratorConfig, Precision,
    fused::{self, Fused, Made, flat, tensor},
    precision,
};

pub(crate) use shortrun_kernels::cuda::Network;

/// A tensor of the CUDA backend.
type Values = CubeTensor<CudaRuntime>;

/// Operands of 16 bits, float32 sums.
impl Fused for Network {
    fn of(like: &Values, config: &GeneratorConfig) -> Result<Arc<Self>, String> {
        static MADE: Made<Network> = Made::new(Vec::new());
        let operands = match precision() {
            Precision::Bf16 => Operands::Brain,
            Precision::F16 => Operands::Half,
            Precision::F32 => {
                return Err("nearly float32 was asked for (precision f32)".to_owned());
            }
        };
        let shape = fused::shape(config)?;
        shape.check()?;
        let wanted = |network: &Self| *network.shape() == shape && network.operands() == operands;
        let make = || Self::new(like.client.clone(), shape.clone(), operands);
        Ok(fused::once(&MADE, like, wanted, make))
    }
}

/// `None` if the tensor is not on the CUDA backend, or not float32.
fn values<B: Backend>(tensor: Tensor<B, 1>) -> Option<Values> {
    fused::values::<CudaRuntime, B>(tensor)
}
