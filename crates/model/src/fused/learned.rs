//! The generator's energy with gradients in all weights: one operation of Burn's autodiff.

use std::{any::Any, fmt, marker::PhantomData, sync::Arc};

use burn::{
    backend::{
        Autodiff,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::NoCheckpointing},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
    },
    prelude::*,
    tensor::{DType, TensorPrimitive, backend::BackendTypes},
};
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use cubecl::server::Handle;
use shortrun_kernels::Observed;

use super::{Fused, flat, observed, parameters, primitive_as, supported};
use crate::{MultiLayerGenerator, Observation};

/// A tensor of a backend's autodiff.
pub(crate) type Tracked<I> = <Autodiff<I> as BackendTypes>::FloatTensorPrimitive;

/// What the tensor is made of, if it is on the backend's autodiff and float32.
pub(crate) fn tracked<R, I, B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Option<Tracked<I>>
where
    R: CubeRuntime,
    I: Backend<FloatTensorPrimitive = CubeTensor<R>>,
{
    primitive_as::<Tracked<I>, B, D>(tensor).filter(|found| found.primitive.dtype == DType::F32)
}

/// Energies `[n]`; `None` unless the weights are being learned on the autodiff of `I`, the latents
/// `[n, d]` are constants, and the kernels can run the generator.
pub(super) fn energy<K, I, B: Backend>(
    generator: &MultiLayerGenerator<B>,
    latents: &Tensor<B, 2>,
    observation: &Observation<B>,
) -> Option<Tensor<B, 1>>
where
    K: Fused,
    I: Backend<FloatTensorPrimitive = CubeTensor<K::Runtime>>,
{
    let first = tracked::<K::Runtime, I, B, 1>(flat(generator.output.first()?.weight.val()))?;
    let chained = tracked::<K::Runtime, I, B, 1>(flat(latents.clone()))?;
    if !first.is_tracked() || chained.is_tracked() {
        return None;
    }
    let kernels = supported::<K>(&first.primitive, generator.config())?;
    let handle = |tensor| Some(tracked::<K::Runtime, I, B, 1>(tensor)?.primitive.handle);
    let observed = observed(observation, handle)?;
    let weights = tracked::<K::Runtime, I, B, 1>(Tensor::cat(parameters(generator), 0))?;
    let count = kernels.shape().parameter_count();
    let saved = Saved {
        packed: kernels.pack(&[(weights.primitive.handle.clone(), count)]),
        observed,
        latents: chained.primitive,
        images: latents.dims()[0],
        kernels,
    };
    let done: Box<dyn Any> = Box::new(learned::<K, I>(weights, saved));
    let primitive = done.downcast::<B::FloatTensorPrimitive>().ok()?;
    Some(Tensor::from_primitive(TensorPrimitive::Float(*primitive)))
}

struct Energy<K>(PhantomData<K>);

impl<K> fmt::Debug for Energy<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Energy")
    }
}

/// What the way back needs.
struct Saved<K: Fused> {
    kernels: Arc<K>,
    packed: K::Packed,
    observed: Observed,
    latents: CubeTensor<K::Runtime>,
    images: usize,
}

impl<K: Fused> Clone for Saved<K> {
    fn clone(&self) -> Self {
        Self {
            kernels: self.kernels.clone(),
            packed: self.packed.clone(),
            observed: self.observed.clone(),
            latents: self.latents.clone(),
            images: self.images,
        }
    }
}

impl<K: Fused> fmt::Debug for Saved<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Saved").finish_non_exhaustive()
    }
}

impl<K: Fused> Saved<K> {
    /// A tensor of `count` values where the latents are.
    fn tensor(&self, handle: Handle, count: usize) -> CubeTensor<K::Runtime> {
        let CubeTensor { client, device, .. } = self.latents.clone();
        CubeTensor::new_contiguous(client, device, [count].into(), handle, DType::F32)
    }
}

fn learned<K, I>(weights: Tracked<I>, saved: Saved<K>) -> Tracked<I>
where
    K: Fused,
    I: Backend<FloatTensorPrimitive = CubeTensor<K::Runtime>>,
{
    let latents = saved.latents.handle.clone();
    let energies = saved
        .kernels
        .energies(&saved.packed, &saved.observed, latents, saved.images);
    let energies = saved.tensor(energies, saved.images);
    let operation = Energy::<K>(PhantomData);
    let prepared = Backward::<I, 1>::prepare::<NoCheckpointing>(operation, [weights.node])
        .compute_bound()
        .stateful();
    match prepared {
        OpsKind::Tracked(prepared) => prepared.finish(saved, energies),
        OpsKind::UnTracked(prepared) => prepared.finish(energies),
    }
}

impl<K, I> Backward<I, 1> for Energy<K>
where
    K: Fused,
    I: Backend<FloatTensorPrimitive = CubeTensor<K::Runtime>>,
{
    type State = Saved<K>;

    fn backward(self, ops: Ops<Saved<K>, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
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
        let result = saved.kernels.weight_gradient(
            &saved.packed,
            &saved.observed,
            saved.latents.handle.clone(),
            saved.images,
            above.handle,
        );
        let count = saved.kernels.shape().parameter_count();
        gradients.register::<I>(parent.id, saved.tensor(result, count));
    }
}
