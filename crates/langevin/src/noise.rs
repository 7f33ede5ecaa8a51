//! Noise that depends on (seed, iteration, purpose) and on nothing else.

use burn::{prelude::*, tensor::TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// What a stream of noise is for. Two purposes never share numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum Purpose {
    /// The weights a generator starts from.
    Weights = 1,
    /// The start `e_0` of the chains.
    Start = 2,
    /// The noise `n_k` of the Langevin steps.
    Langevin = 3,
    /// Latents of synthesised images.
    Samples = 4,
    /// Langevin noise of chains that look at a model without training it.
    Evaluation = 5,
    /// Starts of chains that look at a model without training it.
    EvaluationStart = 6,
    /// Starts and noise of the chains that a step size is tuned on.
    StepSize = 7,
    /// Probes of stochastic trace estimates.
    Probes = 8,
    /// Pixels that are hidden at random.
    Mask = 9,
    /// Latents and pixel noise of images drawn from the model itself.
    Simulation = 20,
    /// Starts, momenta and acceptance of annealed importance sampling.
    Annealing = 21,
    /// Uniform noise that spreads the bytes of an image.
    Dequantisation = 22,
    /// The weights an inference network starts from.
    InferenceWeights = 30,
    /// Noise that an inference network turns into latents of its posterior.
    Reparameterisation = 31,
    /// The rotations that invertible convolutions start from.
    Rotation = 40,
    /// Uniform noise that spreads the bytes of training images.
    TrainingDequantisation = 41,
    /// Where latents that are learned for each image start.
    LearnedLatents = 42,
}

/// The key of a stream of noise.
///
/// The three numbers are the key of a ChaCha8 generator, so streams of different keys are
/// independent and any one can be made again at any time: resuming a run needs no stored state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NoiseKey {
    /// The seed of the run.
    pub seed: u64,
    /// The iteration the noise belongs to.
    pub iteration: u64,
    /// What the noise is for.
    pub purpose: Purpose,
}

impl NoiseKey {
    /// The generator behind this key, at the start of stream `stream` (the Langevin step, say).
    pub fn rng(self, stream: u64) -> ChaCha8Rng {
        let mut bytes = [0; 32];
        for (chunk, word) in
            bytes
                .chunks_exact_mut(8)
                .zip([self.seed, self.iteration, self.purpose as u64, 0])
        {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        let mut rng = ChaCha8Rng::from_seed(bytes);
        rng.set_stream(stream);
        rng
    }

    /// Standard normal numbers of the given shape from stream `stream`, row by row.
    ///
    /// Drawn on the host, so that every backend sees the same noise.
    pub fn normal<B: Backend, const D: usize>(
        self,
        shape: [usize; D],
        stream: u64,
        device: &B::Device,
    ) -> Tensor<B, D> {
        let mut rng = self.rng(stream);
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count)
            .map(|_| StandardNormal.sample(&mut rng))
            .collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;

    fn draw(key: NoiseKey, stream: u64) -> Vec<f32> {
        key.normal::<Flex, 1>([20_000], stream, &Default::default())
            .into_data()
            .to_vec()
            .unwrap()
    }

    const KEY: NoiseKey = NoiseKey {
        seed: 7,
        iteration: 3,
        purpose: Purpose::Langevin,
    };

    #[test]
    fn streams_repeat_and_do_not_share_numbers() {
        let first = draw(KEY, 0);
        assert_eq!(first, draw(KEY, 0));
        let others = [
            draw(NoiseKey { seed: 8, ..KEY }, 0),
            draw(
                NoiseKey {
                    iteration: 4,
                    ..KEY
                },
                0,
            ),
            draw(
                NoiseKey {
                    purpose: Purpose::Start,
                    ..KEY
                },
                0,
            ),
            draw(KEY, 1),
        ];
        for other in others {
            // 20,000 pairs of independent normals: the correlation is N(0, 0.007²).
            let correlation = first.iter().zip(&other).map(|(a, b)| a * b).sum::<f32>() / 20_000.0;
            assert!(correlation.abs() < 0.03, "{correlation}");
        }
    }

    #[test]
    fn numbers_are_standard_normal() {
        let values = draw(KEY, 0);
        let moment = |p: i32| {
            values.iter().map(|v| f64::from(*v).powi(p)).sum::<f64>() / values.len() as f64
        };
        // Four standard errors of each moment at 20,000 draws.
        assert!(moment(1).abs() < 0.03);
        assert!((moment(2) - 1.0).abs() < 0.04);
        assert!((moment(4) - 3.0).abs() < 0.28);
    }
}
