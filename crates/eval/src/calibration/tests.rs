//! On a linear-Gaussian generator.

use burn::backend::{Autodiff, Flex};
use shortrun_langevin::{LatentLayers, ShortRun, StepSize};

use super::*;
use crate::linear_gaussian::{Linear, SIGMA, generator};

/// 200 images with 19 chains of `steps` steps of drift `s`; latents in layers of 1 and 2.
fn calibration(steps: usize, s: f64) -> Calibration {
    let inference = Inference {
        chain: ShortRun::new(steps, StepSize::from_drift(s).unwrap()).unwrap(),
        sigma: SIGMA,
        seed: 1,
        layers: LatentLayers::new([1, 2]).unwrap(),
    };
    calibrate::<Flex, Linear<Autodiff<Flex>>>(
        &generator(),
        &inference,
        200,
        19,
        &Default::default(),
    )
    .unwrap()
}

/// Curvatures of the energy are between 1 and 17 here: 400 steps of 0.01 leave exp(-4) of the start
/// where the data say least, and the step inflates variances by 9 % at most. Exact inference has p
/// below 0.05 at one seed of twenty; wrong inference has p below 1e-6 at any.
#[test]
fn a_long_chain_of_small_steps_is_calibrated() {
    let found = calibration(400, 0.01);
    assert_eq!((found.images, found.chains, found.diverged), (200, 19, 0));
    assert!(found.p_value > 0.05, "{found:?}");
    assert_eq!(found.layers[1].histogram.iter().sum::<usize>(), 2 * 200);
    assert_eq!(found.energy.histogram.iter().sum::<usize>(), 200);
}

#[test]
fn steps_that_are_far_too_small_fail_by_what_depends_on_the_image() {
    let found = calibration(5, 1e-5);
    assert!(found.energy.p_value < 1e-6, "{found:?}");
    for layer in &found.layers {
        assert!(
            layer.pull.p_value < 1e-6 && layer.p_value < 1e-5,
            "{found:?}"
        );
        // The prior passes for the posterior in the coordinates alone.
        assert!(layer.coordinates_p_value > 0.01, "{found:?}");
    }
}

#[test]
fn steps_that_are_too_large_end_too_wide() {
    let found = calibration(100, 0.1);
    assert!(found.p_value < 1e-6, "{found:?}");
    assert!(found.layers[0].spread.ratio < 0.95, "{found:?}");
}

#[test]
fn chains_that_explode_are_counted() {
    let found = calibration(100, 10.0);
    assert_eq!(found.diverged, 200 * 19);
    assert!(found.p_value < 1e-6);
}
