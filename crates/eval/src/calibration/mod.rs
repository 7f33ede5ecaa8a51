//! How good the short chain's inference is: simulation-based calibration (Talts, Betancourt, Simpson,
//! Vehtari and Gelman, 2018).
//!
//! Draw latents e* from the prior and an image x from the model: then e* is an exact sample of the
//! posterior of x. If a chain's ends were samples of that posterior too, the rank of any function
//! f(e*, x) among f(ends, x) would be uniform. Chains that find something else show in the ranks'
//! histogram: U-shaped if the ends are too narrow, ∩-shaped if they are too wide, tilted if they are
//! off to one side.
//!
//! Ranks of coordinates alone cannot tell the posterior from the prior: a chain that does not move
//! passes. So functions that depend on the image are ranked, too (Modrák et al., 2023).

mod picture;
mod ranks;
#[cfg(test)]
mod tests;

use burn::prelude::*;
use serde::Serialize;
use shortrun_langevin::{Noise, NoiseKey, Purpose};
use shortrun_model::{Generator, Learnable, Observation};

use crate::{
    EvalError, Inference, Simulated,
    inference::{host, images_at_once},
    simulate,
};
use ranks::{below, bins, bonferroni, histogram, standard_errors};

pub use ranks::{RankTest, Spread};

/// The ranks of simulated truths among the ends of short chains, and tests of their uniformity.
///
/// Ranks of one image depend on each other, those of different images do not. Each test therefore
/// counts every image once, and tests are combined by Bonferroni's inequality, which holds under
/// any dependence.
#[derive(Clone, Debug, Serialize)]
pub struct Calibration {
    /// N.
    pub images: usize,
    /// M, the chains of an image.
    pub chains: usize,
    /// Layer by layer, top first.
    pub layers: Vec<LayerCalibration>,
    /// Of the energy U(e), which sees all layers and the image at once.
    pub energy: RankTest,
    /// How probable ranks as uneven as these, in any respect, are under exact inference: at most
    /// this.
    pub p_value: f64,
    /// Chains whose end is not finite; they count as above every truth.
    pub diverged: usize,
}

/// The ranks of one layer.
#[derive(Clone, Debug, Serialize)]
pub struct LayerCalibration {
    /// d_l.
    pub size: usize,
    /// Ranks of all coordinates of all images, in bins of equal width from the lowest.
    pub histogram: Vec<usize>,
    /// Standard error of each bin's count, by the spread over images.
    pub standard_errors: Vec<f64>,
    /// Of chi-square tests of each coordinate over the images, the least p-value times d_l.
    pub coordinates_p_value: f64,
    /// Whether the ends are too narrow or too wide.
    pub spread: Spread,
    /// Of `v_l(x) · e_l`, v_l being the gradient of the energy in this layer at e = 0: how far the
    /// chain follows where the image pulls this layer.
    pub pull: RankTest,
    /// The least of these three p-values times 3.
    pub p_value: f64,
}

/// Calibrates the chain on `images` images that the model made, with `chains` chains each.
///
/// Works in either parameterisation; the coordinates are those that the chain moves.
///
/// # Errors
/// If there are too few images for a test, or the chain or sigma make no sense.
pub fn calibrate<B: Backend, G: Learnable<B>>(
    generator: &G,
    inference: &Inference,
    images: usize,
    chains: usize,
    device: &B::Device,
) -> Result<Calibration, EvalError> {
    let bins = bins(images, chains)?;
    let d = inference.layers.dim();
    let simulated: Simulated<B> = simulate(
        generator,
        d,
        inference.sigma,
        images,
        inference.seed,
        device,
    )?;
    let mut ranks = Ranks::new(inference.layers.count(), d);
    let at_once = images_at_once(chains);
    let x = simulated.observation.images().clone().split(at_once, 0);
    let truth = simulated.latents.split(at_once, 0);
    for (chunk, (x, truth)) in x.into_iter().zip(truth).enumerate() {
        let observation = Observation::new(x, inference.sigma)?;
        let key = |purpose| NoiseKey {
            seed: inference.seed,
            iteration: chunk as u64,
            purpose,
        };
        let valid = generator.valid();
        let [n, _] = truth.dims();
        let noise = key(Purpose::EvaluationStart).normal([n * chains, d], 0, device);
        let many = observation.repeated(chains);
        let run = inference.chain.run(
            &generator.posterior(many.clone()),
            valid.latents_from_noise(noise),
            Noise::Keyed(key(Purpose::Evaluation)),
        )?;
        let middle = valid.latents_from_noise(Tensor::zeros([n, d], device));
        let (_, pull) = generator
            .posterior(observation.clone())
            .energy_and_gradient(middle);
        ranks.add(
            inference,
            chains,
            &Chunk {
                truth_energy: host(valid.energy(truth.clone(), &observation)),
                end_energy: host(valid.energy(run.latents.clone(), &many)),
                truth: host(truth),
                ends: host(run.latents),
                pull: host(pull),
            },
        );
    }
    Ok(ranks.test(inference, chains, bins))
}

