//! The generator of `pytorch/reference.py`.

use burn::{prelude::*, tensor::TensorData};
use shortrun_langevin::Posterior;

use super::Reference;

/// `x = W₂ tanh(W₁ e + b₁) + b₂ + N(0, σ² I)` and the posterior of each of n images.
#[derive(Clone, Debug)]
pub(crate) struct TanhNet {
    d: usize,
    hidden: usize,
    observed: usize,
    sigma: f64,
    w1: Vec<f32>,
    b1: Vec<f32>,
    w2: Vec<f32>,
    b2: Vec<f32>,
    /// `[n, D]`, row by row.
    images: Vec<f32>,
}

impl TanhNet {
    pub(crate) fn new(reference: &Reference) -> Self {
        let single = |values: &[f64]| values.iter().map(|v| *v as f32).collect();
        Self {
            d: reference.d,
            hidden: reference.hidden,
            observed: reference.observed,
            sigma: reference.sigma,
            w1: single(&reference.w1.concat()),
            b1: single(&reference.b1),
            w2: single(&reference.w2.concat()),
            b2: single(&reference.b2),
            images: single(&reference.x.concat()),
        }
    }

    /// The posterior of image `i` alone.
    pub(crate) fn only(&self, i: usize) -> Self {
        let images = self.images[i * self.observed..][..self.observed].to_vec();
        Self {
            images,
            ..self.clone()
        }
    }
}

impl<B: Backend> Posterior<B> for TanhNet {
    fn energy(&self, latents: Tensor<B, 2>) -> Tensor<B, 1> {
        let device = latents.device();
        let matrix = |values: &[f32], columns: usize| {
            let data = TensorData::new(values.to_vec(), [values.len() / columns, columns]);
            Tensor::<B, 2>::from_data(data, &device)
        };
        let layer = |input: Tensor<B, 2>, w: &[f32], b: &[f32], width: usize| {
            input.matmul(matrix(w, width).transpose()) + matrix(b, b.len())
        };
        let hidden = layer(latents.clone(), &self.w1, &self.b1, self.d).tanh();
        let generated = layer(hidden, &self.w2, &self.b2, self.hidden);
        let residual = matrix(&self.images, self.observed) - generated;
        let energy = latents.square().sum_dim(1) / 2.0
            + residual.square().sum_dim(1) / (2.0 * self.sigma * self.sigma);
        energy.squeeze_dim(1)
    }

    fn repeated(&self, times: usize) -> Option<Self> {
        let images = self.images.chunks_exact(self.observed);
        Some(Self {
            images: images.flat_map(|image| image.repeat(times)).collect(),
            ..self.clone()
        })
    }
}
