//! Inpainting a linear generator: the closed-form conditional of the hidden pixels.
#![allow(clippy::unwrap_used)]

mod common;

use burn::backend::{Autodiff, Flex};
use common::{Linear, PIXELS, SIDE, linear};
use shortrun_data::{ImageShape, Images};
use shortrun_eval::{EvalError, Inference, Mask, inpaint};
use shortrun_langevin::{LatentLayers, ShortRun, StepSize};

const SIGMA: f64 = 0.3;

/// `x = W e` with two latents and sixteen pixels.
fn weight(pixel: usize) -> [f64; 2] {
    let angle = pixel as f64;
    [0.3 * angle.sin(), 0.25 * (1.7 * angle).cos()]
}

fn generator() -> Linear<Autodiff<Flex>> {
    linear(2, |pixel, latent| weight(pixel)[latent])
}

fn image() -> Images {
    let pixels = (0..PIXELS).map(|pixel| {
        let [a, b] = weight(pixel);
        ((0.8 * a - 1.1 * b + 1.0) * 127.5).round() as u8
    });
    Images::new(ImageShape::square(1, SIDE), pixels.collect(), None).unwrap()
}

fn inference() -> Inference {
    Inference {
        chain: ShortRun::new(150, StepSize::from_drift(0.02).unwrap()).unwrap(),
        sigma: SIGMA,
        seed: 5,
        layers: LatentLayers::new([2]).unwrap(),
    }
}

/// Mean and covariance of the latents given the pixels that were seen.
fn posterior(seen: &[bool], x: &[f32]) -> ([f64; 2], [[f64; 2]; 2]) {
    let (mut h, mut pull) = ([[1.0, 0.0], [0.0, 1.0]], [0.0; 2]);
    for pixel in (0..seen.len()).filter(|pixel| seen[*pixel]) {
        let w = weight(pixel);
        for i in 0..2 {
            pull[i] += w[i] * f64::from(x[pixel]) / (SIGMA * SIGMA);
            for j in 0..2 {
                h[i][j] += w[i] * w[j] / (SIGMA * SIGMA);
            }
        }
    }
    let det = h[0][0] * h[1][1] - h[0][1] * h[1][0];
    let c = [
        [h[1][1] / det, -h[0][1] / det],
        [-h[1][0] / det, h[0][0] / det],
    ];
    let mean = [0, 1].map(|i| c[i][0] * pull[0] + c[i][1] * pull[1]);
    (mean, c)
}

#[test]
fn hidden_pixels_follow_the_conditional_of_the_seen_ones() {
    let (device, mask) = (Default::default(), "top".parse::<Mask>().unwrap());
    let samples = 400;
    let found = inpaint::<Flex, _>(
        &generator(),
        &image(),
        1,
        &mask,
        samples,
        &inference(),
        &device,
    )
    .unwrap();
    let seen = &mask.seen(image().shape(), 1, 5).unwrap()[0];
    let (mean, covariance) = posterior(seen, &found.originals);
    for (pixel, visible) in seen.iter().enumerate() {
        let w = weight(pixel);
        let expected = w[0] * mean[0] + w[1] * mean[1];
        let quadratic = |i: usize| w[i] * (covariance[i][0] * w[0] + covariance[i][1] * w[1]);
        let deviation = (quadratic(0) + quadratic(1)).sqrt();
        // Five standard errors; the deviation's own is 1 / sqrt(2 n), the step's bias below 3 %.
        let error = 5.0 * deviation / (samples as f64).sqrt() + 1e-6;
        let off = (f64::from(found.mean[pixel]) - expected).abs();
        assert!(
            off < error,
            "pixel {pixel} is off by {off}, allowed {error}"
        );
        let ratio = f64::from(found.deviation[pixel]) / deviation;
        assert!((ratio - 1.0).abs() < 0.2, "pixel {pixel}: {ratio}");
        let shown = if *visible {
            found.originals[pixel]
        } else {
            0.0
        };
        assert_eq!(found.occluded[pixel], shown);
    }
    assert!(found.mean_hidden_mse < found.hidden_mse);
}

#[test]
fn a_mask_that_does_not_fit_is_refused() {
    let run = |mask: &str| {
        let mask = mask.parse::<Mask>().unwrap();
        inpaint::<Flex, _>(
            &generator(),
            &image(),
            1,
            &mask,
            1,
            &inference(),
            &Default::default(),
        )
    };
    for mask in ["center:4", "random:0", "blocks:1x9", "nowhere.png"] {
        assert!(matches!(run(mask), Err(EvalError::Mask { .. })), "{mask}");
    }
}
