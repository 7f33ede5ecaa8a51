//! The whole way of a chain in one file, so that anyone can check it elsewhere.

use std::path::Path;

use burn::prelude::*;
use safetensors::tensor::{Dtype, TensorView};
use shortrun_data::Images;
use shortrun_langevin::{ShortRun, StepSize, StepSizes, Trace};
use shortrun_model::{Learnable, Observation};
use shortrun_stepsize_vi::{Evaluation, MemoryBudget, Objective, Problem};

use crate::{
    EvalError, Inference,
    inference::host,
    step_size::{with_densities, with_model},
};

/// Everything a chain on N images did, with K steps in d dimensions.
///
/// Names and shapes in the file: `x` `[N, c, h, w]`, `z0` `[N, d]`, `noise` `[K, N, d]`, `z`
/// `[K+1, N, d]`, `energy` `[K+1, N]`, `gradient0` `[N, d]`, `step_sizes` `[K]` (drift form s;
/// `[K, d]` if each layer has its own) and `sigma` `[1]`; with the objective also `logdet`
/// `[K, N]`, which is `log|det(I - s_k H(e_k))|`, and `objective` `[N]`, both in nats. All are
/// float32 but `step_sizes`, `sigma`, `logdet` and `objective`, which are float64.
#[derive(Clone, Debug, Default)]
pub struct ChainTrace {
    tensors: Vec<(&'static str, Vec<usize>, Vec<f32>)>,
    /// In float64.
    doubles: Vec<(&'static str, Vec<usize>, Vec<f64>)>,
}

/// Traces the chain on the first `count` images; with a memory budget for Hessians, also the exact
/// objective of its step size along that very chain.
///
/// # Errors
/// If there are no images, or the chain or sigma make no sense.
pub fn trace<B: Backend, G: Learnable<B>>(
    generator: &G,
    images: &Images,
    count: usize,
    inference: &Inference,
    objective: Option<MemoryBudget>,
    device: &B::Device,
) -> Result<ChainTrace, EvalError> {
    let inference = Inference {
        chain: inference.chain.clone().with_trace(),
        ..inference.clone()
    };
    let mut parts: [Vec<Tensor<B, 3>>; 5] = Default::default();
    let mut x: Vec<Tensor<B, 4>> = Vec::new();
    let chain = &inference.chain;
    let mut log_determinants = vec![Vec::new(); chain.steps()];
    let mut objectives = Vec::new();
    let mut failed = Ok(());
    inference.run(generator, images, count, device, |observation, run| {
        x.push(observation.images().clone());
        let Some(trace) = run.trace else { return };
        if let (Some(budget), Ok(())) = (objective, &failed) {
            failed = measure(generator, &observation, &trace, chain, budget).map(|found| {
                objectives.extend(found.objective());
                let steps = found.determinants.into_iter().flat_map(|steps| steps.log);
                for (all, some) in log_determinants.iter_mut().zip(steps) {
                    all.extend(some);
                }
            });
        }
        let last = trace.final_energy.unsqueeze_dim::<2>(0);
        let energy = Tensor::cat(vec![run.energy, last], 0);
        let [noise, z, energies, gradient0, z0] = &mut parts;
        noise.push(trace.noise);
        z0.push(trace.positions.clone().slice_dim(0, 0..1));
        z.push(trace.positions);
        energies.push(energy.unsqueeze_dim(2));
        gradient0.push(trace.gradient0.unsqueeze_dim(0));
    })?;
    failed?;
    let [noise, z, energy, gradient0, z0] = parts.map(|parts| Tensor::cat(parts, 1));
    let mut tensors = Vec::new();
    let x = Tensor::cat(x, 0);
    tensors.push(("x", x.dims().to_vec(), host(x)));
    let [_, n, d] = z.dims();
    let k = noise.dims()[0];
    tensors.push(("z0", vec![n, d], host(z0)));
    tensors.push(("noise", vec![k, n, d], host(noise)));
    tensors.push(("z", vec![k + 1, n, d], host(z)));
    tensors.push(("energy", vec![k + 1, n], host(energy)));
    tensors.push(("gradient0", vec![n, d], host(gradient0)));
    let (shape, drifts) = drifts(&inference.chain, d);
    let mut doubles = vec![
        ("step_sizes", shape, drifts),
        ("sigma", vec![1], vec![inference.sigma]),
    ];
    if objective.is_some() {
        doubles.push(("logdet", vec![k, n], log_determinants.concat()));
        doubles.push(("objective", vec![n], objectives));
    }
    Ok(ChainTrace { tensors, doubles })
}

/// The exact objective along a traced chain.
fn measure<B: Backend, G: Learnable<B>>(
    generator: &G,
    observation: &Observation<B>,
    trace: &Trace<B>,
    chain: &ShortRun,
    budget: MemoryBudget,
) -> Result<Evaluation, EvalError> {
    let start = trace.positions.clone().slice_dim(0, 0..1).squeeze_dim(0);
    let drawn = Problem::new(start, trace.noise.clone())?;
    let problem = with_densities(generator, observation, drawn)?;
    with_model(generator, observation, budget, |model| {
        Objective::Exact.evaluate(model, &problem, chain.step_sizes())
    })
}

/// The drifts of a chain, with their shape.
fn drifts(chain: &ShortRun, d: usize) -> (Vec<usize>, Vec<f64>) {
    let (steps, sizes) = (chain.steps(), chain.step_sizes());
    let width = match sizes {
        StepSizes::Constant(_) | StepSizes::PerStep(_) => None,
        StepSizes::PerLayer { .. } => Some(d),
    };
    let rows = (0..steps).flat_map(|k| sizes.by_dimension(k, width.unwrap_or(1)));
    let shape = std::iter::once(steps).chain(width).collect();
    (shape, rows.map(StepSize::drift).collect())
}

impl ChainTrace {
    /// A float32 tensor's shape and values, by its name in the file.
    pub fn tensor(&self, name: &str) -> Option<(&[usize], &[f32])> {
        let found = self.tensors.iter().find(|(known, ..)| *known == name)?;
        Some((&found.1, &found.2))
    }

    /// Writes the trace as a safetensors file.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), EvalError> {
        let path = path.as_ref();
        let fail = |reason: String| EvalError::Write {
            path: path.to_owned(),
            reason,
        };
        let mut bytes: Vec<(&str, Vec<usize>, Dtype, Vec<u8>)> = Vec::new();
        for (name, shape, values) in &self.tensors {
            let values = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            bytes.push((name, shape.clone(), Dtype::F32, values));
        }
        for (name, shape, values) in &self.doubles {
            let values = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            bytes.push((name, shape.clone(), Dtype::F64, values));
        }
        let views = bytes
            .iter()
            .map(|(name, shape, dtype, bytes)| {
                TensorView::new(*dtype, shape.clone(), bytes).map(|view| (*name, view))
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| fail(e.to_string()))?;
        safetensors::serialize_to_file(views, None, path).map_err(|e| fail(e.to_string()))
    }
}
