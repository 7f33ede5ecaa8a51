//! What is done on Burn's wgpu backends (Vulkan, WebGPU) by our own kernels.

use std::sync::Arc;

use burn_cubecl::tensor::CubeTensor;
use cubecl::wgpu::WgpuRuntime;
use shortrun_kernels::{
    GeneratorKernels,
    portable::{self, Operands},
};

use crate::{
    GeneratorConfig, Precision,
    fused::{self, Fused, Made},
    precision,
};

pub(crate) type Network = portable::Network<WgpuRuntime>;

impl Fused for Network {
    fn of(like: &CubeTensor<WgpuRuntime>, config: &GeneratorConfig) -> Result<Arc<Self>, String> {
        static MADE: Made<Network> = Made::new(Vec::new());
        let shape = fused::shape(config)?;
        let operands = if precision() == Precision::F32 {
            Operands::Single
        } else {
            Operands::best(&like.client)
        };
        let wanted = |network: &Self| *network.shape() == shape && network.operands() == operands;
        let make = || Self::new(like.client.clone(), shape.clone(), operands);
        Ok(fused::once(&MADE, like, wanted, make))
    }
}
