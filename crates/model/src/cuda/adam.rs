//! Adam on the CUDA backend, one launch a tensor.

use burn::prelude::*;
use shortrun_kernels::cuda::{adam, gradient_sums};

pub(crate) use shortrun_kernels::cuda::AdamStep;

use super::{flat, tensor, values};

/// New weights and moments; `None` if the weights are not on the CUDA backend.
pub(crate) fn step<B: Backend, const D: usize>(
    weights: &Tensor<B, D>,
    gradient: &Tensor<B, D>,
    moments: Option<[&Tensor<B, D>; 2]>,
    step: AdamStep,
) -> Option<[Tensor<B, D>; 3]> {
    let shape: [usize; D] = weights.dims();
    let like = values(flat(weights.clone()))?;
    let gradient = values(flat(gradient.clone()))?.handle;
    let moments = match moments {
        Some([m, v]) => Some([
            values(flat(m.clone()))?.handle,
            values(flat(v.clone()))?.handle,
        ]),
        None => None,
    };
    let count = shape.iter().product();
    let [w, m, v] = adam(
        &like.client,
        like.handle.clone(),
        gradient,
        moments,
        count,
        step,
    );
    Some([
        tensor(&like, w, shape)?,
        tensor(&like, m, shape)?,
        tensor(&like, v, shape)?,
    ])
}

/// The sum and the sum of squares of each; `None` if they are not on the CUDA backend.
pub(crate) fn sums<B: Backend>(gradients: &[Tensor<B, 1>]) -> Option<Vec<[f64; 2]>> {
    let all = gradients.iter().map(|gradient| values(gradient.clone()));
    let all: Vec<_> = all.collect::<Option<_>>()?;
    let client = &all.first()?.client;
    let handles: Vec<_> = all
        .iter()
        .map(|values| (values.handle.clone(), values.meta.shape()[0]))
        .collect();
    Some(gradient_sums(client, &handles))
}
