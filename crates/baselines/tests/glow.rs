//! Glow: its inverse, its determinants against the Jacobian, its density, and float64 PyTorch.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    f64::consts::{E, TAU},
    path::{Path, PathBuf},
};

use burn::{prelude::*, tensor::TensorData};
use burn_store::{ModuleSnapshot, PyTorchToBurnAdapter, SafetensorsStore};
use common::*;
use nalgebra::DMatrix;
use safetensors::SafeTensors;
use shortrun_baselines::glow::{
    Glow, GlowConfig, Level, bits_per_dimension, centred, dequantise, to_images,
};
use shortrun_langevin::Purpose;
use shortrun_model::Init;

fn config(levels: usize, steps: usize, width: usize) -> GlowConfig {
    GlowConfig {
        levels,
        steps,
        width,
        ..GlowConfig::default()
    }
}

/// A flow whose every weight has been moved from where it begins.
fn flow(config: GlowConfig, image: [usize; 3], deviation: f64) -> Glow<AB> {
    let glow = config.init(image, 3, &Default::default()).unwrap();
    let [c, h, w] = image;
    shaken(glow, deviation).initialised(normal([4, c, h, w], 9) * 0.3)
}

#[test]
fn the_inverse_is_exact_at_every_size() {
    let sizes = [
        ([1, 28, 28], 2),
        ([3, 32, 32], 3),
        ([1, 64, 64], 3),
        ([3, 4, 8], 2),
    ];
    for (image @ [c, h, w], levels) in sizes {
        let glow = flow(config(3, 4, 8), image, 0.02);
        assert_eq!(glow.levels.len(), levels);
        let y = normal([2, c, h, w], 1) * 0.3;
        let (noise, _) = glow.encode(y.clone());
        let back = difference(glow.decode(noise), y);
        let noise = normal([2, c * h * w], 2) * 0.7;
        let (again, _) = glow.encode(glow.decode(noise.clone()));
        let forth = difference(again, noise);
        assert!(back < 1e-4 && forth < 1e-4, "{image:?}: {back}, {forth}");
    }
}

/// `log |det|` of the Jacobian of a map at x `[1, c, h, w]`, one backward pass for each output.
fn log_det_of(map: impl Fn(Tensor<AB, 4>) -> Tensor<AB, 2>, x: &Tensor<AB, 4>) -> f64 {
    let size = x.dims()[1..].iter().product();
    let rows = (0..size).flat_map(|row| {
        let leaf = x.clone().detach().require_grad();
        let gradients = map(leaf.clone()).narrow(1, row, 1).sum().backward();
        host(leaf.grad(&gradients).unwrap())
    });
    let rows: Vec<f64> = rows.collect();
    let determinant = DMatrix::from_row_slice(size, size, &rows)
        .lu()
        .determinant();
    determinant.abs().ln()
}

fn flat(x: Tensor<AB, 4>) -> Tensor<AB, 2> {
    x.flatten(1, 3)
}

#[test]
fn log_determinants_are_those_of_the_jacobian() {
    let glow = flow(config(2, 2, 6), [1, 4, 4], 0.2);
    let check = |what: &str, said: Tensor<AB, 1>, expected: f64| {
        let said = host(said)[0];
        assert!(
            (said - expected).abs() < 2e-3,
            "{what}: {said}, by Jacobian {expected}"
        );
        assert!(
            expected.abs() > 0.05,
            "{what} is too near to 0 to tell: {expected}"
        );
    };
    let x = normal([1, 4, 2, 2], 5);
    let (level, step) = (&glow.levels[0], &glow.levels[0].steps[1]);
    let actnorm = log_det_of(|x| flat(step.actnorm.forward(x).0), &x);
    check("actnorm", step.actnorm.forward(x.clone()).1, actnorm);
    let conv = log_det_of(|x| flat(step.conv.forward(x).0), &x);
    check("1x1 convolution", step.conv.forward(x.clone()).1, conv);
    assert!(log_det_of(|x| flat(step.coupling.forward(x)), &x).abs() < 1e-3);
    let split = level.split.as_ref().unwrap();
    let by_jacobian = log_det_of(
        |x| {
            let (kept, noise, _) = split.forward(x);
            flat(Tensor::cat(vec![kept, noise], 1))
        },
        &x,
    );
    check("split", split.forward(x).2, by_jacobian);

    for channels in [1, 3] {
        let glow = flow(config(2, 2, 6), [channels, 4, 4], 0.2);
        let y = normal([1, channels, 4, 4], 6) * 0.3;
        let whole = log_det_of(|y| glow.encode(y).0, &y);
        check("the whole", glow.encode(y).1, whole);
    }
}

