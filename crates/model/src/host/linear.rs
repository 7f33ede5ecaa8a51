//! Convolutions without biases on the CPU backend, by our own kernels.

use burn::prelude::*;
use shortrun_kernels::cpu::{Conv2d, Epilogue, Input};

use super::{Values, conv_shape, explicit::values, output_dims, tensor};

/// A convolution of stride 1 and its transpose.
#[derive(Clone, Debug)]
pub(crate) struct Convolution {
    value: Conv2d,
    transposed: Conv2d,
}

impl Convolution {
    /// `None` if the weights, `[out, in, k, k]`, are not on the CPU backend.
    pub(crate) fn new<B: Backend>(weight: &Tensor<B, 4>, padding: usize) -> Option<Self> {
        let shape = conv_shape(weight, padding);
        let weight = Values::of(weight.clone())?;
        Some(Self {
            value: Conv2d::new(&weight, None, shape),
            transposed: Conv2d::input_gradient(&weight, shape),
        })
    }

    pub(crate) fn apply<B: Backend>(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        run(&self.value, x)
    }

    pub(crate) fn transposed<B: Backend>(&self, g: Tensor<B, 4>) -> Tensor<B, 4> {
        run(&self.transposed, g)
    }
}

fn run<B: Backend>(conv: &Conv2d, x: Tensor<B, 4>) -> Tensor<B, 4> {
    let device = x.device();
    let [n, _, height, width] = x.dims();
    let shape = output_dims(conv.shape(), [n, height, width]);
    let mut result = vec![0.0; shape.iter().product()];
    let input = values(x);
    conv.run(
        Input::new(&input, [n, height, width]),
        Epilogue::none(),
        &mut result,
    );
    tensor(result, shape, &device)
}
