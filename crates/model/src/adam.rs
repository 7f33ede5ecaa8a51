//! Adam's update of many tensors, where a backend has a kernel of its own for it.

use burn::prelude::*;

#[cfg(any(feature = "cuda", feature = "wgpu"))]
use crate::fused;

/// The numbers of one update: with `m` and `v` the moments and t the number of updates, this one
/// included, weights move by `rate m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon)`.
#[derive(Clone, Copy, Debug)]
pub struct AdamUpdate {
    /// The learning rate.
    pub rate: f64,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Keeps the denominator from 0.
    pub epsilon: f32,
    /// t
    pub time: usize,
}

/// What an update works on, value by value.
#[derive(Clone, Debug)]
pub struct AdamTensor<B: Backend> {
    /// The weights.
    pub weights: Tensor<B, 1>,
    /// Their gradient.
    pub gradient: Tensor<B, 1>,
    /// Their moments; none before the first update.
    pub moments: Option<[Tensor<B, 1>; 2]>,
}

impl AdamUpdate {
    /// New weights and moments of each tensor. `None` if the backend has no kernel for it.
    #[cfg_attr(not(any(feature = "cuda", feature = "wgpu")), allow(unused_variables))]
    pub fn apply<B: Backend>(&self, tensors: &[AdamTensor<B>]) -> Option<Vec<[Tensor<B, 1>; 3]>> {
        #[cfg(any(feature = "cuda", feature = "wgpu"))]
        {
            let time = i32::try_from(self.time).unwrap_or(i32::MAX);
            let [first, second] = [self.beta1, self.beta2].map(|beta| 1.0 - beta.powi(time));
            let step = shortrun_kernels::AdamStep {
                rate: self.rate as f32 * second.sqrt() / first,
                beta1: self.beta1,
                beta2: self.beta2,
                epsilon: self.epsilon * second.sqrt(),
            };
            #[cfg(feature = "cuda")]
            if let Some(done) = fused::adam::<cubecl::cuda::CudaRuntime, B>(tensors, step) {
                return Some(done);
            }
            #[cfg(feature = "wgpu")]
            if let Some(done) = fused::adam::<cubecl::wgpu::WgpuRuntime, B>(tensors, step) {
                return Some(done);
            }
        }
        None
    }
}

/// The sum and the sum of squares of each gradient.
pub fn gradient_sums<B: Backend>(gradients: &[Tensor<B, 1>]) -> Vec<[f64; 2]> {
    #[cfg(feature = "cuda")]
    if let Some(sums) = fused::gradient_sums::<cubecl::cuda::CudaRuntime, B>(gradients) {
        return sums;
    }
    #[cfg(feature = "wgpu")]
    if let Some(sums) = fused::gradient_sums::<cubecl::wgpu::WgpuRuntime, B>(gradients) {
        return sums;
    }
    if gradients.is_empty() {
        return Vec::new();
    }
    let both = gradients
        .iter()
        .flat_map(|gradient| [gradient.clone().sum(), gradient.clone().square().sum()]);
    let sums: Vec<f64> = Tensor::cat(both.collect(), 0)
        .into_data()
        .convert::<f64>()
        .iter()
        .collect();
    sums.chunks_exact(2)
        .map(|pair| [pair[0], pair[1]])
        .collect()
}
