//! The chain of a problem, step by step, with its way kept on the device.

use burn::prelude::*;
use shortrun_langevin::{StepSizes, langevin_step};

use crate::{Evaluation, Model, ObjectiveError, Problem};

/// Where a chain went: positions `e_0, …, e_K` and gradients there.
pub(crate) struct Path<B: Backend> {
    /// K + 1 of `[n, d]`.
    pub(crate) positions: Vec<Tensor<B, 2>>,
    /// K + 1 of `[n, d]`.
    pub(crate) gradients: Vec<Tensor<B, 2>>,
    /// `U(e_K)` of each example; infinite if its chain exploded.
    pub(crate) energy: Vec<f64>,
}

impl<B: Backend> Path<B> {
    /// Runs the chain.
    pub(crate) fn run(
        model: &Model<'_, B>,
        problem: &Problem<B>,
        sizes: &StepSizes,
    ) -> Result<Self, ObjectiveError> {
        problem.check(sizes)?;
        let device = problem.start().device();
        let mut positions = vec![problem.start().clone()];
        let mut gradients = Vec::new();
        let mut energies = Vec::new();
        for k in 0..problem.steps() {
            let (energy, gradient) = model.gradient.energy_and_gradient(positions[k].clone());
            let step = sizes.step(k, &device);
            let noise = Some(problem.noise(k));
            let next = langevin_step(positions[k].clone(), gradient.clone(), noise, &step);
            positions.push(next);
            gradients.push(gradient);
            energies.push(energy);
        }
        let (energy, gradient) = model
            .gradient
            .energy_and_gradient(positions[problem.steps()].clone());
        gradients.push(gradient);
        energies.push(energy);

        let along: Vec<Vec<f64>> = energies.into_iter().map(host).collect();
        let faulty = along[0].iter().position(|energy| !energy.is_finite());
        if let Some(example) = faulty {
            let energy = along[0][example];
            return Err(ObjectiveError::Energy { example, energy });
        }
        let energy = (0..problem.examples()).map(|i| {
            let finite = along.iter().all(|energies| energies[i].is_finite());
            if finite {
                along[problem.steps()][i]
            } else {
                f64::INFINITY
            }
        });
        Ok(Self {
            positions,
            gradients,
            energy: energy.collect(),
        })
    }

    /// The objective of this chain with each example's expansion, which is `-inf` where the chain
    /// exploded; determinants, probes and work are the caller's to add.
    pub(crate) fn evaluation(
        &self,
        problem: &Problem<B>,
        expansion: impl Fn(usize) -> f64,
        gradient_evaluations: usize,
    ) -> Evaluation {
        let expansion = self.energy.iter().enumerate().map(|(i, energy)| {
            if energy.is_infinite() {
                f64::NEG_INFINITY
            } else {
                expansion(i)
            }
        });
        Evaluation {
            log_start: problem.log_start().to_vec(),
            expansion: expansion.collect(),
            log_joint: problem.log_joint(&self.energy),
            determinants: None,
            probe_error: None,
            gradient_evaluations,
        }
    }

    /// Whether no chain is left whose objective could be finite.
    pub(crate) fn all_exploded(&self) -> bool {
        self.energy.iter().all(|energy| energy.is_infinite())
    }
}

/// Square roots of the drifts at step k, one for each dimension.
pub(crate) fn roots(sizes: &StepSizes, k: usize, d: usize) -> Vec<f64> {
    let steps = sizes.by_dimension(k, d);
    steps.iter().map(|step| step.drift().sqrt()).collect()
}

/// Values of a tensor in float64, row by row.
pub(crate) fn host<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f64> {
    tensor
        .into_data()
        .convert::<f64>()
        .into_vec()
        .unwrap_or_else(
            // `convert` has just made them so.
            |_| unreachable!("float64 values"),
        )
}

/// A float32 tensor of float64 values.
pub(crate) fn device<B: Backend, const D: usize>(
    values: &[f64],
    shape: [usize; D],
    device: &B::Device,
) -> Tensor<B, D> {
    let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
    Tensor::from_data(burn::tensor::TensorData::new(values, shape), device)
}
