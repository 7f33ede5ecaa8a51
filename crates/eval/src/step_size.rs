//! The step-size problem of a generator on images.

use burn::{prelude::*, tensor::TensorData};
use shortrun_data::Images;
use shortrun_langevin::NoiseKey;
use shortrun_model::{Generator, Learnable, Observation};
use shortrun_stepsize_vi::{MemoryBudget, Model, ObjectiveError, Problem};

use crate::{EvalError, inference::host};

/// On what a step size is tuned, apart from the generator and the images.
#[derive(Clone, Copy, Debug)]
pub struct StepSizeTask {
    /// K.
    pub steps: usize,
    /// Standard deviation of a pixel.
    pub sigma: f64,
    /// d.
    pub latents: usize,
    /// Where starts and noise come from: stream 0 and streams 1 to K.
    pub key: NoiseKey,
    /// Memory for Hessians.
    pub budget: MemoryBudget,
}

impl StepSizeTask {
    /// Hands the posterior of the images at `places`, and starts and noise of chains on it, to
    /// `work`.
    ///
    /// # Errors
    /// If there are no images, sigma makes no sense, or `work` fails.
    pub fn run<B: Backend, G: Learnable<B>, R>(
        &self,
        generator: &G,
        images: &Images,
        places: &[usize],
        device: &B::Device,
        work: impl FnOnce(&Model<'_, B>, &Problem<B>) -> Result<R, ObjectiveError>,
    ) -> Result<R, EvalError> {
        let n = places.len();
        if n == 0 {
            return Err(EvalError::NoImages);
        }
        let shape = images.shape();
        let shape = [n, shape.channels, shape.height, shape.width];
        let values = TensorData::new(images.to_f32(places), shape);
        let observation = Observation::new(Tensor::from_data(values, device), self.sigma)?;
        let drawn = Problem::drawn(self.key, [n, self.latents], self.steps, device)?;
        let problem = with_constants(
            from_the_prior(generator, &observation, drawn)?,
            &observation,
        )?;
        with_model(generator, &observation, self.budget, |model| {
            work(model, &problem)
        })
    }
}

/// Hands the posterior of the observation to `work`, with second derivatives if the generator has
/// them.
pub(crate) fn with_model<B: Backend, G: Learnable<B>, R>(
    generator: &G,
    observation: &Observation<B>,
    budget: MemoryBudget,
    work: impl FnOnce(&Model<'_, B>) -> Result<R, ObjectiveError>,
) -> Result<R, EvalError> {
    Ok(match generator.curvature(observation.clone()) {
        Some(curvature) => work(&Model::with_curvature(&curvature, budget)),
        None => work(&Model::with_gradient(
            &generator.posterior(observation.clone()),
        )),
    }?)
}

/// The problem with the constants that make its objective one of densities.
pub(crate) fn with_constants<B: Backend>(
    problem: Problem<B>,
    observation: &Observation<B>,
) -> Result<Problem<B>, EvalError> {
    let seen = observation.values_seen();
    if let Some(hidden) = seen.iter().position(|seen| *seen == 0.0) {
        return Err(EvalError::NothingSeen(hidden));
    }
    let variance = observation.sigma().powi(2);
    let constants = seen
        .iter()
        .map(|values| 0.5 * values * (std::f64::consts::TAU * variance).ln());
    Ok(problem.with_log_normaliser(constants.collect())?)
}

/// The problem whose chains start at the latents that its starts, taken for noise, stand for.
fn from_the_prior<B: Backend, G: Learnable<B>>(
    generator: &G,
    observation: &Observation<B>,
    problem: Problem<B>,
) -> Result<Problem<B>, EvalError> {
    let valid = generator.valid();
    let noise = problem.start().clone();
    let start = valid.latents_from_noise(noise.clone());
    if host((start.clone() - noise).abs().max().unsqueeze::<1>()) == [0.0] {
        return Ok(problem);
    }
    // Latents that are not standard normal: their prior is what the energy adds to the images'.
    let energy = valid.energy(start.clone(), observation);
    let prior = energy - observation.energy(valid.forward(start.clone()));
    let log_start = host(prior).into_iter().map(|energy| -f64::from(energy));
    Ok(problem
        .with_start(start)?
        .with_log_start(log_start.collect())?)
}
