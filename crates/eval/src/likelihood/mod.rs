//! How likely the model finds an image: annealed importance sampling (Neal, 2001; for generators Wu,
//! Burda, Salakhutdinov and Grosse, 2017), and bounds on both sides for images of the model's own
//! making (bidirectional Monte Carlo: Grosse, Ghahramani and Adams, 2015).
//!
//! Chains go from the prior to the posterior through targets `p(e) p(x|e)^β`, β from 0 to 1. A chain's
//! weight `w = Π_t p(x|e_{t-1})^(β_t - β_{t-1})` has the mean p(x), provided that the transition between
//! two weights leaves its target invariant. By Jensen's inequality `E log ŵ ≤ log p(x)`. Where a
//! sample of the posterior is known, the same chain run backwards gives 1/p(x), and so an upper bound.

mod anneal;
mod estimate;
mod hamiltonian;
mod position;
mod schedule;
#[cfg(test)]
mod tests;

use burn::{prelude::*, tensor::TensorData};
use rand::RngExt;
use shortrun_data::Images;
use shortrun_langevin::{EnergyGradient, NoiseKey, Purpose};
use shortrun_model::{Learnable, Observation};

use self::{
    anneal::{Annealer, Pass, Temperature},
    hamiltonian::metropolis,
};
use crate::{
    EvalError, Simulated,
    inference::{images_at_once, standard_normal, to_tensor},
    simulate,
};

pub use self::{
    estimate::{Bounds, LogDensity, bits_per_dimension, bits_per_dimension_of_bytes},
    schedule::Schedule,
};

/// Chains of an image in the pilot run, at most.
const PILOT_CHAINS: usize = 2;

/// The way from the prior to the posterior.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Annealing {
    /// T, how many inverse temperatures above 0.
    pub temperatures: usize,
    /// How they are spaced.
    pub schedule: Schedule,
    /// Leapfrog steps of a transition: 1 is Langevin dynamics with a Metropolis correction, more is
    /// Hamiltonian Monte Carlo. Each costs a gradient.
    pub leapfrogs: usize,
    /// Chains of an image.
    pub chains: usize,
}

/// An estimate of log p(x).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Likelihood {
    /// How the chains go.
    pub annealing: Annealing,
    /// Standard deviation of a pixel.
    pub sigma: f64,
    /// d.
    pub latents: usize,
    /// Seed of the chains.
    pub seed: u64,
}

impl Default for Annealing {
    fn default() -> Self {
        Self {
            temperatures: 500,
            schedule: Schedule::Geometric,
            leapfrogs: 5,
            chains: 4,
        }
    }
}

impl Likelihood {
    /// `log p(x)` of the first `count` images in nats, as a density of values scaled to [-1, 1]: in
    /// expectation not above the truth. The generator's latents must be standard normal.
    ///
    /// The step sizes of the transitions are found by a pilot run of other chains, for each image and
    /// temperature, and do not change afterwards: adapted on the way they would bias the estimate.
    ///
    /// With `dequantise`, uniform noise of one byte's width is added to each value first, so that the
    /// density bounds the probability of the bytes (Theis, van den Oord and Bethge, 2016).
    ///
    /// # Errors
    /// If there are no images, the settings make no sense, or the latents are not standard normal.
    pub fn of_images<B: Backend, G: Learnable<B>>(
        &self,
        generator: &G,
        images: &Images,
        count: usize,
        dequantise: bool,
        device: &B::Device,
    ) -> Result<Vec<LogDensity>, EvalError> {
        let places: Vec<usize> = (0..count.min(images.len())).collect();
        if places.is_empty() {
            return Err(EvalError::NoImages);
        }
        self.check::<B, G>(generator, device)?;
        let mut found = Vec::new();
        for (chunk, places) in places
            .chunks(images_at_once(self.annealing.chains))
            .enumerate()
        {
            let mut x = to_tensor(images, places, device);
            if dequantise {
                let noise = self.byte_noise(chunk, x.dims(), device);
                x = x + noise;
            }
            found.extend(self.prepare(generator, chunk, x)?.forward());
        }
        Ok(found)
    }

    /// Bounds on `log p(x)` of the images that [`simulate`] makes with this seed: from below as
    /// [`of_images`](Self::of_images), from above by chains from the latents that made an image back
    /// to the prior.
    ///
    /// # Errors
    /// If the settings make no sense, or the latents are not standard normal.
    pub fn bounds<B: Backend, G: Learnable<B>>(
        &self,
        generator: &G,
        count: usize,
        device: &B::Device,
    ) -> Result<Vec<Bounds>, EvalError> {
        self.check::<B, G>(generator, device)?;
        let simulated: Simulated<B> = simulate(
            generator,
            self.latents,
            self.sigma,
            count,
            self.seed,
            device,
        )?;
        let at_once = images_at_once(self.annealing.chains);
        let images = simulated.observation.images().clone().split(at_once, 0);
        let latents = simulated.latents.clone().split(at_once, 0);
        let mut found = Vec::new();
        for (chunk, (x, latents)) in images.into_iter().zip(latents).enumerate() {
            let chains = self.prepare(generator, chunk, x)?;
            let both = chains.forward().into_iter().zip(chains.reverse(latents));
            found.extend(both.map(|(lower, upper)| Bounds { lower, upper }));
        }
        Ok(found)
    }

