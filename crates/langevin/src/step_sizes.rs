//! The step sizes of a whole chain: one for all steps, one for each, or one for each latent layer.

use std::fmt;

use burn::{prelude::*, tensor::TensorData};
use serde::{Deserialize, Serialize};

use crate::{ChainError, LatentLayers, StepSize, step_size::rounded};

/// The step sizes of a whole chain.
///
/// In configuration files: `{ eta = 0.05 }`, or a list of such, one for each step, or
/// `{ layers = [32, 64], sizes = [{ eta = 0.05 }, { eta = 0.04 }] }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StepSizes {
    /// The same for every step.
    Constant(StepSize),
    /// One for each step, first to last.
    PerStep(Vec<StepSize>),
    /// One for each latent layer, top first; the same for every step.
    PerLayer {
        /// The sizes of the layers in the flat latent vector.
        layers: LatentLayers,
        /// The step size of each layer.
        sizes: Vec<StepSize>,
    },
}

/// The step size of one Langevin step, ready to be applied to latents `[n, d]`.
#[derive(Clone, Debug)]
pub enum Step<B: Backend> {
    /// The same in every dimension.
    Uniform(StepSize),
    /// One for each dimension.
    PerDimension {
        /// `s`, `[1, d]`.
        drift: Tensor<B, 2>,
        /// `sqrt(2 s)`, `[1, d]`.
        eta: Tensor<B, 2>,
    },
}

impl<B: Backend> From<StepSize> for Step<B> {
    fn from(step: StepSize) -> Self {
        Self::Uniform(step)
    }
}

impl<B: Backend> Step<B> {
    /// `s ∇U` of a gradient `[n, d]`.
    pub fn drift(&self, gradient: Tensor<B, 2>) -> Tensor<B, 2> {
        match self {
            Self::Uniform(step) => gradient * step.drift(),
            Self::PerDimension { drift, .. } => gradient * drift.clone(),
        }
    }

    /// `sqrt(2 s) n` of standard normal noise `[n, d]`.
    pub fn diffusion(&self, noise: Tensor<B, 2>) -> Tensor<B, 2> {
        match self {
            Self::Uniform(step) => noise * step.eta(),
            Self::PerDimension { eta, .. } => noise * eta.clone(),
        }
    }
}

impl StepSizes {
    /// Every size as written: one, K of them, or L of them.
    pub fn sizes(&self) -> &[StepSize] {
        match self {
            Self::Constant(step) => std::slice::from_ref(step),
            Self::PerStep(sizes) | Self::PerLayer { sizes, .. } => sizes,
        }
    }

    /// Their geometric mean.
    pub fn mean(&self) -> StepSize {
        let sizes = self.sizes();
        let Some(first) = sizes.first() else {
            return StepSize::ZERO;
        };
        let logs = sizes.iter().map(|step| (step.eta() / first.eta()).ln());
        first.scaled((logs.sum::<f64>() / sizes.len() as f64).exp())
    }

    /// The same arrangement with other sizes, as many as [`sizes`](Self::sizes) gives.
    pub fn with_sizes(&self, sizes: Vec<StepSize>) -> Self {
        match (self, sizes.as_slice()) {
            (Self::Constant(_), [step, ..]) => Self::Constant(*step),
            (Self::Constant(step), []) => Self::Constant(*step),
            (Self::PerStep(_), _) => Self::PerStep(sizes),
            (Self::PerLayer { layers, .. }, _) => Self::PerLayer {
                layers: layers.clone(),
                sizes,
            },
        }
    }

    /// Whether a chain of `steps` steps on `dim` latents can use them.
    ///
    /// # Errors
    /// If there are per-step sizes for another K, or layers of another size.
    pub fn check(&self, steps: usize, dim: usize) -> Result<(), ChainError> {
        match self {
            Self::Constant(_) => Ok(()),
            Self::PerStep(sizes) if sizes.len() == steps => Ok(()),
            Self::PerStep(sizes) => Err(ChainError::StepSizeCount {
                steps,
                sizes: sizes.len(),
            }),
            Self::PerLayer { layers, sizes } if sizes.len() != layers.count() => {
                Err(ChainError::LayerCount {
                    layers: layers.count(),
                    sizes: sizes.len(),
                })
            }
            Self::PerLayer { layers, .. } if layers.dim() != dim => Err(ChainError::LayerSize {
                layers: layers.dim(),
                latents: dim,
            }),
            Self::PerLayer { .. } => Ok(()),
        }
    }

