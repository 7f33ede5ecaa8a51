//! Redrawn layers and interpolation of a linear generator: closed forms.
#![allow(clippy::unwrap_used)]

mod common;

use burn::{
    backend::{Autodiff, Flex},
    prelude::*,
};
use common::{Linear, PIXELS, linear};
use shortrun_eval::{
    EvalError, Hierarchy, Interpolation, interpolate, prior_noise, resample_layers,
};
use shortrun_langevin::{ChainError, LatentLayers};

const D: usize = 5;

fn layers() -> LatentLayers {
    LatentLayers::new([2, 3]).unwrap()
}

/// The top layer is in all pixels, the bottom one in the last ten.
fn weight(pixel: usize, latent: usize) -> f64 {
    if latent >= 2 && pixel < 6 {
        return 0.0;
    }
    (1.0 + (pixel * 3 + latent * 7) as f64).sin() * if latent < 2 { 1.0 } else { 0.4 }
}

fn generator() -> Linear<Autodiff<Flex>> {
    linear(D, weight)
}

fn noise(count: usize) -> Tensor<Flex, 2> {
    prior_noise(&layers(), count, 1, &Default::default())
}

fn redrawn(count: usize, redraws: usize) -> Hierarchy {
    resample_layers::<Flex, _>(&generator(), &layers(), noise(count), redraws, 1).unwrap()
}

/// `W_l^T W_l / D` of the latents of one layer or of all.
fn gram(latents: std::ops::Range<usize>) -> Vec<Vec<f64>> {
    let product = |i: usize, j: usize| {
        let pixels = (0..PIXELS).map(|pixel| weight(pixel, i) * weight(pixel, j));
        pixels.sum::<f64>() / PIXELS as f64
    };
    let row = |i: usize| latents.clone().map(|j| product(i, j)).collect();
    latents.clone().map(row).collect()
}

fn trace(of: &[Vec<f64>]) -> f64 {
    of.iter().enumerate().map(|(i, row)| row[i]).sum()
}

fn trace_of_square(of: &[Vec<f64>]) -> f64 {
    of.iter().flatten().map(|v| v * v).sum()
}

/// `u = e' - e` is N(0, 2 I), so `E |W_l u|^2 / D = 2 tr(W_l^T W_l) / D`; two redraws of one image
/// share e, so the mean of R has variance `(8 + 2 (R - 1)) / R tr((W_l^T W_l / D)^2)`.
#[test]
fn changes_and_their_errors_are_those_of_the_closed_form() {
    let (n, redraws) = (2000, 3);
    let found = redrawn(n, redraws);
    let parts = [&found.layers[0], &found.layers[1], &found.all];
    for (part, latents) in parts.into_iter().zip([0..2, 2..5, 0..5]) {
        let gram = gram(latents.clone());
        let change = part.change();
        let error = change.standard_error.unwrap();
        let off = (change.mean - 2.0 * trace(&gram)).abs();
        assert!(
            off < 4.0 * error,
            "{latents:?}: off by {off}, error {error}"
        );
        // Of chi-squared numbers: a mean of n d of them.
        let spread = (2.0 / (n * latents.len()) as f64).sqrt();
        assert!((part.replaced_square - 1.0).abs() < 4.0 * spread);
        let r = redraws as f64;
        let variance = (8.0 + 2.0 * (r - 1.0)) / r * trace_of_square(&gram);
        let expected = (variance / n as f64).sqrt();
        // A few percent: the error of an error over 2,000 images, with heavy tails.
        assert!((error / expected - 1.0).abs() < 0.15, "{error} {expected}");
    }
}

/// From one held e: `E |W_l (e' - e)|^2 / D = (tr(W_l^T W_l) + |W_l e_l|^2) / D`.
#[test]
fn the_base_is_held() {
    let redraws = 8000;
    let found = redrawn(1, redraws);
    let base: Vec<f32> = noise(1).into_data().to_vec().unwrap();
    for (part, latents) in found.layers.iter().zip([0..2, 2..5]) {
        let gram = gram(latents.clone());
        let held = &base[latents];
        let product = |row: &Vec<f64>| {
            let pairs = row.iter().zip(held);
            pairs.map(|(g, e)| g * f64::from(*e)).sum::<f64>()
        };
        let pulled: Vec<f64> = gram.iter().map(product).collect();
        let pairs = pulled.iter().zip(held);
        let own: f64 = pairs.map(|(g, e)| g * f64::from(*e)).sum();
        let square: f64 = pulled.iter().map(|v| v * v).sum();
        let variance = 2.0 * trace_of_square(&gram) + 4.0 * square;
        let off = part.change_by_image[0] - trace(&gram) - own;
        assert!(
            off.abs() < 4.0 * (variance / redraws as f64).sqrt(),
            "{off}"
        );
        assert_eq!(part.change().standard_error, None);
        let norm: f64 = held.iter().map(|e| f64::from(*e).powi(2)).sum();
        assert!((part.replaced_square - norm / held.len() as f64).abs() < 1e-9);
    }
    // The bottom layer does not reach the first six pixels.
    for image in found.layers[1].images.chunks_exact(PIXELS) {
        assert_eq!(image[..6], found.base[..6]);
        assert_ne!(image[6..], found.base[6..]);
    }
}

