//! The chain on Burn's CUDA backend, by our own kernels.
//!
//! Code above stays generic over the backend: whether it is CUDA is asked at run time, by type.

pub(crate) mod adam;
mod learned;
pub(crate) mod products;
pub(crate) mod tensors;

use std::{
    any::Any,
    sync::{Arc, Mutex, Once, PoisonError},
};

use burn::{
    prelude::*,
    tensor::{DType, TensorPrimitive},
};
use burn_cubecl::tensor::CubeTensor;
use cubecl::{
    cuda::{CudaDevice, CudaRuntime},
    server::Handle,
};
use shortrun_kernels::cuda::{
    self as kernels, Network, NoiseStream, Observed, Packed, Scale, Shape,
};
use shortrun_langevin::{EnergyGradient, Noise, ShortRun};

use crate::{
    Architecture, GeneratorConfig, MultiLayerGenerator, Observation, Parameterisation, Precision,
    ScaleForm, Stochastic, precision,
};

pub(crate) use learned::energy;

/// A tensor of the CUDA backend.
type Values = CubeTensor<CudaRuntime>;

/// Energy, gradient and whole chain of the built-in generator: bf16 operands, float32 sums.
struct CudaPosterior {
    network: Arc<Network>,
    packed: Packed,
    observed: Observed,
    like: Values,
}

/// The weights in the kernels' layouts. `None` if the generator is not on the CUDA backend, or (said
/// once) if the kernels cannot run it.
fn packed<B: Backend>(
    generator: &MultiLayerGenerator<B>,
) -> Option<(Arc<Network>, Packed, Values)> {
    let first = generator.output.first()?.weight.val();
    let like = values(flat(first))?;
    let shape = match supported(generator.config()) {
        Ok(shape) => shape,
        Err(why) => {
            static SAID: Once = Once::new();
            SAID.call_once(|| {
                tracing::warn!("the generator runs by tensor operations, slowly: {why}");
            });
            return None;
        }
    };
    let network = network(&like, shape);
    let parts = parameters(generator).into_iter().map(|part| {
        let values = values(part)?;
        let count = values.meta.shape()[0];
        Some((values.handle, count))
    });
    let parts: Vec<_> = parts.collect::<Option<_>>()?;
    let packed = network.pack_parts(&parts);
    Some((network, packed, like))
}

/// Images `[n, c, h, w]` of latents `[n, d]`; `None` as [`packed`].
pub(crate) fn forward<B: Backend>(
    generator: &MultiLayerGenerator<B>,
    latents: &Tensor<B, 2>,
) -> Option<Tensor<B, 4>> {
    let (network, packed, like) = packed(generator)?;
    let [n, _] = latents.dims();
    let [c, h, w] = generator.config().image_shape();
    let images = network.images(&packed, values(flat(latents.clone()))?.handle, n);
    tensor(&like, images, [n, c, h, w])
}

/// The posterior by our kernels; `None` as [`packed`].
pub(crate) fn posterior<B: Backend>(
    generator: &MultiLayerGenerator<B>,
    observation: &Observation<B>,
) -> Option<Box<dyn EnergyGradient<B>>> {
    let (network, packed, like) = packed(generator)?;
    let images = values(flat(observation.images().clone()))?;
    let mask = match observation.seen() {
        Some(mask) => Some(values(flat(mask))?),
        None => None,
    };
    Some(Box::new(CudaPosterior {
        packed,
        observed: observed(images, mask, observation.precision()),
        network,
        like,
    }))
}

fn observed(images: Values, mask: Option<Values>, precision: f64) -> Observed {
    Observed {
        images: images.handle,
        mask: mask.map(|mask| mask.handle),
        precision: precision as f32,
    }
}

/// The shape that the kernels know, or why they do not.
fn supported(config: &GeneratorConfig) -> Result<Shape, String> {
    if precision() == Precision::F32 {
        return Err("nearly float32 was asked for (precision f32)".to_owned());
    }
    if config.parameterisation == Parameterisation::Centred {
        return Err("the kernels know the non-centred form only".to_owned());
    }
    if config.architecture == Architecture::Ladder {
        return Err(
            "the kernels know the conditional architecture only, not the ladder".to_owned(),
        );
    }
    let latents = config.latents.sizes();
    let shape = Shape {
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
    };
    shape.check().map(|()| shape)
}

/// The tables of a shape take a while to make, and serve every iteration.
fn network(like: &Values, shape: Shape) -> Arc<Network> {
    static NETWORKS: Mutex<Vec<(CudaDevice, Arc<Network>)>> = Mutex::new(Vec::new());
    let mut networks = NETWORKS.lock().unwrap_or_else(PoisonError::into_inner);
    let known = networks
        .iter()
        .find(|(device, network)| *device == like.device && *network.shape() == shape);
    if let Some((_, network)) = known {
        return network.clone();
    }
    let network = Arc::new(Network::new(like.client.clone(), shape));
    networks.push((like.device.clone(), network.clone()));
    network
}

