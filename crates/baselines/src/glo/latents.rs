//! One latent for each training image.

use burn::{prelude::*, tensor::TensorData};
use rand_distr::{Distribution, StandardNormal};
use shortrun_langevin::{NoiseKey, PersistentChains, Purpose};
use shortrun_train::{Checkpoint, CheckpointFile, TrainError};

const LATENTS: &str = "latents.bin";

/// A latent z in the unit ball for each training image: `4 d` bytes an image, and one more, in memory
/// and in each checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Latents(PersistentChains);

impl Latents {
    /// Latents of the seed, uniform on the sphere: normal numbers, projected.
    pub fn drawn(seed: u64, images: usize, dim: usize) -> Self {
        let key = NoiseKey {
            seed,
            iteration: 0,
            purpose: Purpose::LearnedLatents,
        };
        let mut rng = key.rng(0);
        let mut values = Vec::with_capacity(images * dim);
        for _ in 0..images {
            let row: Vec<f32> = (0..dim).map(|_| StandardNormal.sample(&mut rng)).collect();
            let norm = row
                .iter()
                .map(|v| v * v)
                .sum::<f32>()
                .sqrt()
                .max(f32::MIN_POSITIVE);
            values.extend(row.iter().map(|v| v / norm));
        }
        let mut latents = PersistentChains::new(images, dim);
        latents.keep_rows(&(0..images).collect::<Vec<_>>(), &values);
        Self(latents)
    }

    /// The number of images and of dimensions.
    pub fn dims(&self) -> [usize; 2] {
        self.0.dims()
    }

    /// All of them, row-major `[images, d]`.
    pub fn values(&self) -> &[f32] {
        self.0.latents()
    }

    /// Those of some images: `[n, d]`.
    pub fn of<B: Backend>(&self, places: &[usize], device: &B::Device) -> Tensor<B, 2> {
        let [_, dim] = self.dims();
        let rows = places
            .iter()
            .flat_map(|place| &self.values()[place * dim..][..dim]);
        let rows: Vec<f32> = rows.copied().collect();
        Tensor::from_data(TensorData::new(rows, [places.len(), dim]), device)
    }

    /// Puts others `[n, d]` in their place, projected to the ball.
    pub fn set<B: Backend>(&mut self, places: &[usize], latents: Tensor<B, 2>) {
        self.0.keep(places, to_ball(latents));
    }

    /// The file of a checkpoint.
    pub(super) fn file(&self) -> CheckpointFile {
        CheckpointFile::new(LATENTS, self.0.to_bytes())
    }

    /// Takes up the file of a checkpoint.
    pub(super) fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        let found = PersistentChains::from_bytes(&checkpoint.bytes(LATENTS)?);
        let fitting = found.filter(|found| found.dims() == self.dims());
        self.0 = fitting.ok_or_else(|| TrainError::NoCheckpoint {
            path: checkpoint.path().join(LATENTS),
            reason: "it does not hold a latent for every image".to_owned(),
        })?;
        Ok(())
    }
}

/// The nearest points `[n, d]` of the unit ball: `z / max(|z|, 1)`.
pub fn to_ball<B: Backend>(latents: Tensor<B, 2>) -> Tensor<B, 2> {
    let norms = latents.clone().square().sum_dim(1).sqrt();
    latents / norms.clamp_min(1.0)
}
