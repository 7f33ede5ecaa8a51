//! Searches find the closed-form optimum of a linear generator.
#![allow(clippy::unwrap_used)]

mod common;

use burn::backend::Flex;
use common::{LinearGaussian, best, constant, cubature};
use shortrun_langevin::{ByNestedAutodiff, LatentLayers, StepSize, StepSizes};
use shortrun_stepsize_vi::{
    Adam, Arrangement, Found, GradientSearch, GridSearch, MemoryBudget, Model, Objective,
    ObjectiveError, Problem, RefineSearch, Search,
};

fn drift(s: f64) -> StepSize {
    StepSize::from_drift(s).unwrap()
}

fn search(
    search: &Search,
    objective: Objective,
    start: StepSizes,
) -> Result<Found, ObjectiveError> {
    let linear = LinearGaussian::example();
    let posterior = ByNestedAutodiff::new(linear.clone());
    let model = Model::with_curvature(&posterior, MemoryBudget::default());
    // Averages over these chains are exact expectations, so the optimum has no sampling error.
    let (starts, noise) = cubature(6, 10).tensors::<Flex>(&Default::default());
    search.run(&model, &Problem::new(starts, noise)?, objective, &start)
}

fn refine() -> Search {
    Search::Refine(RefineSearch {
        smallest: 0.02,
        largest: 0.25,
        ..RefineSearch::default()
    })
}

fn gradient() -> Search {
    Search::Gradient(GradientSearch {
        tolerance: 1e-3,
        iterations: 200,
        settled: 1e-4,
        adam: Adam::default(),
    })
}

/// The closed-form minimiser of E[F] over a constant s.
fn optimum() -> f64 {
    let linear = LinearGaussian::example();
    let bound = |s: f64| linear.expected_objective(&constant(10, 6, s));
    best(bound, 1e-4..0.999 * linear.largest_size())
}

fn only(found: &Found) -> f64 {
    found.step_sizes.sizes()[0].drift()
}

#[test]
fn refine_gradient_and_a_fine_grid_find_the_closed_form_minimiser() {
    let fine = Search::Grid(GridSearch {
        etas: (0..60).map(|i| 0.1 * 1.01f64.powi(i)).collect(),
    });
    for method in [fine, refine(), gradient()] {
        let found = search(&method, Objective::Exact, drift(0.004).into()).unwrap();
        let off = only(&found) / optimum() - 1.0;
        assert!(off.abs() < 0.02, "{}: off by {off}", method.name());
        assert!(found.converged, "{}", method.name());
        assert!(
            found
                .curve
                .iter()
                .any(|point| point.step_sizes == found.step_sizes)
        );
    }
}

#[test]
fn without_the_entropy_term_the_search_goes_wrong() {
    // The biased control: the same curve with the determinants left out.
    let found = search(&refine(), Objective::Exact, drift(0.004).into()).unwrap();
    let biased = found
        .curve
        .iter()
        .min_by(|a, b| (-a.parts.log_joint).total_cmp(&-b.parts.log_joint))
        .unwrap();
    let off = biased.step_sizes.sizes()[0].drift() / optimum() - 1.0;
    assert!(off.abs() > 0.2, "off by {off} only");
}

#[test]
fn the_augmented_bound_is_minimised_by_gradient_as_by_refinement() {
    let linear = LinearGaussian::example();
    let bound = |s: f64| linear.expected_augmented(&constant(10, 6, s));
    let closed = best(bound, 1e-4..1.99 * linear.largest_size());
    let range = Search::Refine(RefineSearch {
        smallest: 0.05,
        largest: 0.36,
        ..RefineSearch::default()
    });
    for method in [range, gradient()] {
        let found = search(&method, Objective::Augmented, drift(0.02).into()).unwrap();
        let off = only(&found) / closed - 1.0;
        assert!(off.abs() < 0.02, "{}: off by {off}", method.name());
    }
}

#[test]
fn single_sizes_beat_the_best_common_one() {
    let layers = LatentLayers::new([2, 4]).unwrap();
    let common = search(&refine(), Objective::Exact, drift(0.004).into()).unwrap();
    for arrangement in [Arrangement::Step, Arrangement::Layer] {
        let start = arrangement.of(&common.step_sizes, 10, &layers);
        for method in [refine(), gradient()] {
            let found = search(&method, Objective::Exact, start.clone()).unwrap();
            let gain = common.evaluation.mean() - found.evaluation.mean();
            assert!(gain > 1e-3, "{arrangement:?}, {}: {gain}", method.name());
        }
    }
}

#[test]
fn steps_that_explode_do_not_stop_a_search() {
    // The first is within reach of halving, the second is the largest of a grid.
    let found = search(&gradient(), Objective::Exact, drift(1e6).into()).unwrap();
    assert!(found.evaluation.mean().is_finite());
    let grid = Search::Grid(GridSearch {
        etas: vec![0.1, 1e9],
    });
    let found = search(&grid, Objective::Exact, drift(0.01).into()).unwrap();
    assert_eq!(found.curve[1].objective, f64::INFINITY);
    assert!(!found.converged, "the best is at the edge");

    let hopeless = Search::Grid(GridSearch {
        etas: vec![1e8, 1e9],
    });
    let error = search(&hopeless, Objective::Exact, drift(0.01).into()).unwrap_err();
    assert_eq!(error, ObjectiveError::AllExploded { smallest_eta: 1e8 });
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let refuse = |method: Search, setting: &str| {
        let error = search(&method, Objective::Exact, drift(0.01).into()).unwrap_err();
        assert!(error.to_string().contains(setting), "{error}");
    };
    refuse(Search::Grid(GridSearch { etas: vec![] }), "grid.etas");
    refuse(Search::Grid(GridSearch { etas: vec![-0.1] }), "grid.etas");
    let range = RefineSearch {
        smallest: 0.2,
        largest: 0.1,
        ..RefineSearch::default()
    };
    refuse(Search::Refine(range), "refine.largest");
    let still = GradientSearch {
        iterations: 0,
        ..GradientSearch::default()
    };
    refuse(Search::Gradient(still), "gradient.iterations");
    let lanczos = Objective::Lanczos(Default::default());
    let error = search(&gradient(), lanczos, drift(0.01).into()).unwrap_err();
    assert_eq!(error, ObjectiveError::NoGradient);
}
