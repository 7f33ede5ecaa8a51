//! The explicit latent gradient of the built-in generator.
//!
//! Each part gives its value and, from what it saved on the way, its vector-Jacobian product in
//! its input; no part ever forms a gradient of the weights. Only forward tensor operations are
//! used, so it runs on every backend, and on an autodiff backend it can be differentiated again
//! (for Hessian-vector products).

mod conv;
mod curvature;
mod dense;
mod output;
mod project;
mod residual;
mod stochastic;

use burn::prelude::*;
use shortrun_langevin::{EnergyGradient, LatentLayers};

use self::{output::Output, project::Project, residual::Residual, stochastic::Stochastic};
use crate::{Architecture, MultiLayerGenerator, Observation, generator::half_square};

pub use self::curvature::{CentredError, ExplicitCurvature};

#[cfg(feature = "cuda")]
pub(crate) use self::{
    conv::{Convolution, with_bias},
    dense::multiply,
    output::Deconv,
};

/// Energy and explicit latent gradient of the built-in generator's posterior.
///
/// Holds the weights in the layouts that the two passes want, so make one for each chain rather
/// than one for each step.
#[derive(Clone, Debug)]
pub struct ExplicitPosterior<B: Backend> {
    layers: LatentLayers,
    architecture: Architecture,
    centred: bool,
    project: Vec<Project<B>>,
    residual: Vec<Residual<B>>,
    stochastic: Vec<Stochastic<B>>,
    refine: Vec<Residual<B>>,
    output: Output<B>,
    observation: Observation<B>,
}

/// What one layer keeps for its way back.
struct Layer<B: Backend> {
    project: project::Saved<B>,
    residual: residual::Saved<B>,
    /// Absent in the top layer and in a ladder.
    stochastic: Option<Given<B>>,
}

/// The distribution of a layer's latents given the layers above.
struct Given<B: Backend> {
    saved: stochastic::Saved<B>,
    /// `sigma_l`, `[n, d_l]`.
    scale: Tensor<B, 2>,
    /// `e_l = (z_l - mu_l) / sigma_l`, `[n, d_l]`.
    noise: Tensor<B, 2>,
}

impl<B: Backend> ExplicitPosterior<B> {
    /// The posterior of `observation` under the present weights of `generator`.
    pub fn new(generator: &MultiLayerGenerator<B>, observation: Observation<B>) -> Self {
        let config = generator.config();
        Self {
            layers: config.latents.clone(),
            architecture: config.architecture,
            centred: config.is_centred(),
            project: generator
                .blocks
                .iter()
                .map(|block| Project::new(&block.project))
                .collect(),
            residual: generator
                .blocks
                .iter()
                .map(|block| Residual::new(&block.conv1, &block.conv2))
                .collect(),
            stochastic: generator.stochastic.iter().map(Stochastic::new).collect(),
            refine: generator
                .refine
                .iter()
                .map(|block| Residual::new(&block.conv1, &block.conv2))
                .collect(),
            output: Output::new(&generator.output),
            observation,
        }
    }

    /// Features of the last layer, what each layer saved, and `-log p(e)` or `-log p(z)` `[n]`.
    fn down(&self, latents: &[Tensor<B, 2>]) -> (Tensor<B, 4>, Vec<Layer<B>>, Tensor<B, 1>) {
        let ladder = self.architecture == Architecture::Ladder;
        let mut energy = half_square(latents[0].clone());
        let mut saved = Vec::with_capacity(latents.len());
        let mut above: Option<Tensor<B, 4>> = None;
        for (i, chained) in latents.iter().enumerate() {
            let heads = i.checked_sub(1).and_then(|i| self.stochastic.get(i));
            let given = above.as_ref().zip(heads).map(|(features, heads)| {
                let (mean, scale, heads) = heads.forward(features.clone());
                let noise = if self.centred {
                    (chained.clone() - mean.clone()) / scale.clone()
                } else {
                    chained.clone()
                };
                let latent = if self.centred {
                    chained.clone()
                } else {
                    mean + scale.clone() * noise.clone()
                };
                (
                    latent,
                    Given {
                        saved: heads,
                        scale,
                        noise,
                    },
                )
            });
            let (latent, stochastic) = match given {
                Some((latent, given)) => (latent, Some(given)),
                None => (chained.clone(), None),
            };
            if ladder && i > 0 {
                energy = energy + half_square(chained.clone());
            }
            if let Some(given) = &stochastic {
                energy = energy + half_square(given.noise.clone());
                if self.centred {
                    energy = energy + given.scale.clone().log().sum_dim(1).squeeze_dim(1);
                }
            }
            let (map, project) = self.project[i].forward(latent);
            let (features, residual) = match above {
                Some(above) if ladder => self.residual[i].forward(map + above, None),
                above => self.residual[i].forward(map, above),
            };
            above = Some(features);
            saved.push(Layer {
                project,
                residual,
                stochastic,
            });
        }
        let features = match above {
            Some(features) => features,
            // `LatentLayers` holds at least one layer.
            None => unreachable!("a generator without layers"),
        };
        (features, saved, energy)
    }

    /// From the gradient in the last features to the gradient in every layer's latents.
    fn up(
        &self,
        latents: &[Tensor<B, 2>],
        saved: Vec<Layer<B>>,
        features: Tensor<B, 4>,
    ) -> Vec<Tensor<B, 2>> {
        let mut gradient = features;
        let mut gradients = Vec::with_capacity(saved.len());
        for (i, layer) in saved.into_iter().enumerate().rev() {
            let map = self.residual[i].vjp(gradient.clone(), layer.residual);
            let latent = self.project[i].vjp(map.clone(), layer.project);
            let Some(Given {
                saved,
                scale,
                noise,
            }) = layer.stochastic
            else {
                gradients.push(latents[i].clone() + latent);
                // In a ladder the features above went into the block with the map.
                gradient = map;
                continue;
            };
            let heads = &self.stochastic[i - 1];
            gradient = if self.centred {
                // log p(z | above) = -noise² / 2 - log(scale): both heads feel the prior.
                let pull = noise.clone() / scale.clone();
                gradients.push(latent + pull.clone());
                heads.vjp(-pull, (-noise.square() + 1.0) / scale, saved, gradient)
            } else {
                gradients.push(latent.clone() * scale + noise.clone());
                heads.vjp(latent.clone(), latent * noise, saved, gradient)
            };
        }
        gradients.reverse();
        gradients
    }
}

impl<B: Backend> EnergyGradient<B> for ExplicitPosterior<B> {
    fn energy_and_gradient(&self, latents: Tensor<B, 2>) -> (Tensor<B, 1>, Tensor<B, 2>) {
        let latents = self.layers.split(latents);
        let (mut features, saved, prior) = self.down(&latents);
        let mut refined = Vec::with_capacity(self.refine.len());
        for block in &self.refine {
            let (next, kept) = block.forward(features, None);
            features = next;
            refined.push(kept);
        }
        let (image, output) = self.output.forward(features);

        let residual = self.observation.residual(image);
        let energy = prior + self.observation.energy_of_residual(residual.clone());

        let mut gradient = self
            .output
            .vjp(residual * self.observation.precision(), output);
        for (block, kept) in self.refine.iter().zip(refined).rev() {
            gradient = block.vjp(gradient, kept);
        }
        (energy, Tensor::cat(self.up(&latents, saved, gradient), 1))
    }
}
