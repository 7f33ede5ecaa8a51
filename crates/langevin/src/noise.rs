//! Noise that depends on (seed, iteration, purpose) and on nothing else.

use burn::{prelude::*, tensor::TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use crate::philox::{normal, philox};

/// Numbers from a counter, at some 30 ns each, that are more than handing them to a thread costs.
const WORTH_A_THREAD: usize = 4096;

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
/// Streams of different keys are independent and any one can be made again at any time: resuming a
/// run needs no stored state. The noise of a chain's steps comes from a counter (Philox 4x32), so that
/// kernels draw each number where they need it; all else from ChaCha8, in order, on the host.
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

    /// The noise `n_k` `[n, d]` of step `step` of a chain: number [`counted`](Self::counted) at every
    /// index, row by row. What kernels draw differs from it by rounding alone.
    pub fn of_step<B: Backend>(
        self,
        step: usize,
        shape: [usize; 2],
        device: &B::Device,
    ) -> Tensor<B, 2> {
        let count = (shape[0] * shape[1]) as u32;
        let values: Vec<f32> = (0..count)
            .into_par_iter()
            .with_min_len(WORTH_A_THREAD)
            .map(|index| self.counted(step as u32, index) as f32)
            .collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    /// Standard normal number `index` of step `step`: of the first two words of Philox with counter
    /// `[index, step, c2, c3]`, by Box and Muller.
    pub fn counted(self, step: u32, index: u32) -> f64 {
        let ([c2, c3], key) = self.philox();
        let [radius, angle, ..] = philox([index, step, c2, c3], key);
        normal(radius, angle)
    }

    /// The last two words of the counter, and the key. The purpose shares a word with what of the
    /// iteration exceeds 32 bits.
    pub fn philox(self) -> ([u32; 2], [u32; 2]) {
        let [low, high] = halves(self.iteration);
        ([low, self.purpose as u32 | high << 8], halves(self.seed))
    }
}

fn halves(number: u64) -> [u32; 2] {
    [number as u32, (number >> 32) as u32]
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;

    type Draw = fn(NoiseKey, u64) -> Vec<f32>;

    /// Numbers of a stream, and of a step.
    const DRAWS: [Draw; 2] = [
        |key, stream| values(key.normal::<Flex, 1>([20_000], stream, &Default::default())),
        |key, step| values(key.of_step::<Flex>(step as usize, [200, 100], &Default::default())),
    ];

    fn values<const D: usize>(numbers: Tensor<Flex, D>) -> Vec<f32> {
        numbers.into_data().to_vec().unwrap()
    }

    const KEY: NoiseKey = NoiseKey {
        seed: 7,
        iteration: 3,
        purpose: Purpose::Langevin,
    };

    #[test]
    fn streams_repeat_and_do_not_share_numbers() {
        for draw in DRAWS {
            let first = draw(KEY, 0);
            assert_eq!(first, draw(KEY, 0));
            let seed = 8;
            let purpose = Purpose::Start;
            let others = [
                draw(NoiseKey { seed, ..KEY }, 0),
                draw(NoiseKey { purpose, ..KEY }, 0),
                draw(KEY, 1),
            ];
            let later = [4, 3 + (1 << 32)].map(|iteration| NoiseKey { iteration, ..KEY });
            for other in others.into_iter().chain(later.map(|key| draw(key, 0))) {
                // 20,000 pairs of independent normals: the correlation is N(0, 0.007²).
                let products = first.iter().zip(&other).map(|(a, b)| a * b);
                let correlation = products.sum::<f32>() / 20_000.0;
                assert!(correlation.abs() < 0.03, "{correlation}");
            }
        }
    }

    #[test]
    fn numbers_are_standard_normal() {
        for draw in DRAWS {
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
}
