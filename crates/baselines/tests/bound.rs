//! The bound on linear-Gaussian models, whose posterior and likelihood are known.
//!
//! There the bound is a quadratic function of the noise, so its mean over a few points with the mean
//! and covariance of the noise is its expectation: no sampling error.
#![allow(clippy::unwrap_used)]

use burn::{backend::Flex, prelude::*, tensor::TensorData};
use shortrun_baselines::{Gaussian, TopDown, top_down_posterior};
use shortrun_model::Observation;

const SIGMA: f64 = 0.4;

/// Points `±sqrt(d) e_i`, `[2 d, d]`.
fn noise(d: usize) -> Tensor<Flex, 2> {
    let unit = Tensor::eye(d, &Default::default()) * (d as f64).sqrt();
    Tensor::cat(vec![unit.clone(), -unit], 0)
}

fn rows<const D: usize>(n: usize, values: [f64; D]) -> Tensor<Flex, 2> {
    let row = TensorData::new(values.to_vec(), [1, D]);
    Tensor::from_data(row, &Default::default()).repeat_dim(0, n)
}

/// The expected bound of an image with this posterior, made of what the image says of each layer.
fn expected_bound<const D: usize, const I: usize>(
    generator: &impl TopDown<Flex>,
    bottom_up: &[([f64; D], [f64; D])],
    image: [f64; I],
) -> f64 {
    let noise = noise(generator.layer_sizes().iter().sum());
    let n = noise.dims()[0];
    let bottom_up: Vec<Gaussian<Flex>> = bottom_up
        .iter()
        .map(|(mean, scale)| Gaussian {
            mean: rows(n, *mean),
            scale: rows(n, *scale),
        })
        .collect();
    let observation = Observation::new(rows(n, image).unsqueeze_dims(&[1, 1]), SIGMA).unwrap();
    let bound = top_down_posterior(generator, &bottom_up, noise).evidence_bound(&observation);
    bound.into_data().iter::<f64>().sum::<f64>() / n as f64
}

/// `x = W e + b`, e of two dimensions, x of three. The columns of W are orthogonal, so that the
/// posterior's covariance is diagonal.
struct Linear;

const W: [[f64; 3]; 2] = [[0.2, 0.4, 0.4], [0.6, 0.3, -0.6]];
const SHIFT: [f64; 3] = [0.1, -0.2, 0.3];
const IMAGE: [f64; 3] = [0.7, -0.5, 0.2];

impl TopDown<Flex> for Linear {
    fn layer_sizes(&self) -> &[usize] {
        &[2]
    }

    fn choose_latents(
        &self,
        choose: &mut dyn FnMut(usize, Option<Gaussian<Flex>>) -> Tensor<Flex, 2>,
    ) -> Tensor<Flex, 4> {
        let latents = choose(0, None);
        let n = latents.dims()[0];
        let image = latents.matmul(Tensor::from_data(W, &Default::default())) + rows(n, SHIFT);
        image.unsqueeze_dims(&[1, 1])
    }
}

/// `log ∫ p(x | e) p(e) de` on a grid, without any algebra of Gaussians but their densities.
fn log_evidence_by_quadrature() -> f64 {
    let step = 0.01;
    let axis = || (-600..=600).map(|i| f64::from(i) * step);
    let normal = |x: f64, scale: f64| {
        (-0.5 * (x / scale).powi(2)).exp() / (scale * (2.0 * std::f64::consts::PI).sqrt())
    };
    let mut sum = 0.0;
    for first in axis() {
        for second in axis() {
            let likelihood: f64 = (0..3)
                .map(|i| IMAGE[i] - SHIFT[i] - W[0][i] * first - W[1][i] * second)
                .map(|residual| normal(residual, SIGMA))
                .product();
            sum += likelihood * normal(first, 1.0) * normal(second, 1.0);
        }
    }
    (sum * step * step).ln()
}

#[test]
fn the_bound_is_the_evidence_less_the_divergence_from_the_posterior() {
    let (mut mean, mut scale) = ([0.0; 2], [0.0; 2]);
    for i in 0..2 {
        let dot = |a: [f64; 3]| (0..3).map(|j| W[i][j] * a[j]).sum::<f64>();
        let precision = 1.0 + dot(W[i]) / SIGMA.powi(2);
        let centred = [0, 1, 2].map(|j| IMAGE[j] - SHIFT[j]);
        mean[i] = dot(centred) / SIGMA.powi(2) / precision;
        scale[i] = precision.powf(-0.5);
    }
    let evidence = log_evidence_by_quadrature();
    let bound = |q| expected_bound(&Linear, &[q], IMAGE);
    let exact = bound((mean, scale));
    assert!((exact - evidence).abs() < 1e-3, "{exact}, not {evidence}");

    let other = (
        [mean[0] + 0.3, mean[1] - 0.1],
        [scale[0] * 1.5, scale[1] * 0.7],
    );
    let divergence: f64 = (0..2)
        .map(|i| {
            let (shift, ratio) = (other.0[i] - mean[i], other.1[i] / scale[i]);
            0.5 * (ratio.powi(2) + (shift / scale[i]).powi(2) - 1.0) - ratio.ln()
        })
        .sum();
    let below = bound(other);
    assert!(
        (evidence - below - divergence).abs() < 1e-3,
        "{below} is not {divergence} below {evidence}"
    );
}