/// Steps and a split on images of one pixel and two channels: a density in the plane.
#[test]
fn a_density_in_two_dimensions_integrates_to_one() {
    const SIDE: usize = 500;
    const REACH: f64 = 16.0;
    let device = Default::default();
    let init = &mut Init::new(1, Purpose::Weights, &device);
    let level = Level::<AB>::new(2, true, &config(1, 4, 8), 2, &mut 0, init);
    let level = shaken(level, 0.25);
    let at = |i: usize| ((i as f64 + 0.5) / SIDE as f64 * 2.0 - 1.0) * REACH;
    let points = (0..SIDE * SIDE).flat_map(|k| [at(k / SIDE) as f32, at(k % SIDE) as f32]);
    let points = TensorData::new(points.collect::<Vec<_>>(), [SIDE * SIDE, 2, 1, 1]);
    let through = level.forward(Tensor::from_data(points, &device));
    let noise = Tensor::cat(vec![through.kept.unwrap(), through.noise], 1);
    let squares = host(flat(noise).square().sum_dim(1));
    let logs = squares.into_iter().zip(host(through.log_det));
    let densities = logs.map(|(square, log_det)| (log_det - square / 2.0).exp() / TAU);
    let density: Vec<f64> = densities.collect();
    let cell = (2.0 * REACH / SIDE as f64).powi(2);
    let mass: f64 = density.iter().sum::<f64>() * cell;
    assert!((mass - 1.0).abs() < 2e-3, "{mass}");
    // Not just a Gaussian: its entropy is well below that of one with its covariance.
    let moment = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
        let terms = density.iter().enumerate();
        terms
            .map(|(k, p)| p * f(at(k / SIDE), at(k % SIDE)) * cell)
            .sum()
    };
    let (mx, my) = (moment(&|x, _| x), moment(&|_, y| y));
    let (vx, vy) = (
        moment(&|x, _| (x - mx).powi(2)),
        moment(&|_, y| (y - my).powi(2)),
    );
    let vxy = moment(&|x, y| (x - mx) * (y - my));
    let gaussian = 0.5 * ((TAU * E).powi(2) * (vx * vy - vxy * vxy)).ln();
    let entropy = -density
        .iter()
        .filter(|p| **p > 0.0)
        .map(|p| p * p.ln() * cell)
        .sum::<f64>();
    assert!(gaussian - entropy > 0.02, "{entropy} against {gaussian}");
}

#[test]
fn bits_per_dimension_of_a_gaussian_are_its_entropy() {
    let deviation = 0.05;
    let glow: Glow<AB> = config(2, 2, 4)
        .init([1, 8, 8], 1, &Default::default())
        .unwrap();
    let draw = |seed| normal::<AB, 4>([512, 1, 8, 8], seed) * deviation;
    // With no coupling yet, an initialised flow is the Gaussian of its batch.
    let glow = glow.initialised(draw(1));
    let log_density = host(glow.log_density(draw(2)).mean())[0];
    let entropy = 0.5 * (TAU * E * deviation * deviation).log2();
    // 32,768 values whose bits deviate by 1.02 each: 0.006.
    let bits = bits_per_dimension(log_density, 64);
    assert!(
        (bits - (entropy + 8.0)).abs() < 0.025,
        "{bits}, {}",
        entropy + 8.0
    );
    // A density of 1 on [-1/2, 1/2) is uniform over bytes.
    assert_eq!(bits_per_dimension(0.0, 64), 8.0);
}

#[test]
fn bytes_survive_dequantisation() {
    let bytes: Vec<f32> = (0..256).map(|b| b as f32 / 127.5 - 1.0).collect();
    let images =
        Tensor::<AB, 4>::from_data(TensorData::new(bytes, [1, 1, 16, 16]), &Default::default());
    assert!(difference(to_images(centred(images.clone())), images.clone()) < 1e-6);
    let lowest = host(dequantise(images.clone(), images.zeros_like()));
    let expected = (0..256).map(|b| f64::from(b) / 256.0 - 0.5);
    assert!(
        lowest
            .iter()
            .zip(expected)
            .all(|(a, b)| (a - b).abs() < 1e-7)
    );
}

#[test]
fn settings_and_sizes_that_make_no_sense_are_refused() {
    let device = Default::default();
    let refuse = |config: GlowConfig, image, expected: &str| {
        let error = config
            .init::<AB>(image, 1, &device)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    };
    refuse(
        config(3, 2, 0),
        [1, 28, 28],
        "method.width must be at least 1",
    );
    let huge = usize::MAX;
    for (config, setting) in [
        (config(huge, 2, 4), "levels"),
        (config(3, huge, 4), "steps"),
        (config(3, 2, huge), "width"),
    ] {
        refuse(
            config,
            [1, 28, 28],
            &format!("method.{setting} must be at most"),
        );
    }
    refuse(
        config(3, 1_000, 16_384),
        [1, 28, 28],
        "no more than 2147483648 are possible",
    );
    refuse(
        config(3, 2, 4),
        [1, 27, 28],
        "27 x 28 pixels cannot be halved",
    );
    let cold = GlowConfig {
        temperature: -1.0,
        ..config(3, 2, 4)
    };
    refuse(cold, [1, 28, 28], "method.temperature");
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/reference")
        .join(name)
}

/// `reference/reference.py` made the numbers.
#[test]
fn a_flow_matches_pytorch() {
    let device = Default::default();
    let mut glow: Glow<AB> = config(2, 2, 3).init([3, 8, 8], 1, &device).unwrap();
    let mut weights = SafetensorsStore::from_file(file("glow.safetensors"))
        .with_from_adapter(PyTorchToBurnAdapter);
    glow.load_from(&mut weights).unwrap();
    let bytes = std::fs::read(file("glow_case.safetensors")).unwrap();
    let case = SafeTensors::deserialize(&bytes).unwrap();
    let values = |name: &str| -> Vec<f32> {
        let (chunks, _) = case.tensor(name).unwrap().data().as_chunks::<4>();
        chunks
            .iter()
            .map(|chunk| f32::from_le_bytes(*chunk))
            .collect()
    };
    let y = Tensor::from_data(TensorData::new(values("y"), [2, 3, 8, 8]), &device);
    let (noise, log_det) = glow.encode(y.clone());
    let near = |what: &str, found: Vec<f64>| {
        let expected = values(what);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.into_iter().zip(expected.into_iter().map(f64::from)) {
            let error = (found - expected).abs() / expected.abs().max(1.0);
            assert!(error < 1e-4, "{what}: {found}, PyTorch {expected}");
        }
    };
    near("noise", host(noise));
    near("log_det", host(log_det));
    near("log_density", host(glow.log_density(y)));
}
