//! The chain on Burn's wgpu backends (Vulkan, WebGPU), by our own kernels.
//!
//! Code above stays generic over the backend: whether it is one of these is asked at run time, by type.

mod learned;

use std::sync::{Arc, Mutex, Once, PoisonError};

use burn::prelude::*;
use burn_cubecl::tensor::CubeTensor;
use cubecl::wgpu::{WgpuDevice, WgpuRuntime};
use shortrun_kernels::{
    NoiseStream, Shape,
    portable::{self as kernels, Observed, Operands, Packed},
};
use shortrun_langevin::{EnergyGradient, Noise, ShortRun};

use crate::{
    MultiLayerGenerator, Observation, Precision,
    fused::{self, flat, parameters, tensor},
    precision,
};

pub(crate) use learned::energy;

/// A tensor of these backends.
type Values = CubeTensor<WgpuRuntime>;
type Network = kernels::Network<WgpuRuntime>;

/// Energy, gradient and whole chain of the built-in generator.
struct WgpuPosterior {
    network: Arc<Network>,
    packed: Packed,
    observed: Observed,
    like: Values,
}

/// The weights in the kernels' layouts. `None` if the generator is not on a wgpu backend, or (said
/// once) if the kernels cannot run it.
fn packed<B: Backend>(
    generator: &MultiLayerGenerator<B>,
) -> Option<(Arc<Network>, Packed, Values)> {
    let like = values(flat(generator.output.first()?.weight.val()))?;
    let network = network(&like, supported(generator)?);
    let all = values(Tensor::cat(parameters(generator), 0))?;
    let packed = network.pack(all.handle);
    Some((network, packed, like))
}

/// The generator's shape; `None`, with a line that says why, if the kernels do not know it.
fn supported<B: Backend>(generator: &MultiLayerGenerator<B>) -> Option<Shape> {
    match fused::shape(generator.config()) {
        Ok(shape) => Some(shape),
        Err(why) => {
            static SAID: Once = Once::new();
            SAID.call_once(|| {
                tracing::warn!("the generator runs by tensor operations, slowly: {why}");
            });
            None
        }
    }
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
    Some(Box::new(WgpuPosterior {
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

/// One for each device, shape and kind of operands.
fn network(like: &Values, shape: Shape) -> Arc<Network> {
    static NETWORKS: Mutex<Vec<(WgpuDevice, Arc<Network>)>> = Mutex::new(Vec::new());
    let operands = if precision() == Precision::F32 {
        Operands::Single
    } else {
        Operands::best(&like.client)
    };
    let mut networks = NETWORKS.lock().unwrap_or_else(PoisonError::into_inner);
    let known = networks.iter().find(|(device, network)| {
        *device == like.device && *network.shape() == shape && network.operands() == operands
    });
    if let Some((_, network)) = known {
        return network.clone();
    }
    let network = Arc::new(Network::new(like.client.clone(), shape, operands));
    networks.push((like.device.clone(), network.clone()));
    network
}

/// `None` if the tensor is not on a wgpu backend, or not float32.
fn values<B: Backend>(tensor: Tensor<B, 1>) -> Option<Values> {
    fused::values::<WgpuRuntime, B>(tensor)
}

impl WgpuPosterior {
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

impl<B: Backend> EnergyGradient<B> for WgpuPosterior {
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
            Noise::Given(noise) => kernels::Noise::Given(values(flat(noise.clone()))?.handle),
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