    /// The step size of each of `dim` latent dimensions at step `k`, counted from 0; the last
    /// per-step size again past the end.
    pub fn by_dimension(&self, k: usize, dim: usize) -> Vec<StepSize> {
        match self {
            Self::Constant(step) => vec![*step; dim],
            Self::PerStep(sizes) => {
                let step = sizes.get(k).or(sizes.last()).copied();
                step.map_or_else(Vec::new, |step| vec![step; dim])
            }
            Self::PerLayer { layers, sizes } => layers
                .sizes()
                .iter()
                .zip(sizes)
                .flat_map(|(width, step)| std::iter::repeat_n(*step, *width))
                .collect(),
        }
    }

    /// Step `k`, counted from 0, ready to be applied.
    pub fn step<B: Backend>(&self, k: usize, device: &B::Device) -> Step<B> {
        match self {
            Self::Constant(step) => Step::Uniform(*step),
            Self::PerStep(sizes) => match sizes.get(k).or(sizes.last()) {
                Some(step) => Step::Uniform(*step),
                None => Step::Uniform(StepSize::ZERO),
            },
            Self::PerLayer { layers, .. } => {
                let steps = self.by_dimension(k, layers.dim());
                let row = |value: fn(StepSize) -> f64| {
                    let values: Vec<f32> = steps.iter().map(|step| value(*step) as f32).collect();
                    let shape = [1, values.len()];
                    Tensor::from_data(TensorData::new(values, shape), device)
                };
                Step::PerDimension {
                    drift: row(StepSize::drift),
                    eta: row(StepSize::eta),
                }
            }
        }
    }

    /// The same with every eta multiplied by `factor` (so every drift by its square).
    pub fn scaled(&self, factor: f64) -> Self {
        self.with_sizes(
            self.sizes()
                .iter()
                .map(|step| step.scaled(factor))
                .collect(),
        )
    }

    /// How many steps they are meant for; `None` if for any number.
    pub fn count(&self) -> Option<usize> {
        match self {
            Self::PerStep(sizes) => Some(sizes.len()),
            Self::Constant(_) | Self::PerLayer { .. } => None,
        }
    }
}

impl From<StepSize> for StepSizes {
    fn from(step: StepSize) -> Self {
        Self::Constant(step)
    }
}

impl fmt::Display for StepSizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self {
            Self::Constant(step) => return step.fmt(f),
            Self::PerStep(_) => "step",
            Self::PerLayer { .. } => "layer",
        };
        let list = |value: fn(StepSize) -> f64| -> Vec<f64> {
            let sizes = self.sizes().iter();
            sizes.map(|step| rounded(value(*step))).collect()
        };
        let (etas, drifts) = (list(StepSize::eta), list(StepSize::drift));
        write!(f, "by {by}: eta = {etas:?} (drift s = {drifts:?})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eta(eta: f64) -> StepSize {
        StepSize::from_eta(eta).unwrap()
    }

    #[test]
    fn configuration_gives_one_or_one_for_each_step_or_layer() {
        let read = |text: &str| serde_json::from_str::<StepSizes>(text).unwrap();
        assert_eq!(read(r#"{"eta": 0.1}"#), eta(0.1).into());
        let steps = read(r#"[{"eta": 0.1}, {"eta": 0.05}]"#);
        assert_eq!(steps.count(), Some(2));
        let layers = read(r#"{"layers": [1, 2], "sizes": [{"eta": 0.1}, {"drift": 0.02}]}"#);
        assert_eq!(layers.by_dimension(7, 3), [eta(0.1), eta(0.2), eta(0.2)]);
        for sizes in [steps, layers] {
            assert_eq!(read(&serde_json::to_string(&sizes).unwrap()), sizes);
        }
    }

    #[test]
    fn sizes_that_do_not_fit_the_chain_are_refused() {
        assert!(StepSizes::PerStep(vec![eta(0.1)]).check(2, 3).is_err());
        let layers = StepSizes::PerLayer {
            layers: LatentLayers::new([1, 2]).unwrap(),
            sizes: vec![eta(0.1), eta(0.2)],
        };
        assert!(layers.check(2, 3).is_ok());
        assert!(layers.check(2, 4).is_err());
        assert!(layers.with_sizes(vec![eta(0.1)]).check(2, 3).is_err());
    }
}