/// Some images with their chains, row by row.
struct Chunk {
    /// `[n, d]`.
    truth: Vec<f32>,
    /// `[n M, d]`.
    ends: Vec<f32>,
    /// `[n, d]`.
    pull: Vec<f32>,
    /// `[n]`.
    truth_energy: Vec<f32>,
    /// `[n M]`.
    end_energy: Vec<f32>,
}

/// The rank of each function, one for each image.
struct Ranks {
    /// By coordinate.
    coordinates: Vec<Vec<usize>>,
    /// By layer.
    pulls: Vec<Vec<usize>>,
    energy: Vec<usize>,
    diverged: usize,
}

impl Ranks {
    fn new(layers: usize, d: usize) -> Self {
        Self {
            coordinates: vec![Vec::new(); d],
            pulls: vec![Vec::new(); layers],
            energy: Vec::new(),
            diverged: 0,
        }
    }

    fn add(&mut self, inference: &Inference, chains: usize, chunk: &Chunk) {
        let d = inference.layers.dim();
        for (image, truth) in chunk.truth.chunks_exact(d).enumerate() {
            let rows = image * chains..(image + 1) * chains;
            let ends = || chunk.ends[rows.start * d..rows.end * d].chunks_exact(d);
            for (j, ranks) in self.coordinates.iter_mut().enumerate() {
                ranks.push(below(truth[j].into(), ends().map(|end| end[j].into())));
            }
            let pull = &chunk.pull[image * d..(image + 1) * d];
            for (columns, ranks) in inference.layers.ranges().zip(&mut self.pulls) {
                let along = |latents: &[f32]| -> f64 {
                    let pairs = columns
                        .clone()
                        .map(|j| f64::from(latents[j]) * f64::from(pull[j]));
                    pairs.sum()
                };
                ranks.push(below(along(truth), ends().map(along)));
            }
            let energies = &chunk.end_energy[rows];
            self.diverged += energies.iter().filter(|energy| !energy.is_finite()).count();
            let energies = energies.iter().map(|energy| f64::from(*energy));
            self.energy
                .push(below(chunk.truth_energy[image].into(), energies));
        }
    }

    fn test(self, inference: &Inference, chains: usize, bins: usize) -> Calibration {
        let test = |ranks: &[usize]| RankTest::of(&histogram(ranks, chains, bins));
        let layers = inference.layers.ranges().zip(&self.pulls);
        let layers: Vec<LayerCalibration> = layers
            .map(|(columns, pull)| {
                let coordinates = &self.coordinates[columns];
                let p_values = coordinates.iter().map(|ranks| test(ranks).p_value);
                let coordinates_p_value = bonferroni(p_values);
                let (spread, pull) = (Spread::of(coordinates, chains), test(pull));
                let three = [coordinates_p_value, spread.p_value, pull.p_value];
                LayerCalibration {
                    size: coordinates.len(),
                    histogram: histogram(&coordinates.concat(), chains, bins),
                    standard_errors: standard_errors(coordinates, chains, bins),
                    coordinates_p_value,
                    spread,
                    pull,
                    p_value: bonferroni(three.into_iter()),
                }
            })
            .collect();
        let energy = test(&self.energy);
        let p_values = layers.iter().map(|layer| layer.p_value);
        Calibration {
            images: self.energy.len(),
            chains,
            p_value: bonferroni(p_values.chain([energy.p_value])),
            layers,
            energy,
            diverged: self.diverged,
        }
    }
}
