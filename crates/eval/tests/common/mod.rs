//! A generator whose posterior and changes have closed forms.
#![allow(dead_code)]

use burn::{
    backend::{Autodiff, Flex},
    module::{Module, Param},
    prelude::*,
    tensor::TensorData,
};
use shortrun_model::Generator;

/// Images are grey squares of this side.
pub(crate) const SIDE: usize = 4;
pub(crate) const PIXELS: usize = SIDE * SIDE;

/// `x = W e`.
#[derive(Module, Debug)]
pub(crate) struct Linear<B: Backend> {
    /// The transpose of W, `[d, PIXELS]`.
    weight: Param<Tensor<B, 2>>,
}

impl<B: Backend> Generator<B> for Linear<B> {
    fn forward(&self, latents: Tensor<B, 2>) -> Tensor<B, 4> {
        let [n, _] = latents.dims();
        latents
            .matmul(self.weight.val())
            .reshape([n, 1, SIDE, SIDE])
    }
}

/// The generator with `W[pixel, latent] = weight(pixel, latent)` and d latents.
pub(crate) fn linear(d: usize, weight: impl Fn(usize, usize) -> f64) -> Linear<Autodiff<Flex>> {
    let rows = (0..d).flat_map(|latent| (0..PIXELS).map(move |pixel| (pixel, latent)));
    let values: Vec<f32> = rows
        .map(|(pixel, latent)| weight(pixel, latent) as f32)
        .collect();
    let values = TensorData::new(values, [d, PIXELS]);
    Linear {
        weight: Param::from_tensor(Tensor::from_data(values, &Default::default())),
    }
}
