//! The gradient norms in the metrics, against closed forms.
#![allow(clippy::unwrap_used)]

mod common;

use burn::{
    backend::Flex,
    module::{Module, Param},
    prelude::*,
};
use common::*;
use shortrun_langevin::{LatentLayers, NoiseKey, Purpose, StepSize};
use shortrun_model::Generator;
use shortrun_train::{Method, ShortRunMethod, Sigma, State, TrainConfig};

/// Images that know nothing of their latents: `level + slope * column / 28`.
#[derive(Module, Debug)]
struct Ramp<B: Backend> {
    level: Param<Tensor<B, 1>>,
    slope: Param<Tensor<B, 1>>,
}

impl<B: Backend> Generator<B> for Ramp<B> {
    fn forward(&self, latents: Tensor<B, 2>) -> Tensor<B, 4> {
        let (n, device) = (latents.dims()[0], latents.device());
        let column = Tensor::<B, 1, Int>::arange(0..28, &device).float() / 28.0;
        let image = self.level.val() + self.slope.val() * column;
        image.reshape([1, 1, 1, 28]).expand([n, 1, 28, 28])
    }
}

#[test]
fn gradient_norms_are_those_of_the_energy() {
    let device = Default::default();
    let (level, slope, sigma, s) = (0.2, -0.3, 0.5, 0.04);
    let mut config = TrainConfig {
        batch_size: 3,
        sigma: Sigma::Constant(sigma),
        ..config()
    };
    config.langevin.steps = 2;
    config.langevin.step_size = StepSize::from_drift(s).unwrap().into();
    let parameter = |value: f64| Param::from_tensor(Tensor::<AB, 1>::from_floats([value], &device));
    let ramp = Ramp {
        level: parameter(level),
        slope: parameter(slope),
    };
    let layers = LatentLayers::new([2]).unwrap();
    let mut method = ShortRunMethod::<Flex, _>::new(ramp, layers, &config, 3, &device);
    let pixels = images(3).to_f32(&[0, 1, 2]);
    let batch = Tensor::<Flex, 1>::from_floats(pixels.as_slice(), &device).reshape([3, 1, 28, 28]);
    let mut iterate = |measure| {
        method
            .learn(
                &State::new("stripes", 3),
                batch.clone(),
                &[0, 1, 2],
                measure,
            )
            .unwrap()
    };
    let measured = iterate(true).measured.unwrap();

    // dU/dlevel = sum (g - x) / sigma², dU/dslope = sum (g - x) column / (28 sigma²).
    let (mut by_level, mut by_slope, mut squares) = (0.0, 0.0, 0.0);
    for (place, x) in pixels.iter().enumerate() {
        let column = (place % 28) as f64 / 28.0;
        let off = level + slope * column - f64::from(*x);
        by_level += off / (3.0 * sigma * sigma);
        by_slope += off * column / (3.0 * sigma * sigma);
        squares += off * off;
    }
    let expected = by_level.hypot(by_slope);
    assert!((measured.weight_gradient / expected - 1.0).abs() < 1e-4);
    assert!((measured.mse / (squares / pixels.len() as f64) - 1.0).abs() < 1e-5);

    // The images do not pull, so U = |e|²/2 + constant, and e_1 = (1 - s) e_0 + sqrt(2 s) n_0.
    let key = |purpose| NoiseKey {
        seed: config.seed,
        iteration: 0,
        purpose,
    };
    let values = |noise: Tensor<Flex, 2>| noise.into_data().to_vec::<f32>().unwrap();
    let e0 = values(key(Purpose::Start).normal([3, 2], 0, &device));
    let n0 = values(key(Purpose::Langevin).of_step(0, [3, 2], &device));
    let e1: Vec<f64> = e0
        .iter()
        .zip(&n0)
        .map(|(e, n)| (1.0 - s) * f64::from(*e) + (2.0 * s).sqrt() * f64::from(*n))
        .collect();
    let norms = e1.chunks(2).map(|e| e[0].hypot(e[1]));
    let expected = norms.sum::<f64>() / 3.0;
    assert!((measured.latent_gradient / expected - 1.0).abs() < 1e-5);

    assert!(iterate(false).measured.is_none());
}
