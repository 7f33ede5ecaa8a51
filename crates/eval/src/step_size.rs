//! The step-size problem of a generator on images.

use burn::prelude::*;
use shortrun_data::Images;
use shortrun_langevin::NoiseKey;
use shortrun_model::{Generator, Learnable, Observation};
use shortrun_stepsize_vi::{MemoryBudget, Model, ObjectiveError, Problem};

use crate::{
    EvalError,
    inference::{check_shape, host, standard_normal, to_tensor},
};

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
    /// If there are no images or they are not of the generator's shape, sigma makes no sense, or `work`
    /// fails.
    ///
    /// # Panics
    /// If a place is not among the images.
    pub fn run<B: Backend, G: Learnable<B>, R>(
        &self,
        generator: &G,
        images: &Images,
        places: &[usize],
        device: &B::Device,
        work: impl FnOnce(&Model<'_, B>, &Problem<B>) -> Result<R, ObjectiveError>,
    ) -> Result<R, EvalError> {
        if places.is_empty() {
            return Err(EvalError::NoImages);
        }
        let observation = Observation::new(to_tensor(images, places, device), self.sigma)?;
        let shape = [places.len(), self.latents];
        let drawn = Problem::drawn(self.key, shape, self.steps, device)?;
        let valid = generator.valid();
        let start = valid.latents_from_noise(drawn.start().clone());
        check_shape(&valid, &start, images)?;
        let problem = with_densities(generator, &observation, drawn.with_start(start)?)?;
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

/// The problem with the densities that its energies leave out: `(D/2) log(2π σ²)` of the images,
/// and the prior's where the latents are not standard normal.
pub(crate) fn with_densities<B: Backend, G: Learnable<B>>(
    generator: &G,
    observation: &Observation<B>,
    problem: Problem<B>,
) -> Result<Problem<B>, EvalError> {
    let seen = observation.values_seen();
    if let Some(hidden) = seen.iter().position(|seen| *seen == 0.0) {
        return Err(EvalError::NothingSeen(hidden));
    }
    let log_two_pi_variance = (std::f64::consts::TAU * observation.sigma().powi(2)).ln();
    let constants = seen.iter().map(|values| 0.5 * values * log_two_pi_variance);
    let problem = problem.with_log_normaliser(constants.collect())?;

    let (valid, start) = (generator.valid(), problem.start().clone());
    if standard_normal(&valid, start.clone()) {
        // As the problem has it.
        return Ok(problem);
    }
    // The prior is what the energy adds to that of the images.
    let energy = valid.energy(start.clone(), observation);
    let prior = energy - observation.energy(valid.forward(start));
    let log_start = host(prior).into_iter().map(|energy| -f64::from(energy));
    Ok(problem.with_log_start(log_start.collect())?)
}
