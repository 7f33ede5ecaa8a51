//! GLO's parts against NumPy and closed forms.
#![allow(clippy::unwrap_used)]

mod common;

use burn::{backend::Flex, prelude::*, tensor::TensorData};
use common::*;
use shortrun_baselines::glo::{GloConfig, LatentGaussian, Latents, Pyramid, to_ball};

/// `reference/reference.py` made the numbers.
#[test]
fn the_laplacian_distance_matches_numpy() {
    let device = Default::default();
    let case: serde_json::Value =
        serde_json::from_str(include_str!("reference/laplacian.json")).unwrap();
    let images = |name: &str| {
        let values: Vec<f32> = serde_json::from_value(case[name].clone()).unwrap();
        Tensor::<Flex, 4>::from_data(TensorData::new(values, [1, 3, 14, 14]), &device)
    };
    let (a, b) = (images("a"), images("b"));
    let pyramid = Pyramid::new(14, 14, 2, &device);
    let found = host(pyramid.distance(a.clone(), b.clone()))[0];
    let expected = case["loss"].as_f64().unwrap();
    assert!(
        (found / expected - 1.0).abs() < 1e-5,
        "{found}, NumPy {expected}"
    );
    assert_eq!(host(pyramid.distance(a.clone(), a)), [0.0]);
}

#[test]
fn a_pyramid_gives_the_image_back_and_keeps_even_images_out_of_its_bands() {
    let device = Default::default();
    // 7, 4, 2, 1: no more than three bands.
    let pyramid = Pyramid::<Flex>::new(7, 9, 8, &device);
    let sizes =
        |image| -> Vec<[usize; 4]> { pyramid.bands(image).iter().map(Tensor::dims).collect() };
    let shapes = [[2, 1, 7, 9], [2, 1, 4, 5], [2, 1, 2, 3], [2, 1, 1, 2]];
    assert_eq!(sizes(Tensor::zeros([2, 1, 7, 9], &device)), shapes);
    let even = pyramid.bands(Tensor::ones([2, 1, 7, 9], &device) * 0.7);
    let (smallest, bands) = even.split_last().unwrap();
    assert!(
        bands
            .iter()
            .all(|band| host(band.clone()).iter().all(|v| v.abs() < 1e-6))
    );
    assert!(
        host(smallest.clone())
            .iter()
            .all(|v| (v - 0.7).abs() < 1e-6)
    );
}

#[test]
fn latents_start_on_the_sphere_and_stay_in_the_ball() {
    let device = Default::default();
    let norms = |latents: &Latents| -> Vec<f64> {
        let rows = latents.values().chunks(5);
        rows.map(|row| row.iter().map(|v| f64::from(v * v)).sum::<f64>().sqrt())
            .collect()
    };
    let mut latents = Latents::drawn(1, 20, 5);
    assert!(norms(&latents).iter().all(|norm| (norm - 1.0).abs() < 1e-6));
    let outside = Tensor::<Flex, 2>::from_floats([[3.0, 0.0, 4.0, 0.0, 0.0]], &device);
    latents.set(&[7], outside);
    let found = host(latents.of::<Flex>(&[7], &device));
    let expected = [0.6, 0.0, 0.8, 0.0, 0.0];
    assert!(
        found
            .iter()
            .zip(expected)
            .all(|(a, b)| (a - b).abs() < 1e-6)
    );
    // What is inside is not touched, and the ball has no more room than for 1.
    let inside = normal::<Flex, 2>([50, 5], 1) * 0.1;
    assert_eq!(host(to_ball(inside.clone())), host(inside));
    latents.set(&[0, 1, 2], normal::<Flex, 2>([3, 5], 2) * 10.0);
    assert!(norms(&latents).iter().all(|norm| *norm < 1.0 + 1e-6));
}

#[test]
fn samples_have_the_mean_and_covariance_of_the_latents() {
    let device = Default::default();
    // Points of an ellipse in the first two dimensions, with nothing in the third: of (0.3 cos t,
    // 0.3 cos t + 0.4 sin t) the covariance is half of [[0.09, 0.09], [0.09, 0.25]].
    const COUNT: usize = 1000;
    let points: Vec<f32> = (0..COUNT)
        .flat_map(|i| {
            let t = i as f32 / COUNT as f32 * std::f32::consts::TAU;
            let x = 0.3 * t.cos();
            [0.2 + x, x + 0.4 * t.sin(), -0.1]
        })
        .collect();
    let mut latents = Latents::drawn(1, COUNT, 3);
    let places: Vec<usize> = (0..COUNT).collect();
    latents.set(
        &places,
        Tensor::<Flex, 2>::from_data(TensorData::new(points, [COUNT, 3]), &device),
    );
    let gaussian = LatentGaussian::fit(&latents).unwrap();
    // The images of the unit vectors and of 0 give mean and factor themselves.
    let noise = Tensor::cat(
        vec![Tensor::zeros([1, 3], &device), Tensor::eye(3, &device)],
        0,
    );
    let drawn = host(gaussian.draw::<Flex>(noise));
    let (mean, rows) = drawn.split_at(3);
    let covariance = |i: usize, j: usize| -> f64 {
        let factors = rows
            .chunks(3)
            .map(|row| (row[i] - mean[i]) * (row[j] - mean[j]));
        factors.sum()
    };
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-3 * 0.25, "{a}, {b}");
    near(mean[0], 0.2);
    near(mean[1], 0.0);
    near(mean[2], -0.1);
    near(covariance(0, 0), 0.045);
    near(covariance(0, 1), 0.045);
    near(covariance(1, 1), 0.125);
    near(covariance(2, 2), 0.0);
    near(covariance(0, 2), 0.0);
    assert!(LatentGaussian::fit(&Latents::drawn(1, 1, 3)).is_err());
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let refuse = |text: &str, expected: &str| {
        let config: GloConfig = serde_json::from_str(text).unwrap();
        let error = config.check().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    refuse(r#"{"latent_rate": 0.0}"#, "method.latent_rate must be");
    refuse(r#"{"search": {"steps": 0}}"#, "method.search.steps must be");
    refuse(
        r#"{"search": {"rate": -1.0}}"#,
        "method.search.rate must be",
    );
    assert!(serde_json::from_str::<GloConfig>(r#"{"loss": "laplacian", "depth": 1}"#).is_err());
}
