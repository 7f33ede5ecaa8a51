//! The generator's energy with gradients in all weights: one operation of Burn's autodiff.
//!
//! Every weight is a parent of its own, so nothing is put together or taken apart by tensor operations, and
//! the gradients are parts of the one array that the kernels leave.

use std::{array, fmt, marker::PhantomData, sync::Arc};

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
    tensor::{DType, Shape, TensorPrimitive, backend::BackendTypes},
};
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use cubecl::server::Handle;
use shortrun_kernels::Observed;

use super::{Fused, downcast, flat, handle, observed, primitive_as, supported, weights};
use crate::{MultiLayerGenerator, Observation};

/// Parents of the operation, whose number Burn wants when it is compiled. Ten layers have some 150 weights; a
/// generator with more than these is not for the kernels.
const PARENTS: usize = 512;

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
    let weights = weights(generator).into_iter().map(|weight| {
        downcast::<Tracked<I>>(weight).filter(|weight| weight.primitive.dtype == DType::F32)
    });
    let weights = weights.collect::<Option<Vec<_>>>()?;
    let chained = tracked::<K::Runtime, I, B, 1>(flat(latents.clone()))?;
    let learned = weights.iter().any(|weight| weight.is_tracked());
    if !learned || chained.is_tracked() || weights.len() > PARENTS {
        return None;
    }
    let kernels = supported::<K>(&weights.first()?.primitive, generator.config())?;
    let flat_handle = |tensor| Some(tracked::<K::Runtime, I, B, 1>(tensor)?.primitive.handle);
    let observed = observed(observation, flat_handle)?;
    let handles = weights
        .iter()
        .map(|weight| handle(weight.primitive.clone()));
    let saved = Saved {
        packed: kernels.pack(&handles.collect::<Vec<_>>()),
        shapes: weights
            .iter()
            .map(|weight| weight.primitive.meta.shape().clone())
            .collect(),
        observed,
        latents: chained.primitive.clone(),
        images: latents.dims()[0],
        kernels,
    };
    let primitive = downcast(energies::<K, I>(&weights, &chained, saved))?;
    Some(Tensor::from_primitive(TensorPrimitive::Float(primitive)))
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
    /// Of the weights.
    shapes: Vec<Shape>,
    observed: Observed,
    latents: CubeTensor<K::Runtime>,
    images: usize,
}

impl<K: Fused> Clone for Saved<K> {
    fn clone(&self) -> Self {
        Self {
            kernels: self.kernels.clone(),
            packed: self.packed.clone(),
            shapes: self.shapes.clone(),
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
    /// A tensor where the latents are.
    fn tensor(&self, handle: Handle, shape: Shape) -> CubeTensor<K::Runtime> {
        let CubeTensor { client, device, .. } = self.latents.clone();
        CubeTensor::new_contiguous(client, device, shape, handle, DType::F32)
    }
}

/// `constant` has no gradient: it stands in for the parents that the weights leave over.
fn energies<K, I>(weights: &[Tracked<I>], constant: &Tracked<I>, saved: Saved<K>) -> Tracked<I>
where
    K: Fused,
    I: Backend<FloatTensorPrimitive = CubeTensor<K::Runtime>>,
{
    let latents = saved.latents.handle.clone();
    let energies = saved
        .kernels
        .energies(&saved.packed, &saved.observed, latents, saved.images);
    let energies = saved.tensor(energies, [saved.images].into());
    let parents = array::from_fn(|i| weights.get(i).unwrap_or(constant).node.clone());
    let operation = Energy::<K>(PhantomData);
    let prepared = Backward::<I, PARENTS>::prepare::<NoCheckpointing>(operation, parents)
        .compute_bound()
        .stateful();
    match prepared {
        OpsKind::Tracked(prepared) => prepared.finish(saved, energies),
        OpsKind::UnTracked(prepared) => prepared.finish(energies),
    }
}

impl<K, I> Backward<I, PARENTS> for Energy<K>
where
    K: Fused,
    I: Backend<FloatTensorPrimitive = CubeTensor<K::Runtime>>,
{
    type State = Saved<K>;

    fn backward(
        self,
        ops: Ops<Saved<K>, PARENTS>,
        gradients: &mut Gradients,
        _: &mut Checkpointer,
    ) {
        let saved = ops.state;
        // Of each image's energy.
        let above = gradients.consume::<I>(&ops.node);
        let made = saved.kernels.weight_gradients(
            &saved.packed,
            &saved.observed,
            saved.latents.handle.clone(),
            saved.images,
            handle(above),
        );
        for ((parent, gradient), shape) in ops.parents.iter().zip(made).zip(&saved.shapes) {
            // A frozen weight has no node to go back to.
            if let Some(parent) = parent {
                gradients.register::<I>(parent.id, saved.tensor(gradient, shape.clone()));
            }
        }
    }
}
