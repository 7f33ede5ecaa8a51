//! The built-in generator and Adam by kernels of our own for GPUs, whatever the runtime.
//!
//! Code above stays generic over the backend: which runtime it is on, if any, is asked at run time, by type.

mod learned;
mod posterior;

use std::{
    any::Any,
    sync::{Arc, Mutex, Once, PoisonError},
};

use burn::{
    module::Param,
    nn::conv::Conv2d,
    prelude::*,
    tensor::{DType, TensorPrimitive},
};
use burn_cubecl::{CubeRuntime, kernel::into_contiguous, tensor::CubeTensor};
use cubecl::server::Handle;
use shortrun_kernels::{AdamStep, GeneratorKernels, Observed, Scale, Shape};
use shortrun_langevin::EnergyGradient;

use crate::{
    AdamTensor, Architecture, GeneratorConfig, MultiLayerGenerator, Observation, Parameterisation,
    ScaleForm, Stochastic,
};

#[cfg(feature = "cuda")]
pub(crate) use learned::{Tracked, tracked};

/// The kernels of one of Burn's runtimes.
pub(crate) trait Fused: GeneratorKernels<Runtime: CubeRuntime> {
    /// For this generator on the device of `like`, or why they cannot run it.
    fn of(like: &CubeTensor<Self::Runtime>, config: &GeneratorConfig) -> Result<Arc<Self>, String>;
}

/// Kernels made so far, each with its device.
pub(crate) type Made<K> = Mutex<
    Vec<(
        <<K as GeneratorKernels>::Runtime as cubecl::Runtime>::Device,
        Arc<K>,
    )>,
>;

/// The kernels among those `made` for the device of `like` that are `wanted`, else new ones: what they
/// keep takes a while to make, and serves every iteration.
pub(crate) fn once<K: Fused>(
    made: &Made<K>,
    like: &CubeTensor<K::Runtime>,
    wanted: impl Fn(&K) -> bool,
    make: impl FnOnce() -> K,
) -> Arc<K> {
    let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
    let known = made
        .iter()
        .find(|(device, kernels)| *device == like.device && wanted(kernels));
    if let Some((_, kernels)) = known {
        return kernels.clone();
    }
    let kernels = Arc::new(make());
    made.push((like.device.clone(), kernels.clone()));
    kernels
}

/// Images `[n, c, h, w]` of latents `[n, d]`; `None` if the generator is not on one of the runtimes, or
/// (said once) if their kernels cannot run it.
pub(crate) fn forward<B: Backend>(
    generator: &MultiLayerGenerator<B>,
    latents: &Tensor<B, 2>,
) -> Option<Tensor<B, 4>> {
    let done = None;
    #[cfg(feature = "cuda")]
    let done = done.or_else(|| posterior::forward::<crate::cuda::Network, B>(generator, latents));
    #[cfg(feature = "wgpu")]
    let done = done.or_else(|| posterior::forward::<crate::wgpu::Network, B>(generator, latents));
    done
}

/// The posterior; `None` as [`forward`].
pub(crate) fn posterior<B: Backend>(
    generator: &MultiLayerGenerator<B>,
    of: &Observation<B>,
) -> Option<Box<dyn EnergyGradient<B>>> {
    let done = None;
    #[cfg(feature = "cuda")]
    let done = done.or_else(|| posterior::posterior::<crate::cuda::Network, B>(generator, of));
    #[cfg(feature = "wgpu")]
    let done = done.or_else(|| posterior::posterior::<crate::wgpu::Network, B>(generator, of));
    done
}

