//! Paths between two images through their latents.

use burn::{prelude::*, tensor::TensorData};
use shortrun_langevin::LatentLayers;
use shortrun_model::Learnable;

use crate::{EvalError, hierarchy::check_layers, inference::host, sample::images_of_noise};

/// How noise is taken from one image to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interpolation {
    /// `(1 - t) a + t b`. Half way between two independent draws of N(0, I) this has half the
    /// squared norm: a place where the prior hardly ever is.
    Linear,
    /// Each layer along its own arc, `(sin((1 - t) w) a + sin(t w) b) / sin w` with w the angle
    /// between a and b. Draws of N(0, I) in d dimensions have norms near sqrt(d) and angles near a
    /// right one, where the two weights' squares add up to 1: the whole path is distributed as its
    /// ends are.
    #[default]
    Spherical,
}

/// Below this sine the two directions are one (or opposite), and no arc joins them.
const SMALLEST_SINE: f64 = 1e-6;

impl Interpolation {
    /// The point at `t` in [0, 1] between one layer's `a` and `b`.
    pub fn between(self, a: &[f32], b: &[f32], t: f64) -> Vec<f32> {
        let [of_a, of_b] = match self {
            Self::Linear => [1.0 - t, t],
            Self::Spherical => spherical_weights(a, b, t),
        };
        let pairs = a.iter().zip(b);
        pairs
            .map(|(a, b)| (of_a * f64::from(*a) + of_b * f64::from(*b)) as f32)
            .collect()
    }
}

fn spherical_weights(a: &[f32], b: &[f32], t: f64) -> [f64; 2] {
    let product = |a: &[f32], b: &[f32]| {
        let pairs = a.iter().zip(b);
        pairs
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum::<f64>()
    };
    let cosine = product(a, b) / (product(a, a) * product(b, b)).sqrt();
    let angle = cosine.clamp(-1.0, 1.0).acos();
    let sine = angle.sin();
    if sine > SMALLEST_SINE {
        [((1.0 - t) * angle).sin() / sine, (t * angle).sin() / sine]
    } else {
        // Also where one is zero or not a number.
        [1.0 - t, t]
    }
}

/// Images `[n * frames, c, h, w]` in [-1, 1], row by row, on the way from the noise `from` to the
/// noise `to` (both `[n, d]`): all frames of the first pair with both ends, then of the next.
///
/// # Errors
/// If there is no pair or there are fewer than 2 frames, or the layers do not add up to d.
pub fn interpolate<B: Backend, G: Learnable<B>>(
    generator: &G,
    layers: &LatentLayers,
    [from, to]: [Tensor<B, 2>; 2],
    frames: usize,
    way: Interpolation,
) -> Result<Vec<f32>, EvalError> {
    let ([n, latents], device) = (from.dims(), from.device());
    if n == 0 || to.dims()[0] != n {
        return Err(EvalError::NoImages);
    }
    if frames < 2 {
        return Err(EvalError::Frames(frames));
    }
    for noise in [&from, &to] {
        check_layers(layers, noise.dims()[1])?;
    }
    let (from, to) = (host(from), host(to));
    let mut noise = Vec::with_capacity(n * frames * latents);
    for (from, to) in from.chunks_exact(latents).zip(to.chunks_exact(latents)) {
        for frame in 0..frames {
            let t = frame as f64 / (frames - 1) as f64;
            for layer in layers.ranges() {
                noise.extend(way.between(&from[layer.clone()], &to[layer], t));
            }
        }
    }
    let noise = TensorData::new(noise, [n * frames, latents]);
    Ok(images_of_noise(
        generator,
        Tensor::from_data(noise, &device),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn norm(v: &[f32]) -> f64 {
        v.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt()
    }

    #[test]
    fn an_arc_keeps_the_norm_and_turns_evenly() {
        // 2 (1, 0) to 2 (cos 1.2, sin 1.2).
        let (a, b) = ([2.0, 0.0], [2.0 * 1.2_f32.cos(), 2.0 * 1.2_f32.sin()]);
        for t in [0.0, 0.25, 0.5, 1.0] {
            let found = Interpolation::Spherical.between(&a, &b, t);
            let expected = [(1.2 * t).cos() * 2.0, (1.2 * t).sin() * 2.0];
            for (found, expected) in found.iter().zip(expected) {
                assert!((f64::from(*found) - expected).abs() < 1e-6, "{found}");
            }
        }
        let middle = Interpolation::Linear.between(&a, &b, 0.5);
        // The chord's middle: 2 cos(0.6).
        assert!((norm(&middle) - 2.0 * 0.6_f64.cos()).abs() < 1e-6);
    }

    #[test]
    fn ends_are_met_and_no_arc_is_a_line() {
        let pairs: [(&[f32], &[f32]); 4] = [
            (&[0.3, -2.0, 0.7], &[1.0, 4.0, -2.0]),
            (&[1.5], &[-0.5]),
            (&[1.0, 2.0], &[2.0, 4.0]),
            (&[0.0, 0.0], &[1.0, 2.0]),
        ];
        for (a, b) in pairs {
            for way in [Interpolation::Linear, Interpolation::Spherical] {
                assert_eq!(way.between(a, b, 0.0), a);
                assert_eq!(way.between(a, b, 1.0), b);
            }
        }
        for (a, b) in &pairs[1..] {
            let line = Interpolation::Linear.between(a, b, 0.3);
            assert_eq!(Interpolation::Spherical.between(a, b, 0.3), line);
        }
    }
}
