//! Stochastic Lanczos quadrature, against the exact determinants.
#![allow(clippy::unwrap_used)]

mod common;

use burn::backend::Flex;
use common::{LinearGaussian, Reference, TanhNet, assert_close};
use shortrun_langevin::{ByNestedAutodiff, NoiseKey, Purpose, StepSize, StepSizes};
use shortrun_stepsize_vi::{LanczosConfig, MemoryBudget, Model, Objective, Problem};

fn lanczos(steps: usize, probes: usize, seed: u64) -> Objective {
    Objective::Lanczos(LanczosConfig {
        steps,
        probes,
        seed,
    })
}

/// Errors of many independent estimates, in units of the standard error that each reports.
fn scores(
    model: &Model<'_, Flex>,
    problem: &Problem<Flex>,
    sizes: &StepSizes,
    steps: usize,
) -> Vec<f64> {
    let exact = Objective::Exact
        .evaluate(model, problem, sizes)
        .unwrap()
        .mean();
    let estimate = |seed| {
        let found = lanczos(steps, 16, seed)
            .evaluate(model, problem, sizes)
            .unwrap();
        (found.mean() - exact) / found.probe_error.unwrap()
    };
    (0..20).map(estimate).collect()
}

#[test]
fn a_full_recursion_is_unbiased_and_its_standard_error_is_true() {
    let linear = LinearGaussian::example();
    let key = NoiseKey {
        seed: 3,
        iteration: 0,
        purpose: Purpose::StepSize,
    };
    let problem = Problem::drawn(key, [4, 6], 10, &Default::default()).unwrap();
    let posterior = ByNestedAutodiff::new(linear.clone());
    let model = Model::with_curvature(&posterior, MemoryBudget::default());
    let sizes = StepSizes::from(StepSize::from_drift(0.01).unwrap());
    // m = d: what is left is the spread of the probes.
    let scores = scores(&model, &problem, &sizes, 6);
    let n = scores.len() as f64;
    let mean = scores.iter().sum::<f64>() / n;
    let square = scores.iter().map(|score| score * score).sum::<f64>() / n;
    // 20 scores of mean 0 and variance near 1: 4.5 standard errors on either side.
    assert!(mean.abs() < 1.0, "{scores:?}");
    assert!((0.3..2.5).contains(&square), "{scores:?}");
}

#[test]
fn as_many_orthogonal_directions_as_dimensions_leave_no_error() {
    // d = 4, Rademacher probes of the 4 dimensions: estimates of a diagonal Hessian are exact.
    struct Diagonal;
    impl<B: burn::prelude::Backend> shortrun_langevin::Posterior<B> for Diagonal {
        fn energy(&self, latents: burn::Tensor<B, 2>) -> burn::Tensor<B, 1> {
            let device = latents.device();
            let curvature = burn::Tensor::<B, 2>::from_floats([[1.0, 3.0, 7.0, 20.0]], &device);
            (latents.square() * curvature).sum_dim(1).squeeze_dim(1) * 0.5
        }
    }
    let key = NoiseKey {
        seed: 3,
        iteration: 0,
        purpose: Purpose::StepSize,
    };
    let problem = Problem::<Flex>::drawn(key, [2, 4], 5, &Default::default()).unwrap();
    let posterior = ByNestedAutodiff::new(Diagonal);
    let model = Model::with_curvature(&posterior, MemoryBudget::default());
    let sizes = StepSizes::from(StepSize::from_drift(0.02).unwrap());
    let found = lanczos(4, 1, 0).evaluate(&model, &problem, &sizes).unwrap();
    let each: f64 = [1.0, 3.0, 7.0, 20.0]
        .map(|h: f64| (1.0 - 0.02 * h).ln())
        .iter()
        .sum();
    assert_close("Σ log|det|", &found.expansion, &[5.0 * each; 2], 1e-5);
    assert_eq!(found.probe_error, None, "one probe has no spread");
}

#[test]
fn on_a_nonlinear_generator_it_stays_within_its_own_error() {
    let reference = Reference::load();
    let posterior = ByNestedAutodiff::new(TanhNet::new(&reference));
    let model = Model::with_curvature(&posterior, MemoryBudget::default());
    let device = Default::default();
    let problem = Problem::new(reference.starts(&device), reference.noise(&device)).unwrap();
    let sizes = reference.cases["per_layer"].step_sizes();
    let worst = scores(&model, &problem, &sizes, 4)
        .into_iter()
        .fold(0.0, |worst: f64, score| worst.max(score.abs()));
    // The largest of 20 scores with 48 probes each.
    assert!(worst < 4.0, "{worst}");
}
