//! The exact objective: against float64 PyTorch, the paper's own route, differences, and the closed
//! form of a linear generator.
#![allow(clippy::unwrap_used)]

mod common;

use burn::backend::Flex;
use common::{
    LinearGaussian, Reference, TanhNet, assert_close, by_step_sizes, constant, cubature, gradient,
};
use shortrun_langevin::{ByNestedAutodiff, LatentLayers, StepSize, StepSizes};
use shortrun_stepsize_vi::{
    MemoryBudget, Model, Objective, ObjectiveError, Problem, log_determinant_by_jacobian,
};

fn drift(s: f64) -> StepSize {
    StepSize::from_drift(s).unwrap()
}

fn problem(reference: &Reference) -> Problem<Flex> {
    let device = Default::default();
    let normaliser =
        0.5 * reference.observed as f64 * (std::f64::consts::TAU * reference.sigma.powi(2)).ln();
    let problem = Problem::new(reference.starts(&device), reference.noise(&device)).unwrap();
    let examples = problem.examples();
    problem
        .with_log_normaliser(vec![normaliser; examples])
        .unwrap()
}

/// Chains whose averages are exact expectations for a linear generator.
fn expected(linear: &LinearGaussian) -> Problem<Flex> {
    let (starts, noise) = cubature(6, 10).tensors::<Flex>(&Default::default());
    let problem = Problem::new(starts, noise).unwrap();
    let examples = problem.examples();
    let normaliser = vec![linear.constant(); examples];
    problem.with_log_normaliser(normaliser).unwrap()
}

#[test]
fn value_parts_and_gradient_match_pytorch() {
    let reference = Reference::load();
    let posterior = ByNestedAutodiff::new(TanhNet::new(&reference));
    let model = Model::with_curvature(&posterior, MemoryBudget::default());
    let problem = problem(&reference);
    for (name, case) in &reference.cases {
        let slope = Objective::Exact
            .slope(&model, &problem, &case.step_sizes())
            .unwrap();
        let what = |part: &str| format!("{name}: {part}");
        let exact = &case.exact;
        let found = slope.evaluation.objective();
        assert_close(&what("objective"), &found, &exact.objective, 1e-5);
        assert_close(&what("gradient"), &slope.by_drift, &exact.gradient, 1e-4);
        let parts = slope.evaluation.determinants.clone().unwrap();
        let smallest = &exact.smallest_eigenvalue.concat();
        assert_close(
            &what("log|det|"),
            &parts.log.concat(),
            &exact.log_det.concat(),
            1e-5,
        );
        assert_close(
            &what("eigenvalue"),
            &parts.smallest_eigenvalue.concat(),
            smallest,
            1e-5,
        );
        let value = Objective::Exact
            .evaluate(&model, &problem, &case.step_sizes())
            .unwrap();
        assert_eq!(
            value.objective(),
            found,
            "value and gradient share their value"
        );
    }
}

#[test]
fn the_eigenvalues_of_the_whole_jacobian_give_the_same_determinant() {
    let reference = Reference::load();
    let net = TanhNet::new(&reference);
    let posterior = ByNestedAutodiff::new(net.clone());
    let model = Model::with_curvature(&posterior, MemoryBudget::default());
    let problem = problem(&reference);
    for case in reference.cases.values() {
        let sizes = case.step_sizes();
        let whole = log_determinant_by_jacobian(&net, &problem, &sizes).unwrap();
        let factored = Objective::Exact.evaluate(&model, &problem, &sizes).unwrap();
        assert_close("log|det|", &factored.expansion, &whole, 1e-4);
    }
}

#[test]
fn the_gradient_matches_differences_with_common_random_numbers() {
    let reference = Reference::load();
    let posterior = ByNestedAutodiff::new(TanhNet::new(&reference));
    let model = Model::with_curvature(&posterior, MemoryBudget::default());
    let problem = problem(&reference);
    let sizes = reference.cases["per_step"].step_sizes();
    for objective in [Objective::Exact, Objective::Augmented] {
        let slope = objective.slope(&model, &problem, &sizes).unwrap();
        let by_log = slope.by_log_drift(&sizes);
        for at in 0..sizes.sizes().len() {
            let value = |log_change: f64| {
                let mut moved = sizes.sizes().to_vec();
                moved[at] = moved[at].scaled((0.5 * log_change).exp());
                let moved = sizes.with_sizes(moved);
                objective.evaluate(&model, &problem, &moved).unwrap().mean()
            };
            let step = 0.02;
            let near = (value(step) - value(-step)) / (2.0 * step);
            let far = (value(2.0 * step) - value(-2.0 * step)) / (4.0 * step);
            // Richardson: the error falls with the fourth power of the step.
            let difference = (4.0 * near - far) / 3.0;
            assert_close(objective.name(), &[by_log[at]], &[difference], 1e-3);
        }
    }
}