/// `z_2 ~ N(0, 1)`, `z_1 = a z_2 + c + s e`, `x = w z_1`, two dimensions side by side.
struct TwoLayers;

const A: [f64; 2] = [0.8, -1.2];
const C: [f64; 2] = [0.3, 0.1];
const S: [f64; 2] = [0.5, 1.3];
const OUT: [f64; 2] = [0.6, 0.9];
const SEEN: [f64; 2] = [0.9, -0.4];

impl TopDown<Flex> for TwoLayers {
    fn layer_sizes(&self) -> &[usize] {
        &[2, 2]
    }

    fn choose_latents(
        &self,
        choose: &mut dyn FnMut(usize, Option<Gaussian<Flex>>) -> Tensor<Flex, 2>,
    ) -> Tensor<Flex, 4> {
        let top = choose(0, None);
        let n = top.dims()[0];
        let prior = Gaussian {
            mean: top * rows(n, A) + rows(n, C),
            scale: rows(n, S),
        };
        let bottom = choose(1, Some(prior));
        (bottom * rows(n, OUT)).unsqueeze_dims(&[1, 1])
    }
}

#[test]
fn a_ladder_that_says_what_the_image_says_reaches_the_evidence() {
    let (mut top, mut bottom) = (([0.0; 2], [0.0; 2]), ([0.0; 2], [0.0; 2]));
    let mut evidence = 0.0;
    for i in 0..2 {
        // p(x | z_1) as a function of z_1; the ladder itself has to bring in p(z_1 | z_2).
        bottom.0[i] = SEEN[i] / OUT[i];
        bottom.1[i] = SIGMA / OUT[i];
        // p(z_2 | x): of slope a w and noise w² s² + sigma².
        let (slope, noise) = (A[i] * OUT[i], (OUT[i] * S[i]).powi(2) + SIGMA.powi(2));
        let residual = SEEN[i] - OUT[i] * C[i];
        let precision = 1.0 + slope.powi(2) / noise;
        top.0[i] = slope * residual / noise / precision;
        top.1[i] = precision.powf(-0.5);
        // log p(x).
        let variance = slope.powi(2) + noise;
        evidence -=
            0.5 * (residual.powi(2) / variance + (2.0 * std::f64::consts::PI * variance).ln());
    }
    let exact = expected_bound(&TwoLayers, &[top, bottom], SEEN);
    assert!((exact - evidence).abs() < 1e-3, "{exact}, not {evidence}");
    let wide = (bottom.0, bottom.1.map(|scale| 2.0 * scale));
    let below = expected_bound(&TwoLayers, &[top, wide], SEEN);
    assert!(below < evidence - 0.05, "{below} against {evidence}");
}

#[test]
fn the_product_of_gaussians_is_in_proportion_to_that_of_their_densities() {
    let gaussian = |mean, scale| Gaussian {
        mean: rows(1, mean),
        scale: rows(1, scale),
    };
    let factors = [
        gaussian([0.3, -2.0], [0.5, 1.0]),
        gaussian([1.5, 1.0], [2.0, 0.1]),
    ];
    let product = factors[0].product(&factors[1]);
    let host = |t: &Tensor<Flex, 2>| t.to_data().iter::<f64>().collect::<Vec<_>>();
    let log_density = |of: &Gaussian<Flex>, i: usize, z: f64| {
        let (mean, scale) = (host(&of.mean)[i], host(&of.scale)[i]);
        -0.5 * ((z - mean) / scale).powi(2) - scale.ln()
    };
    for i in 0..2 {
        let difference = |z| {
            log_density(&product, i, z)
                - factors.iter().map(|of| log_density(of, i, z)).sum::<f64>()
        };
        // Quadratic in z: the same at three points only if it is constant.
        let at_zero = difference(0.0);
        for z in [0.8, -1.1] {
            let found = difference(z);
            assert!((found - at_zero).abs() < 1e-3, "{found}, not {at_zero}");
        }
    }
}
