//! The generator's energy with gradients in all weights: one operation of Burn's autodiff on the
//! wgpu backends, by our own kernels.

use std::{any::Any, sync::Arc};

use burn::{
    backend::{
        Autodiff, Wgpu,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::NoCheckpointing},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
    },
    prelude::*,
    tensor::{DType, TensorPrimitive, backend::BackendTypes},
};
use cubecl::server::Handle;
use shortrun_kernels::portable::{Observed, Packed};

use super::{Network, Values, flat, network, observed, parameters, supported};
use crate::{MultiLayerGenerator, Observation, fused::primitive_as};

/// A tensor of a wgpu backend's autodiff.
type Tracked<I> = <Autodiff<I> as BackendTypes>::FloatTensorPrimitive;

/// Energies `[n]`; `None` unless the weights are being learned on a wgpu backend, the latents
/// `[n, d]` are constants, and the kernels can run the generator.
pub(crate) fn energy<B: Backend>(
    generator: &MultiLayerGenerator<B>,
    latents: &Tensor<B, 2>,
    observation: &Observation<B>,
) -> Option<Tensor<B, 1>> {
    let done = energy_on::<Wgpu, B>(generator, latents, observation);
    #[cfg(feature = "vulkan")]
    let done =
        done.or_else(|| energy_on::<burn::backend::Vulkan, B>(generator, latents, observation));
    done
}

/// On one of the backends, which differ in what their booleans are.
fn energy_on<I, B: Backend>(
    generator: &MultiLayerGenerator<B>,
    latents: &Tensor<B, 2>,
    observation: &Observation<B>,
) -> Option<Tensor<B, 1>>
where
    I: Backend<FloatTensorPrimitive = Values>,
{
    let first = tracked::<I, B>(flat(generator.output.first()?.weight.val()))?;
    let chained = tracked::<I, B>(flat(latents.clone()))?;
    if !first.is_tracked() || chained.is_tracked() {
        return None;
    }
    let shape = supported(generator)?;
    let weights = tracked::<I, B>(Tensor::cat(parameters(generator), 0))?;
    let images = tracked::<I, B>(flat(observation.images().clone()))?;
    let mask = match observation.seen() {
        Some(mask) => Some(tracked::<I, B>(flat(mask))?.primitive),
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
    let done: Box<dyn Any> = Box::new(learned::<I>(weights, saved));
    let primitive = done.downcast::<B::FloatTensorPrimitive>().ok()?;
    Some(Tensor::from_primitive(TensorPrimitive::Float(*primitive)))
}

/// What the tensor is made of, if it is on the backend's autodiff and float32.
fn tracked<I, B: Backend>(tensor: Tensor<B, 1>) -> Option<Tracked<I>>
where
    I: Backend<FloatTensorPrimitive = Values>,
{
    primitive_as::<Tracked<I>, B, 1>(tensor).filter(|found| found.primitive.dtype == DType::F32)
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

fn values(like: &Values, handle: Handle, count: usize) -> Values {
    let Values { client, device, .. } = like.clone();
    Values::new_contiguous(client, device, [count].into(), handle, DType::F32)
}

fn learned<I>(weights: Tracked<I>, saved: Saved) -> Tracked<I>
where
    I: Backend<FloatTensorPrimitive = Values>,
{
    let latents = saved.latents.handle.clone();
    let (energies, _) =
        saved
            .network
            .gradient(&saved.packed, &saved.observed, latents, saved.images);
    let energies = values(&saved.latents, energies, saved.images);
    let prepared = Backward::<I, 1>::prepare::<NoCheckpointing>(Energy, [weights.node])
        .compute_bound()
        .stateful();
    match prepared {
        OpsKind::Tracked(prepared) => prepared.finish(saved, energies),
        OpsKind::UnTracked(prepared) => prepared.finish(energies),
    }
}

impl<I> Backward<I, 1> for Energy
where
    I: Backend<FloatTensorPrimitive = Values>,
{
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let above = gradients.consume::<I>(&ops.node);
        let [Some(parent)] = ops.parents else {
            return;
        };
        // Of each image's energy, without gaps.
        let above = Tensor::<I, 1>::from_primitive(TensorPrimitive::Float(above)) * 1.0;
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
        gradients.register::<I>(parent.id, values(&saved.latents, result, count));
    }
}