/// Energies `[n]` with gradients in the weights; `None` unless these are being learned, the latents
/// `[n, d]` are constants, and otherwise as [`forward`].
pub(crate) fn energy<B: Backend>(
    generator: &MultiLayerGenerator<B>,
    latents: &Tensor<B, 2>,
    of: &Observation<B>,
) -> Option<Tensor<B, 1>> {
    use burn::backend;
    let done = None;
    #[cfg(feature = "cuda")]
    let done = done.or_else(|| {
        learned::energy::<crate::cuda::Network, backend::Cuda, B>(generator, latents, of)
    });
    #[cfg(feature = "wgpu")]
    let done = done.or_else(|| {
        learned::energy::<crate::wgpu::Network, backend::Wgpu, B>(generator, latents, of)
    });
    // The two differ in what their booleans are.
    #[cfg(feature = "vulkan")]
    let done = done.or_else(|| {
        learned::energy::<crate::wgpu::Network, backend::Vulkan, B>(generator, latents, of)
    });
    done
}

/// The kernels for this generator; `None`, with a line that says why, if they cannot run it.
fn supported<K: Fused>(like: &CubeTensor<K::Runtime>, config: &GeneratorConfig) -> Option<Arc<K>> {
    static SAID: Once = Once::new();
    let kernels = K::of(like, config);
    if let Err(why) = &kernels {
        SAID.call_once(|| {
            tracing::warn!("the generator runs by tensor operations, slowly: {why}");
        });
    }
    kernels.ok()
}

/// What the generator has to explain, by what `handle` finds of its tensors.
fn observed<B: Backend>(
    observation: &Observation<B>,
    handle: impl Fn(Tensor<B, 1>) -> Option<Handle>,
) -> Option<Observed> {
    Some(Observed {
        images: handle(flat(observation.images().clone()))?,
        mask: match observation.seen() {
            Some(mask) => Some(handle(flat(mask))?),
            None => None,
        },
        precision: observation.precision() as f32,
    })
}

/// The generator's shape, or why the kernels do not know it.
pub(crate) fn shape(config: &GeneratorConfig) -> Result<Shape, String> {
    if config.parameterisation == Parameterisation::Centred {
        return Err("the kernels know the non-centred form only".to_owned());
    }
    if config.architecture == Architecture::Ladder {
        return Err(
            "the kernels know the conditional architecture only, not the ladder".to_owned(),
        );
    }
    let latents = config.latents.sizes();
    Ok(Shape {
        latents: latents.to_vec(),
        head_channels: latents[1..]
            .iter()
            .map(|d| config.head_channels(*d))
            .collect(),
        size: config.feature_size(),
        image_channels: config.image_channels,
        doublings: config.output_layers(),
        features: config.features,
        seed_channels: config.seed_channels,
        refine_blocks: config.refine_blocks,
        scale: match config.scale {
            ScaleForm::SoftplusLogVariance => Scale::SoftplusLogVariance,
            ScaleForm::LogVariance => Scale::LogVariance,
            ScaleForm::Softplus => Scale::Softplus,
        },
    })
}

/// All weights in the kernels' order, see their `Network::pack`.
pub(crate) fn weights<B: Backend>(
    generator: &MultiLayerGenerator<B>,
) -> Vec<B::FloatTensorPrimitive> {
    let mut all = Weights(Vec::new());
    for block in &generator.blocks {
        all.add(&block.project.linear.weight);
        all.add_bias(&block.project.linear.bias);
        all.add(&block.project.deconv.weight);
        all.add_residual([&block.conv1, &block.conv2]);
    }
    for Stochastic { mean, scale, .. } in &generator.stochastic {
        for head in [mean, scale] {
            all.add(&head.conv.weight);
            all.add_bias(&head.conv.bias);
            all.add(&head.linear.weight);
            all.add_bias(&head.linear.bias);
        }
    }
    for block in &generator.refine {
        all.add_residual([&block.conv1, &block.conv2]);
    }
    for layer in &generator.output {
        all.add(&layer.weight);
        all.add_bias(&layer.bias);
    }
    all.0
}

struct Weights<B: Backend>(Vec<B::FloatTensorPrimitive>);

impl<B: Backend> Weights<B> {
    fn add<const D: usize>(&mut self, weight: &Param<Tensor<B, D>>) {
        self.0.push(weight.val().into_primitive().tensor());
    }

    fn add_bias(&mut self, bias: &Option<Param<Tensor<B, 1>>>) {
        if let Some(bias) = bias {
            self.add(bias);
        }
    }