/// All weights in the kernels' order, see [`Network::pack`].
fn parameters<B: Backend>(generator: &MultiLayerGenerator<B>) -> Vec<Tensor<B, 1>> {
    let mut all = Vec::new();
    let residual = |all: &mut Vec<_>, convs: [&burn::nn::conv::Conv2d<B>; 2]| {
        for conv in convs {
            all.push(flat(conv.weight.val()));
            all.extend(conv.bias.as_ref().map(|bias| bias.val()));
        }
    };
    for block in &generator.blocks {
        let linear = &block.project.linear;
        all.push(flat(linear.weight.val()));
        all.extend(linear.bias.as_ref().map(|bias| bias.val()));
        all.push(flat(block.project.deconv.weight.val()));
        residual(&mut all, [&block.conv1, &block.conv2]);
    }
    for Stochastic { mean, scale, .. } in &generator.stochastic {
        for head in [mean, scale] {
            all.push(flat(head.conv.weight.val()));
            all.extend(head.conv.bias.as_ref().map(|bias| bias.val()));
            all.push(flat(head.linear.weight.val()));
            all.extend(head.linear.bias.as_ref().map(|bias| bias.val()));
        }
    }
    for block in &generator.refine {
        residual(&mut all, [&block.conv1, &block.conv2]);
    }
    for layer in &generator.output {
        all.push(flat(layer.weight.val()));
        all.extend(layer.bias.as_ref().map(|bias| bias.val()));
    }
    all
}

/// Row by row, without gaps.
fn flat<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Tensor<B, 1> {
    let count = tensor.shape().num_elements();
    tensor.reshape([count])
}

/// `None` if the tensor is not on the CUDA backend, or not float32.
fn values<B: Backend>(tensor: Tensor<B, 1>) -> Option<Values> {
    let TensorPrimitive::Float(primitive) = tensor.into_primitive() else {
        return None;
    };
    let primitive: Box<dyn Any> = Box::new(primitive);
    let values = primitive.downcast::<Values>().ok()?;
    (values.dtype == DType::F32).then_some(*values)
}

/// `None` if `B` is not the CUDA backend, where `like` lies.
fn tensor<B: Backend, const D: usize>(
    like: &Values,
    handle: Handle,
    shape: [usize; D],
) -> Option<Tensor<B, D>> {
    let Values { client, device, .. } = like.clone();
    let made = Values::new_contiguous(client, device, shape.into(), handle, DType::F32);
    let made: Box<dyn Any> = Box::new(made);
    let primitive = made.downcast::<B::FloatTensorPrimitive>().ok()?;
    Some(Tensor::from_primitive(TensorPrimitive::Float(*primitive)))
}

impl CudaPosterior {
    fn gradient<B: Backend>(&self, latents: Tensor<B, 2>) -> Option<(Tensor<B, 1>, Tensor<B, 2>)> {
        let [n, d] = latents.dims();
        let latents = values(flat(latents))?.handle;
        let (energies, gradients) = self
            .network
            .gradient(&self.packed, &self.observed, latents, n);
        Some((
            tensor(&self.like, energies, [n])?,
            tensor(&self.like, gradients, [n, d])?,
        ))
    }
}

impl<B: Backend> EnergyGradient<B> for CudaPosterior {
    fn energy_and_gradient(&self, latents: Tensor<B, 2>) -> (Tensor<B, 1>, Tensor<B, 2>) {
        match self.gradient(latents) {
            Some(done) => done,
            None => unreachable!("latents on the backend of the weights"),
        }
    }

    fn whole_chain(
        &self,
        chain: &ShortRun,
        start: &Tensor<B, 2>,
        noise: &Noise<B>,
    ) -> Option<(Tensor<B, 2>, Tensor<B, 2>)> {
        let [n, d] = start.dims();
        let noise = match noise {
            Noise::Off => kernels::Noise::Off,
            Noise::Keyed(key) => kernels::Noise::Keyed(NoiseStream {
                seed: key.seed,
                iteration: key.iteration,
                purpose: key.purpose as u32,
            }),
            Noise::Given(noise) => {
                let count = noise.shape().num_elements();
                kernels::Noise::Given(values(noise.clone().reshape([count]))?.handle)
            }
        };
        let sizes: Vec<f32> = (0..chain.steps())
            .flat_map(|k| chain.step_sizes().by_dimension(k, d))
            .flat_map(|step| [step.drift() as f32, step.eta() as f32])
            .collect();
        let start = values(flat(start.clone()))?.handle;
        let (ends, energies) =
            self.network
                .chain(&self.packed, &self.observed, start, n, &sizes, &noise);
        Some((
            tensor(&self.like, ends, [n, d])?,
            tensor(&self.like, energies, [chain.steps(), n])?,
        ))
    }
}
