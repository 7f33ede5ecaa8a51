//! What the kernels of our own compute with.

use burn::prelude::*;

/// Whether the operands of the built-in generator's products have 16 bits on this device: on CUDA, and
/// on wgpu backends where the driver has cooperative matrices, unless float32 is the
/// [`precision`](crate::precision).
pub fn has_16_bit_operands<B: Backend>(device: &B::Device) -> bool {
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    {
        use crate::{Precision, fused, precision};
        if precision() == Precision::F32 {
            return false;
        }
        let probe = Tensor::<B, 1>::zeros([1], device);
        #[cfg(feature = "cuda")]
        if fused::values::<cubecl::cuda::CudaRuntime, B>(probe.clone()).is_some() {
            return true;
        }
        #[cfg(feature = "wgpu")]
        if let Some(values) = fused::values::<cubecl::wgpu::WgpuRuntime, B>(probe) {
            use shortrun_kernels::portable::Operands;
            return Operands::best(&values.client) != Operands::Single;
        }
    }
    let _ = device;
    false
}
