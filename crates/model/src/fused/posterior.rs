//! Images, energy, gradient and whole chain of the built-in generator in a few launches.

use std::sync::Arc;

use burn::{prelude::*, tensor::DType};
use burn_cubecl::tensor::CubeTensor;
use shortrun_kernels::{Noise as KernelNoise, NoiseStream, Observed};
use shortrun_langevin::{EnergyGradient, Noise, ShortRun};

use super::{Fused, downcast, flat, handle, observed, supported, tensor, values, weights};
use crate::{MultiLayerGenerator, Observation};

/// A generator's weights, ready for its kernels.
struct Ready<K: Fused> {
    kernels: Arc<K>,
    packed: K::Packed,
    like: CubeTensor<K::Runtime>,
}

impl<K: Fused> Ready<K> {
    /// `None` if the generator is not on the kernels' runtime, or (said once) if they cannot run it.
    fn new<B: Backend>(generator: &MultiLayerGenerator<B>) -> Option<Self> {
        let like = values(flat(generator.output.first()?.weight.val()))?;
        let kernels = supported::<K>(&like, generator.config())?;
        let weights = weights(generator).into_iter().map(|weight| {
            let weight = downcast::<CubeTensor<K::Runtime>>(weight)?;
            (weight.dtype == DType::F32).then(|| handle(weight))
        });
        let packed = kernels.pack(&weights.collect::<Option<Vec<_>>>()?);
        Some(Self {
            kernels,
            packed,
            like,
        })
    }
}

/// Images `[n, c, h, w]` of latents `[n, d]`; `None` as [`Ready::new`].
pub(super) fn forward<K: Fused, B: Backend>(
    generator: &MultiLayerGenerator<B>,
    latents: &Tensor<B, 2>,
) -> Option<Tensor<B, 4>> {
    let Ready {
        kernels,
        packed,
        like,
    } = Ready::<K>::new(generator)?;
    let [n, _] = latents.dims();
    let [c, h, w] = generator.config().image_shape();
    let latents = values::<K::Runtime, B>(flat(latents.clone()))?.handle;
    let images = kernels.images(&packed, latents, n);
    tensor(&like, images, [n, c, h, w])
}

/// The posterior; `None` as [`Ready::new`].
pub(super) fn posterior<K: Fused, B: Backend>(
    generator: &MultiLayerGenerator<B>,
    observation: &Observation<B>,
) -> Option<Box<dyn EnergyGradient<B>>> {
    let ready = Ready::<K>::new(generator)?;
    let flat_handle = |tensor| Some(values::<K::Runtime, B>(tensor)?.handle);
    Some(Box::new(FusedPosterior {
        observed: observed(observation, flat_handle)?,
        ready,
    }))
}

/// A generator and what it has to explain.
struct FusedPosterior<K: Fused> {
    ready: Ready<K>,
    observed: Observed,
}

impl<K: Fused> FusedPosterior<K> {
    fn gradient<B: Backend>(&self, latents: Tensor<B, 2>) -> Option<(Tensor<B, 1>, Tensor<B, 2>)> {
        let [n, d] = latents.dims();
        let latents = values::<K::Runtime, B>(flat(latents))?.handle;
        let Ready {
            kernels,
            packed,
            like,
        } = &self.ready;
        let (energies, gradients) = kernels.gradient(packed, &self.observed, latents, n);
        Some((
            tensor(like, energies, [n])?,
            tensor(like, gradients, [n, d])?,
        ))
    }
}

impl<K: Fused, B: Backend> EnergyGradient<B> for FusedPosterior<K> {
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
            Noise::Off => KernelNoise::Off,
            Noise::Keyed(key) => {
                let (counter, key) = key.philox();
                KernelNoise::Keyed(NoiseStream { counter, key })
            }
            Noise::Given(noise) => {
                KernelNoise::Given(values::<K::Runtime, B>(flat(noise.clone()))?.handle)
            }
        };
        let sizes: Vec<f32> = (0..chain.steps())
            .flat_map(|k| chain.step_sizes().by_dimension(k, d))
            .flat_map(|step| [step.drift() as f32, step.eta() as f32])
            .collect();
        let start = values::<K::Runtime, B>(flat(start.clone()))?.handle;
        let Ready {
            kernels,
            packed,
            like,
        } = &self.ready;
        let (ends, energies) = kernels.chain(packed, &self.observed, start, n, &sizes, &noise);
        Some((
            tensor(like, ends, [n, d])?,
            tensor(like, energies, [chain.steps(), n])?,
        ))
    }
}