    fn add_residual(&mut self, convs: [&Conv2d<B>; 2]) {
        for conv in convs {
            self.add(&conv.weight);
            self.add_bias(&conv.bias);
        }
    }
}

/// Row by row, without gaps.
pub(crate) fn flat<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Tensor<B, 1> {
    let count = tensor.shape().num_elements();
    tensor.reshape([count])
}

/// The value, if it is a `P`.
fn downcast<P: 'static>(value: impl Any) -> Option<P> {
    let value: Box<dyn Any> = Box::new(value);
    value.downcast::<P>().ok().map(|found| *found)
}

/// What the tensor is made of, if that is a `P`.
pub(crate) fn primitive_as<P: 'static, B: Backend, const D: usize>(
    tensor: Tensor<B, D>,
) -> Option<P> {
    let TensorPrimitive::Float(primitive) = tensor.into_primitive() else {
        return None;
    };
    downcast(primitive)
}

/// `None` if the tensor is not on a backend of this runtime, or not float32.
pub(crate) fn values<R: CubeRuntime, B: Backend>(tensor: Tensor<B, 1>) -> Option<CubeTensor<R>> {
    primitive_as::<CubeTensor<R>, B, 1>(tensor).filter(|values| values.dtype == DType::F32)
}

/// The tensor's values row by row, without gaps; a copy only if they do not lie so.
fn handle<R: CubeRuntime>(tensor: CubeTensor<R>) -> Handle {
    into_contiguous(tensor).handle
}

/// `None` if `B` is not a backend of the runtime where `like` lies.
pub(crate) fn tensor<R: CubeRuntime, B: Backend, const D: usize>(
    like: &CubeTensor<R>,
    handle: Handle,
    shape: [usize; D],
) -> Option<Tensor<B, D>> {
    let CubeTensor { client, device, .. } = like.clone();
    let made = CubeTensor::<R>::new_contiguous(client, device, shape.into(), handle, DType::F32);
    let primitive = downcast(made)?;
    Some(Tensor::from_primitive(TensorPrimitive::Float(primitive)))
}

/// Adam, many tensors a launch: new weights and moments of each; `None` if not all are on a backend of this
/// runtime.
pub(crate) fn adam<R: CubeRuntime, B: Backend>(
    tensors: &[AdamTensor<B>],
    step: AdamStep,
) -> Option<Vec<[Tensor<B, 1>; 3]>> {
    let found = tensors.iter().map(|tensor| {
        let handle = |tensor: &Tensor<B, 1>| Some(handle(values::<R, B>(tensor.clone())?));
        Some(shortrun_kernels::AdamTensor {
            weights: handle(&tensor.weights)?,
            gradient: handle(&tensor.gradient)?,
            moments: match &tensor.moments {
                Some([m, v]) => Some([handle(m)?, handle(v)?]),
                None => None,
            },
            count: tensor.weights.dims()[0],
        })
    });
    let found: Vec<_> = found.collect::<Option<_>>()?;
    let like = values::<R, B>(tensors.first()?.weights.clone())?;
    let made = shortrun_kernels::adam(&like.client, &found, step);
    let made = made.into_iter().zip(&found).map(|([w, m, v], of)| {
        let tensor = |handle| tensor(&like, handle, [of.count]);
        Some([tensor(w)?, tensor(m)?, tensor(v)?])
    });
    made.collect()
}

/// The sum and the sum of squares of each; `None` if they are not on a backend of this runtime.
pub(crate) fn gradient_sums<R: CubeRuntime, B: Backend>(
    gradients: &[Tensor<B, 1>],
) -> Option<Vec<[f64; 2]>> {
    let all = gradients
        .iter()
        .map(|gradient| values::<R, B>(gradient.clone()));
    let all: Vec<_> = all.collect::<Option<_>>()?;
    let client = &all.first()?.client;
    let handles: Vec<_> = all
        .iter()
        .map(|values| (handle(values.clone()), values.meta.shape()[0]))
        .collect();
    Some(shortrun_kernels::gradient_sums(client, &handles))
}