#[test]
fn redraws_do_not_depend_on_the_number_of_images() {
    let (many, few) = (redrawn(60, 2), redrawn(3, 2));
    let close = |a: &[f32], b: &[f32]| {
        let pairs = a.iter().zip(b);
        assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-5));
    };
    close(&many.base[..3 * PIXELS], &few.base);
    for (many, few) in many.layers.iter().zip(&few.layers) {
        close(&many.images[..6 * PIXELS], &few.images);
    }
}

#[test]
fn a_path_joins_its_ends() {
    let ends = noise(4);
    let images = redrawn(4, 1).base;
    let pairs = || {
        [
            ends.clone().slice_dim(0, 0..2),
            ends.clone().slice_dim(0, 2..4),
        ]
    };
    let path = |way| interpolate::<Flex, _>(&generator(), &layers(), pairs(), 3, way).unwrap();
    for way in [Interpolation::Linear, Interpolation::Spherical] {
        let path = path(way);
        let frame = |pair: usize, t: usize| &path[(pair * 3 + t) * PIXELS..][..PIXELS];
        for pair in 0..2 {
            for pixel in 0..PIXELS {
                let (from, to) = (
                    images[pair * PIXELS + pixel],
                    images[(pair + 2) * PIXELS + pixel],
                );
                assert!((frame(pair, 0)[pixel] - from).abs() < 1e-5);
                assert!((frame(pair, 2)[pixel] - to).abs() < 1e-5);
                let middle = (from + to) / 2.0;
                // A linear generator of a line is a line; of an arc it is none.
                let off = (frame(pair, 1)[pixel] - middle).abs();
                assert!(off < 1e-5 || way == Interpolation::Spherical, "{off}");
            }
        }
    }
    assert_ne!(path(Interpolation::Linear), path(Interpolation::Spherical));
}

/// Half way between independent draws in d dimensions: `|e|^2 / d` is 1 on the arc, 1/2 on the line.
#[test]
fn the_middle_of_an_arc_is_as_far_out_as_its_ends() {
    let layers = LatentLayers::new([400]).unwrap();
    let noise: Vec<f32> = prior_noise::<Flex>(&layers, 2, 5, &Default::default())
        .into_data()
        .to_vec()
        .unwrap();
    let square = |way: Interpolation| {
        let middle = way.between(&noise[..400], &noise[400..], 0.5);
        middle.iter().map(|e| f64::from(*e).powi(2)).sum::<f64>() / 400.0
    };
    // The standard deviation of |e|^2 / d is sqrt(2 / 400) = 0.07.
    assert!((square(Interpolation::Spherical) - 1.0).abs() < 0.2);
    assert!((square(Interpolation::Linear) - 0.5).abs() < 0.1);
}

#[test]
fn impossible_wishes_are_refused() {
    let (generator, other) = (generator(), LatentLayers::new([2, 2]).unwrap());
    let resample = |layers: &LatentLayers, redraws| {
        resample_layers::<Flex, _>(&generator, layers, noise(2), redraws, 1).unwrap_err()
    };
    assert!(matches!(resample(&layers(), 0), EvalError::NoImages));
    let sizes = EvalError::Chain(ChainError::LayerSize {
        layers: 4,
        latents: 5,
    });
    assert_eq!(resample(&other, 1).to_string(), sizes.to_string());
    let path = |layers: &LatentLayers, frames, to| {
        let ends = [noise(2), noise(to)];
        interpolate::<Flex, _>(&generator, layers, ends, frames, Interpolation::Linear).unwrap_err()
    };
    assert!(matches!(path(&layers(), 1, 2), EvalError::Frames(1)));
    assert!(matches!(path(&layers(), 2, 1), EvalError::NoImages));
    assert_eq!(path(&other, 2, 2).to_string(), sizes.to_string());
    let ends = [noise(2), noise(2).slice_dim(1, 0..4)];
    let narrow =
        interpolate::<Flex, _>(&generator, &layers(), ends, 2, Interpolation::Linear).unwrap_err();
    let sizes = EvalError::Chain(ChainError::LayerSize {
        layers: 5,
        latents: 4,
    });
    assert_eq!(narrow.to_string(), sizes.to_string());
}