    /// Chains on the images `x` `[n, c, h, w]`, and a pilot run for their step sizes.
    fn prepare<B: Backend, G: Learnable<B>>(
        &self,
        generator: &G,
        chunk: usize,
        x: Tensor<B, 4>,
    ) -> Result<Prepared<B>, EvalError> {
        let device = x.device();
        let observation = Observation::new(x, self.sigma)?;
        let with = |chains: usize| {
            let posterior = generator.posterior(observation.repeated(chains));
            (self.annealer(chunk, &observation, chains), posterior)
        };
        let (pilot, posterior) = with(self.annealing.chains.min(PILOT_CHAINS));
        let path = pilot.pilot(&posterior, &device);
        let (annealer, posterior) = with(self.annealing.chains);
        Ok(Prepared {
            annealer,
            posterior,
            path,
            device,
        })
    }

    fn annealer<B: Backend>(
        &self,
        chunk: usize,
        observation: &Observation<B>,
        chains: usize,
    ) -> Annealer {
        let [images, channels, height, width] = observation.images().dims();
        let values = (channels * height * width) as f64;
        Annealer {
            betas: self.annealing.schedule.betas(self.annealing.temperatures),
            leapfrogs: self.annealing.leapfrogs,
            accept: metropolis,
            images,
            chains,
            latents: self.latents,
            log_normaliser: 0.5 * values * (std::f64::consts::TAU * self.sigma.powi(2)).ln(),
            key: self.key(chunk, Purpose::Annealing),
        }
    }

    fn key(&self, chunk: usize, purpose: Purpose) -> NoiseKey {
        NoiseKey {
            seed: self.seed,
            iteration: chunk as u64,
            purpose,
        }
    }

    /// Uniform between half a byte's value below and above.
    fn byte_noise<B: Backend>(
        &self,
        chunk: usize,
        shape: [usize; 4],
        device: &B::Device,
    ) -> Tensor<B, 4> {
        let mut rng = self.key(chunk, Purpose::Dequantisation).rng(0);
        let values = 0..shape.iter().product::<usize>();
        let noise = values.map(|_| (rng.random::<f32>() - 0.5) / 127.5);
        Tensor::from_data(TensorData::new(noise.collect::<Vec<_>>(), shape), device)
    }

    fn check<B: Backend, G: Learnable<B>>(
        &self,
        generator: &G,
        device: &B::Device,
    ) -> Result<(), EvalError> {
        let Annealing {
            temperatures,
            leapfrogs,
            chains,
            ..
        } = self.annealing;
        let counts = [
            ("temperatures", temperatures),
            ("leapfrogs", leapfrogs),
            ("chains", chains),
        ];
        if let Some((setting, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            let reason = "must be at least 1; found 0".to_owned();
            return Err(EvalError::Setting { setting, reason });
        }
        let noise = self
            .key(0, Purpose::Simulation)
            .normal([1, self.latents], 0, device);
        if standard_normal(&generator.valid(), noise) {
            Ok(())
        } else {
            Err(EvalError::NotStandardNormal)
        }
    }
}

/// Chains on some images, ready to go either way.
struct Prepared<B: Backend> {
    annealer: Annealer,
    posterior: Box<dyn EnergyGradient<B>>,
    path: Vec<Temperature>,
    device: B::Device,
}

impl<B: Backend> Prepared<B> {
    /// From the prior to the posterior.
    fn forward(&self) -> Vec<LogDensity> {
        let start = self.annealer.start(&self.device);
        let found = self
            .annealer
            .run(&self.posterior, self.path.iter(), start, Pass::Forward);
        found.densities()
    }

    /// Back from the latents `[n, d]` that made the images: all chains of an image from the same.
    fn reverse(&self, latents: Tensor<B, 2>) -> Vec<LogDensity> {
        let ([n, d], chains) = (latents.dims(), self.annealer.chains);
        let start = latents.unsqueeze_dim::<3>(1).expand([n, chains, d]);
        let start = start.reshape([n * chains, d]);
        let path = self.path.iter().rev();
        let found = self
            .annealer
            .run(&self.posterior, path, start, Pass::Reverse);
        found
            .densities()
            .into_iter()
            .map(LogDensity::inverse)
            .collect()
    }
}
