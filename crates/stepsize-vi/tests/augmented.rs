//! The augmented bound, against float64 PyTorch and the closed form of a linear generator.
#![allow(clippy::unwrap_used)]

mod common;

use burn::backend::Flex;
use common::{
    LinearGaussian, Reference, TanhNet, assert_close, by_step_sizes, constant, cubature, gradient,
};
use shortrun_langevin::{ByNestedAutodiff, StepSize, StepSizes};
use shortrun_stepsize_vi::{MemoryBudget, Model, Objective, Problem};

#[test]
fn value_and_gradient_match_pytorch() {
    let reference = Reference::load();
    let posterior = ByNestedAutodiff::new(TanhNet::new(&reference));
    let model = Model::with_curvature(&posterior, MemoryBudget::default());
    let device = Default::default();
    let problem = Problem::<Flex>::new(reference.starts(&device), reference.noise(&device));
    let normaliser =
        0.5 * reference.observed as f64 * (std::f64::consts::TAU * reference.sigma.powi(2)).ln();
    let problem = problem.unwrap();
    let examples = problem.examples();
    let problem = problem
        .with_log_normaliser(vec![normaliser; examples])
        .unwrap();
    for (name, case) in &reference.cases {
        let sizes = case.step_sizes();
        let slope = Objective::Augmented
            .slope(&model, &problem, &sizes)
            .unwrap();
        let found = slope.evaluation.objective();
        assert_close(name, &found, &case.augmented.objective, 1e-5);
        assert_close(name, &slope.by_drift, &case.augmented.gradient, 1e-4);
    }
}

#[test]
fn on_a_linear_generator_it_is_closed_form_and_above_the_divergence() {
    let linear = LinearGaussian::example();
    let posterior = ByNestedAutodiff::new(linear.clone());
    let model = Model::with_curvature(&posterior, MemoryBudget::default());
    let (starts, noise) = cubature(6, 10).tensors::<Flex>(&Default::default());
    let problem = Problem::new(starts, noise).unwrap();
    let examples = problem.examples();
    let problem = problem
        .with_log_normaliser(vec![linear.constant(); examples])
        .unwrap();
    for s in [0.003, 0.01, 0.03] {
        let sizes = StepSizes::from(StepSize::from_drift(s).unwrap());
        let slope = Objective::Augmented
            .slope(&model, &problem, &sizes)
            .unwrap();
        let closed = |drifts: &[f64]| {
            let step = StepSize::from_drift(drifts[0]).unwrap();
            linear.expected_augmented(&by_step_sizes(10, 6, &step.into()))
        };
        let mean = slope.evaluation.mean();
        assert_close("value", &[mean], &[closed(&[s])], 1e-5);
        assert_close("gradient", &slope.by_drift, &gradient(closed, &[s]), 1e-4);
        assert!(mean > linear.kl(&constant(10, 6, s)) - linear.log_evidence());
    }
}
