//! The chain on Burn's CUDA backend, by our own kernels.
//!
//! Code above stays generic over the backend: whether it is CUDA is asked at run time, by type.

mod learned;
pub(crate) mod products;
pub(crate) mod tensors;

use std::sync::{Arc, Mutex, Once, PoisonError};

use burn::prelude::*;
use burn_cubecl::tensor::CubeTensor;
use cubecl::cuda::{CudaDevice, CudaRuntime};
use shortrun_kernels::cuda::{self as kernels, Network, NoiseStream, Observed, Packed, Shape};
use shortrun_langevin::{EnergyGradient, Noise, ShortRun};

use crate::{
    GeneratorConfig, MultiLayerGenerator, Observation, Precision,
    fused::{self, flat, parameters, tensor},
    precision,
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
    let shape = fused::shape(config)?;
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

/// `None` if the tensor is not on the CUDA backend, or not float32.
fn values<B: Backend>(tensor: Tensor<B, 1>) -> Option<Values> {
    fused::values::<CudaRuntime, B>(tensor)
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