#[test]
fn expectations_on_a_linear_generator_are_closed_form() {
    let linear = LinearGaussian::example();
    let posterior = ByNestedAutodiff::new(linear.clone());
    let model = Model::with_curvature(&posterior, MemoryBudget::default());
    let problem = expected(&linear);
    let layered = StepSizes::PerLayer {
        layers: LatentLayers::new([2, 4]).unwrap(),
        sizes: vec![drift(0.015), drift(0.006)],
    };
    let rising = (0..10)
        .map(|k| drift(0.002 + 0.001 * f64::from(k)))
        .collect();
    for sizes in [drift(0.01).into(), StepSizes::PerStep(rising), layered] {
        let slope = Objective::Exact.slope(&model, &problem, &sizes).unwrap();
        let closed = |drifts: &[f64]| {
            let steps = drifts.iter().map(|s| drift(*s)).collect();
            linear.expected_objective(&by_step_sizes(10, 6, &sizes.with_sizes(steps)))
        };
        let drifts: Vec<f64> = sizes.sizes().iter().map(|step| step.drift()).collect();
        assert_close("E[F]", &[slope.evaluation.mean()], &[closed(&drifts)], 1e-5);
        assert_close(
            "dE[F]/ds",
            &slope.by_drift,
            &gradient(closed, &drifts),
            1e-4,
        );
    }
}

#[test]
fn the_bound_exceeds_the_divergence_by_the_mutual_information() {
    let linear = LinearGaussian::example();
    let posterior = ByNestedAutodiff::new(linear.clone());
    let model = Model::with_curvature(&posterior, MemoryBudget::default());
    for s in [0.003, 0.01, 0.02] {
        let sizes = drift(s).into();
        let found = Objective::Exact
            .evaluate(&model, &expected(&linear), &sizes)
            .unwrap();
        let chain = constant(10, 6, s);
        let gap = found.mean() - (linear.kl(&chain) - linear.log_evidence());
        assert_close("gap", &[gap], &[linear.mutual_information(&chain)], 1e-4);
    }
}

#[test]
fn a_chain_that_explodes_is_infinitely_bad_and_never_nan() {
    let linear = LinearGaussian::example();
    let posterior = ByNestedAutodiff::new(linear.clone());
    let model = Model::with_curvature(&posterior, MemoryBudget::default());
    let sizes = drift(1e9).into();
    let (device, lanczos) = (Default::default(), Objective::Lanczos(Default::default()));
    let (starts, noise) = cubature(6, 10).tensors::<Flex>(&device);
    let problem = Problem::new(starts, noise).unwrap();
    for objective in [Objective::Exact, lanczos, Objective::Augmented] {
        let found = objective.evaluate(&model, &problem, &sizes).unwrap();
        assert_eq!(found.mean(), f64::INFINITY, "{}", objective.name());
    }
    for objective in [Objective::Exact, Objective::Augmented] {
        let slope = objective.slope(&model, &problem, &sizes).unwrap();
        assert_eq!(slope.evaluation.mean(), f64::INFINITY);
        assert!(slope.by_drift[0].is_nan(), "{}", objective.name());
    }
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let linear = LinearGaussian::example();
    let posterior = ByNestedAutodiff::new(linear.clone()).with_bytes_per_row(16 << 20);
    let problem = expected(&linear);
    let sizes = StepSizes::from(drift(0.01));
    let refused = |model: &Model<'_, Flex>, objective: Objective, sizes: &StepSizes| {
        let error = objective.evaluate(model, &problem, sizes).unwrap_err();
        (error.to_string(), error)
    };

    let small = Model::with_curvature(&posterior, MemoryBudget::mib(64));
    let (text, error) = refused(&small, Objective::Exact, &sizes);
    assert!(
        matches!(
            error,
            ObjectiveError::Memory {
                examples_that_fit: 3,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(
        text.contains("lanczos") && text.contains("augmented"),
        "{text}"
    );

    let model = Model::with_curvature(&posterior, MemoryBudget::mib(8192));
    let (_, error) = refused(&model, Objective::Exact, &drift(0.0).into());
    assert_eq!(error, ObjectiveError::ZeroStep);
    let (text, _) = refused(
        &model,
        Objective::Exact,
        &StepSizes::PerStep(vec![drift(0.1); 3]),
    );
    assert!(
        text.contains("10 Langevin steps but 3 step sizes"),
        "{text}"
    );

    let gradient_only = Model::with_gradient(&posterior);
    let (text, _) = refused(&gradient_only, Objective::Exact, &sizes);
    assert!(text.contains("Generator::curvature"), "{text}");
    assert!(
        Objective::Augmented
            .evaluate(&gradient_only, &problem, &sizes)
            .is_ok()
    );

    let empty = Problem::<Flex>::drawn(
        shortrun_langevin::NoiseKey {
            seed: 1,
            iteration: 0,
            purpose: shortrun_langevin::Purpose::StepSize,
        },
        [2, 3],
        0,
        &Default::default(),
    );
    assert!(empty.unwrap_err().to_string().contains("at least one"));
}
