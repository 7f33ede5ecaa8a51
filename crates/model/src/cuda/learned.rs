//! The generator's energy with gradients in all weights: one operation of Burn's autodiff on the
//! CUDA backend, by our own kernels.

use std::{any::Any, sync::Arc};

use burn::{
    backend::{
        Autodiff, Cuda,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::NoCheckpointing},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
    },
    prelude::*,
    tensor::{DType, TensorPrimitive, backend::BackendTypes},
};
use shortrun_kernels::cuda::{Network, Observed, Packed};

use super::{Values, flat, network, observed, parameters, supported};
use crate::{MultiLayerGenerator, Observation};

/// A tensor of the CUDA backend's autodiff.
pub(super) type Tracked = <Autodiff<Cuda> as BackendTypes>::FloatTensorPrimitive;

/// Energies `[n]`; `None` unless the weights are being learned on the CUDA backend, the latents
/// `[n, d]` are constants, and the kernels can run the generator.
pub(crate) fn energy<B: Backend>(
    generator: &MultiLayerGenerator<B>,
    latents: &Tensor<B, 2>,
    observation: &Observation<B>,
) -> Option<Tensor<B, 1>> {
    let first = tracked(flat(generator.output.first()?.weight.val()))?;
    let chained = tracked(flat(latents.clone()))?;
    if !first.is_tracked() || chained.is_tracked() {
        return None;
    }
    let shape = supported(generator.config()).ok()?;
    let weights = tracked(Tensor::cat(parameters(generator), 0))?;
    let images = tracked(flat(observation.images().clone()))?;
    let mask = match observation.seen() {
        Some(mask) => Some(tracked(flat(mask))?.primitive),
        None => None,
    };
    let network = network(&weights.primitive, shape);
    let saved = Saved {
        packed: network.pack(weights.primitive.handle.clone()),
        observed: observed(images.primitive, mask, observation.precision()),
        latents: chained.primitive,
        images: latents.dims()[0],
        network,
    };
    let done: Box<dyn Any> = Box::new(learned(weights, saved));
    let primitive = done.downcast::<B::FloatTensorPrimitive>().ok()?;
    Some(Tensor::from_primitive(TensorPrimitive::Float(*primitive)))
}

/// What the tensor is made of, if it is on the CUDA backend's autodiff and float32.
pub(super) fn tracked<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Option<Tracked> {
    let TensorPrimitive::Float(primitive) = tensor.into_primitive() else {
        return None;
    };
    let primitive: Box<dyn Any> = Box::new(primitive);
    let tracked = primitive.downcast::<Tracked>().ok()?;
    (tracked.primitive.dtype == DType::F32).then_some(*tracked)
}

#[derive(Debug)]
struct Energy;

/// What the way back needs.
#[derive(Clone)]
struct Saved {
    network: Arc<Network>,
    packed: Packed,
    observed: Observed,
    latents: Values,
    images: usize,
}

impl std::fmt::Debug for Saved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Saved").finish_non_exhaustive()
    }
}

fn values(like: &Values, handle: cubecl::server::Handle, count: usize) -> Values {
    let Values { client, device, .. } = like.clone();
    Values::new_contiguous(client, device, [count].into(), handle, DType::F32)
}

fn learned(weights: Tracked, saved: Saved) -> Tracked {
    let latents = saved.latents.handle.clone();
    let energies = saved
        .network
        .energies(&saved.packed, &saved.observed, latents, saved.images);
    let energies = values(&saved.latents, energies, saved.images);
    let prepared = Energy
        .prepare::<NoCheckpointing>([weights.node])
        .compute_bound()
        .stateful();
    match prepared {
        OpsKind::Tracked(prepared) => prepared.finish(saved, energies),
        OpsKind::UnTracked(prepared) => prepared.finish(energies),
    }
}

impl Backward<Cuda, 1> for Energy {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let above = gradients.consume::<Cuda>(&ops.node);
        let [Some(parent)] = ops.parents else {
            return;
        };
        // Of each image's energy, without gaps.
        let above = Tensor::<Cuda, 1>::from_primitive(TensorPrimitive::Float(above)) * 1.0;
        let TensorPrimitive::Float(above) = above.into_primitive() else {
            unreachable!("a float tensor")
        };
        let saved = ops.state;
        let result = saved.network.weight_gradient(
            &saved.packed,
            &saved.observed,
            saved.latents.handle.clone(),
            saved.images,
            above.handle,
        );
        let count = saved.network.shape().parameter_count();
        gradients.register::<Cuda>(parent.id, values(&saved.latents, result, count));
    }
}
