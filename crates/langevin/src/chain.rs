//! The K-step Langevin chain.

use burn::prelude::*;
use thiserror::Error;

use crate::{Diagnostics, EnergyGradient, LatentLayers, NoiseKey, Step, StepSizes, Trace};

/// A chain that cannot be run as asked.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ChainError {
    /// K = 0.
    #[error("a chain needs at least one Langevin step; found 0")]
    NoSteps,
    /// More steps than a chain may have.
    #[error("a chain has at most {most} Langevin steps; found {0}", most = ShortRun::MOST_STEPS)]
    TooManySteps(usize),
    /// Per-step sizes for another K.
    #[error("the chain has {steps} Langevin steps but {sizes} step sizes; give one for each step")]
    StepSizeCount {
        /// K.
        steps: usize,
        /// How many step sizes were given.
        sizes: usize,
    },
    /// Per-layer sizes for another number of layers.
    #[error("there are {layers} latent layers but {sizes} step sizes; give one for each layer")]
    LayerCount {
        /// L.
        layers: usize,
        /// How many step sizes were given.
        sizes: usize,
    },
    /// Noise of the wrong shape.
    #[error("the noise has shape {found:?}; the chain needs {expected:?} (steps, examples, d)")]
    NoiseShape {
        /// `[K, n, d]` of the given noise.
        found: [usize; 3],
        /// `[K, n, d]` of the chain.
        expected: [usize; 3],
    },
    /// Layers that do not add up to d.
    #[error("the latent layers add up to {layers} dimensions, the latents have {latents}")]
    LayerSize {
        /// Sum of the layer sizes.
        layers: usize,
        /// d.
        latents: usize,
    },
}

/// Where the noise `n_k` of the chain comes from.
#[derive(Clone, Debug)]
pub enum Noise<B: Backend> {
    /// No noise: gradient descent on the energy.
    Off,
    /// Drawn from the key, as [`NoiseKey::of_step`] does.
    Keyed(NoiseKey),
    /// As given, `[K, n, d]`.
    Given(Tensor<B, 3>),
}

impl<B: Backend> Noise<B> {
    fn at(&self, k: usize, shape: [usize; 2], device: &B::Device) -> Option<Tensor<B, 2>> {
        match self {
            Self::Off => None,
            Self::Keyed(key) => Some(key.of_step(k, shape, device)),
            Self::Given(noise) => Some(noise.clone().slice_dim(0, k..k + 1).squeeze_dim(0)),
        }
    }
}

/// One Langevin step: `e - s ∇U(e) + sqrt(2 s) n`.
///
/// # Shapes
/// latents, gradient, noise and result: `[n, d]`
pub fn langevin_step<B: Backend>(
    latents: Tensor<B, 2>,
    gradient: Tensor<B, 2>,
    noise: Option<Tensor<B, 2>>,
    step: &Step<B>,
) -> Tensor<B, 2> {
    let moved = latents - step.drift(gradient);
    match noise {
        Some(noise) => moved + step.diffusion(noise),
        None => moved,
    }
}

/// A short-run chain: how many steps, of what size, and what to keep of the way.
#[derive(Clone, Debug, PartialEq)]
pub struct ShortRun {
    steps: usize,
    step_sizes: StepSizes,
    layers: Option<LatentLayers>,
    trace: bool,
}

/// What a chain leaves behind.
#[derive(Clone, Debug)]
pub struct Run<B: Backend> {
    /// The end of the chains, `e_K`: `[n, d]`.
    pub latents: Tensor<B, 2>,
    /// The energies `U(e_0), …, U(e_{K-1})`: `[K, n]`. The chain itself never needs `U(e_K)`.
    pub energy: Tensor<B, 2>,
    /// Present if [`ShortRun::with_diagnostics`] asked for it.
    pub diagnostics: Option<Diagnostics<B>>,
    /// Present if [`ShortRun::with_trace`] asked for it.
    pub trace: Option<Trace<B>>,
}

impl ShortRun {
    /// Steps at most: each leaves its energies behind.
    pub const MOST_STEPS: usize = 1_000_000;

