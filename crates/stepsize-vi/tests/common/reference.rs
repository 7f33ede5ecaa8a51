//! The numbers that `pytorch/reference.py` wrote.

use std::collections::BTreeMap;

use burn::{prelude::*, tensor::TensorData};
use serde::Deserialize;
use shortrun_langevin::{LatentLayers, StepSize, StepSizes};

/// Rows of a matrix.
pub(crate) type Rows = Vec<Vec<f64>>;

/// `pytorch/reference.json`; the script's docstring says what each is.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Reference {
    pub(crate) n: usize,
    pub(crate) d: usize,
    pub(crate) hidden: usize,
    /// D.
    pub(crate) observed: usize,
    /// K.
    pub(crate) steps: usize,
    pub(crate) sigma: f64,
    pub(crate) w1: Rows,
    pub(crate) b1: Vec<f64>,
    pub(crate) w2: Rows,
    pub(crate) b2: Vec<f64>,
    pub(crate) x: Rows,
    pub(crate) e0: Rows,
    pub(crate) noise: Vec<Rows>,
    pub(crate) at_start: AtStart,
    pub(crate) cases: BTreeMap<String, Case>,
}

/// Derivatives at `e_0`; from the Hessian on of image 0 alone.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct AtStart {
    pub(crate) energy: Vec<f64>,
    pub(crate) gradient: Rows,
    pub(crate) hessian: Rows,
    pub(crate) vector: Vec<f64>,
    pub(crate) hessian_product: Vec<f64>,
    pub(crate) weights: Rows,
    pub(crate) trace_gradient: Vec<f64>,
}

/// One arrangement of step sizes.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Case {
    pub(crate) sizes: Vec<f64>,
    pub(crate) layers: Vec<usize>,
    /// `[K, d]`
    pub(crate) sizes_by_dimension: Rows,
    /// `[K + 1, n, d]`
    pub(crate) positions: Vec<Rows>,
    /// `-|e_0|²/2`, `[n]`
    pub(crate) log_prior: Vec<f64>,
    /// `U(e_K)`, `[n]`
    pub(crate) end_energy: Vec<f64>,
    pub(crate) exact: Exact,
    pub(crate) augmented: Augmented,
}

/// The exact objective.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Exact {
    /// `[n]`
    pub(crate) objective: Vec<f64>,
    /// Of the mean over images, in each of the case's sizes.
    pub(crate) gradient: Vec<f64>,
    /// `[K, n]`
    pub(crate) log_det: Rows,
    /// `[K, n]`
    pub(crate) smallest_eigenvalue: Rows,
}

/// The augmented bound.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Augmented {
    /// `[n]`
    pub(crate) objective: Vec<f64>,
    /// Of the mean over images, in each of the case's sizes.
    pub(crate) gradient: Vec<f64>,
}

impl Reference {
    pub(crate) fn load() -> Self {
        serde_json::from_str(include_str!("../pytorch/reference.json")).unwrap()
    }

    /// `e_0`, `[n, d]`.
    pub(crate) fn starts<B: Backend>(&self, device: &B::Device) -> Tensor<B, 2> {
        let values: Vec<f32> = self.e0.concat().iter().map(|v| *v as f32).collect();
        Tensor::from_data(TensorData::new(values, [self.n, self.d]), device)
    }

    /// The noise, `[K, n, d]`.
    pub(crate) fn noise<B: Backend>(&self, device: &B::Device) -> Tensor<B, 3> {
        let values = self.noise.concat().concat();
        let values: Vec<f32> = values.iter().map(|v| *v as f32).collect();
        Tensor::from_data(
            TensorData::new(values, [self.steps, self.n, self.d]),
            device,
        )
    }
}

impl Case {
    /// As the library takes them.
    pub(crate) fn step_sizes(&self) -> StepSizes {
        let size = |s: &f64| StepSize::from_drift(*s).unwrap();
        let sizes: Vec<StepSize> = self.sizes.iter().map(size).collect();
        if !self.layers.is_empty() {
            let layers = LatentLayers::new(self.layers.clone()).unwrap();
            StepSizes::PerLayer { layers, sizes }
        } else if sizes.len() == 1 {
            StepSizes::Constant(sizes[0])
        } else {
            StepSizes::PerStep(sizes)
        }
    }
}
