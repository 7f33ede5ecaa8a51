//! The explicit passes on the CPU backend, by our own kernels.

use burn::prelude::*;
use shortrun_kernels::cpu::{Conv2d, Epilogue, Input, Upsample};

use super::{Values, conv_shape, output_dims, tensor};

/// `GELU(conv(x))`, stride 1, and its vector-Jacobian product. Bias, GELU, slope and sums are done
/// on the convolutions' way in and out.
#[derive(Clone, Debug)]
pub(crate) struct ConvGelu {
    value: Conv2d,
    gradient: Conv2d,
}

impl ConvGelu {
    /// `None` if the weights are not on the CPU backend.
    pub(crate) fn new<B: Backend>(
        weight: &Tensor<B, 4>,
        bias: Option<&Tensor<B, 1>>,
        padding: usize,
    ) -> Option<Self> {
        let shape = conv_shape(weight, padding);
        let weight = Values::of(weight.clone())?;
        let bias = Values::of_bias(bias)?;
        Some(Self {
            value: Conv2d::new(&weight, bias.as_deref(), shape),
            gradient: Conv2d::input_gradient(&weight, shape),
        })
    }

    pub(crate) fn forward<B: Backend>(
        &self,
        x: Tensor<B, 4>,
        add: Vec<Tensor<B, 4>>,
    ) -> (Tensor<B, 4>, Tensor<B, 4>) {
        let device = x.device();
        let [n, _, height, width] = x.dims();
        let shape = output_dims(self.value.shape(), [n, height, width]);
        let length = shape.iter().product();
        let (mut activation, mut slope) = (vec![0.0; length], vec![0.0; length]);
        let (x, add) = (values(x), all_values(add));
        let add: Vec<&[f32]> = add.iter().map(|values| &**values).collect();
        self.value.run(
            Input::new(&x, [n, height, width]),
            Epilogue::gelu_with_slope(&mut slope).plus(&add),
            &mut activation,
        );
        (
            tensor(activation, shape, &device),
            tensor(slope, shape, &device),
        )
    }

    pub(crate) fn vjp<B: Backend>(
        &self,
        gradient: Tensor<B, 4>,
        slope: Tensor<B, 4>,
        add: Vec<Tensor<B, 4>>,
    ) -> Tensor<B, 4> {
        let device = gradient.device();
        let [n, _, height, width] = gradient.dims();
        let shape = output_dims(self.gradient.shape(), [n, height, width]);
        let mut result = vec![0.0; shape.iter().product()];
        let (gradient, slope, add) = (values(gradient), values(slope), all_values(add));
        let add: Vec<&[f32]> = add.iter().map(|values| &**values).collect();
        self.gradient.run(
            Input::new(&gradient, [n, height, width]).times(&slope),
            Epilogue::none().plus(&add),
            &mut result,
        );
        tensor(result, shape, &device)
    }
}

/// A transposed convolution 4x4 of stride 2 and padding 1, and its vector-Jacobian product.
#[derive(Clone, Debug)]
pub(crate) struct Doubling {
    kernel: Upsample,
    input_channels: usize,
    output_channels: usize,
}

impl Doubling {
    /// `None` if the weights are not on the CPU backend.
    pub(crate) fn new<B: Backend>(
        weight: &Tensor<B, 4>,
        bias: Option<&Tensor<B, 1>>,
    ) -> Option<Self> {
        let [input_channels, output_channels, ..] = weight.dims();
        let weight = Values::of(weight.clone())?;
        let bias = Values::of_bias(bias)?;
        Some(Self {
            kernel: Upsample::new(&weight, bias.as_deref(), input_channels, output_channels),
            input_channels,
            output_channels,
        })
    }

    pub(crate) fn forward<B: Backend>(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let device = x.device();
        let [n, _, height, width] = x.dims();
        let shape = [n, self.output_channels, 2 * height, 2 * width];
        let mut result = vec![0.0; shape.iter().product()];
        let input = values(x);
        self.kernel
            .run(Input::new(&input, [n, height, width]), &mut result);
        tensor(result, shape, &device)
    }

    pub(crate) fn vjp<B: Backend>(&self, gradient: Tensor<B, 4>) -> Tensor<B, 4> {
        let device = gradient.device();
        let [n, _, height, width] = gradient.dims();
        let shape = [n, self.input_channels, height / 2, width / 2];
        let mut result = vec![0.0; shape.iter().product()];
        let dims = [n, shape[2], shape[3]];
        self.kernel
            .input_gradient(&values(gradient), dims, Epilogue::none(), &mut result);
        tensor(result, shape, &device)
    }
}

/// Values of a tensor that shares its backend with weights that were on the CPU.
pub(super) fn values<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Values {
    match Values::of(tensor) {
        Some(values) => values,
        None => unreachable!("a float32 tensor of the CPU backend, as the weights are"),
    }
}

fn all_values<B: Backend>(tensors: Vec<Tensor<B, 4>>) -> Vec<Values> {
    tensors.into_iter().map(values).collect()
}