    /// A chain of `steps` steps.
    ///
    /// # Errors
    /// If there are no steps or more than [`MOST_STEPS`](Self::MOST_STEPS), or per-step sizes of
    /// another number.
    pub fn new(steps: usize, step_sizes: impl Into<StepSizes>) -> Result<Self, ChainError> {
        let step_sizes = step_sizes.into();
        if steps == 0 {
            return Err(ChainError::NoSteps);
        }
        if steps > Self::MOST_STEPS {
            return Err(ChainError::TooManySteps(steps));
        }
        if let Some(sizes) = step_sizes.count().filter(|sizes| *sizes != steps) {
            return Err(ChainError::StepSizeCount { steps, sizes });
        }
        Ok(Self {
            steps,
            step_sizes,
            layers: None,
            trace: false,
        })
    }

    /// Also returns gradient norms and displacements, by step and layer.
    pub fn with_diagnostics(mut self, layers: LatentLayers) -> Self {
        self.layers = Some(layers);
        self
    }

    /// Also returns every position and all noise. Costs one more gradient, at the end.
    pub fn with_trace(mut self) -> Self {
        self.trace = true;
        self
    }

    /// K.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// The step sizes.
    pub fn step_sizes(&self) -> &StepSizes {
        &self.step_sizes
    }

    /// Runs the chain from `start` (`[n, d]`), one chain for each row.
    ///
    /// # Errors
    /// If given noise, layers or step sizes do not fit the latents.
    pub fn run<B: Backend>(
        &self,
        posterior: &impl EnergyGradient<B>,
        start: Tensor<B, 2>,
        noise: Noise<B>,
    ) -> Result<Run<B>, ChainError> {
        let shape = start.dims();
        let device = start.device();
        self.check(shape, &noise)?;
        if self.layers.is_none()
            && !self.trace
            && let Some((latents, energy)) = posterior.whole_chain(self, &start, &noise)
        {
            return Ok(Run {
                latents,
                energy,
                diagnostics: None,
                trace: None,
            });
        }

        let mut latents = start.clone();
        let mut energies = Vec::with_capacity(self.steps);
        let mut diagnostics = self.layers.as_ref().map(Diagnostics::recorder);
        let mut trace = self.trace.then(|| Trace::recorder(start.clone()));
        for k in 0..self.steps {
            let (energy, gradient) = posterior.energy_and_gradient(latents.clone());
            let noise = noise.at(k, shape, &device);
            if let Some(recorder) = &mut trace {
                recorder.noise(noise.clone());
                recorder.gradient(&gradient);
            }
            if let Some(recorder) = &mut diagnostics {
                recorder.record(&gradient, &latents, &start);
            }
            latents = langevin_step(latents, gradient, noise, &self.step_sizes.step(k, &device));
            energies.push(energy.unsqueeze_dim::<2>(0));
            if let Some(recorder) = &mut trace {
                recorder.position(latents.clone());
            }
        }
        Ok(Run {
            diagnostics: diagnostics.map(|recorder| recorder.finish()),
            trace: trace.map(|recorder| {
                let (energy, _) = posterior.energy_and_gradient(latents.clone());
                recorder.finish(energy)
            }),
            energy: Tensor::cat(energies, 0),
            latents,
        })
    }

    fn check<B: Backend>(&self, [n, d]: [usize; 2], noise: &Noise<B>) -> Result<(), ChainError> {
        if let Noise::Given(noise) = noise {
            let (found, expected) = (noise.dims(), [self.steps, n, d]);
            if found != expected {
                return Err(ChainError::NoiseShape { found, expected });
            }
        }
        self.step_sizes.check(self.steps, d)?;
        match &self.layers {
            Some(layers) if layers.dim() != d => Err(ChainError::LayerSize {
                layers: layers.dim(),
                latents: d,
            }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StepSize;

    #[test]
    fn chains_of_no_steps_or_of_too_many_are_refused() {
        let step = StepSize::from_eta(0.05).unwrap();
        let refusal = |steps: usize| ShortRun::new(steps, step).err();
        assert_eq!(refusal(0), Some(ChainError::NoSteps));
        assert_eq!(refusal(ShortRun::MOST_STEPS), None);
        for steps in [ShortRun::MOST_STEPS + 1, usize::MAX] {
            assert_eq!(refusal(steps), Some(ChainError::TooManySteps(steps)));
        }
    }
}
