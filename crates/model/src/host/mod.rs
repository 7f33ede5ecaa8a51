//! Reading and making tensors of Burn's CPU backend without copies, so that our own kernels can
//! work on them.
//!
//! Code above stays generic over the backend: whether it is the CPU's is asked at run time, by type.

pub(crate) mod explicit;
mod learned;
pub(crate) mod linear;
pub(crate) mod rows;

use std::any::Any;

use burn::{
    prelude::*,
    tensor::{DType, TensorData, TensorPrimitive},
};
use burn_flex::FlexTensor;
use shortrun_kernels::cpu::ConvShape;

pub(crate) use learned::conv;

/// The values of a tensor, row by row.
#[derive(Clone, Debug)]
pub(crate) struct Values(FlexTensor);

impl Values {
    /// `None` if the tensor is not on the CPU backend, or not float32.
    pub(crate) fn of<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Option<Self> {
        Self::of_primitive(&primitive_as::<FlexTensor, B, D>(tensor)?)
    }

    /// Of a bias that may be absent: `Some(None)` if it is, `None` as [`of`](Self::of).
    fn of_bias<B: Backend>(bias: Option<&Tensor<B, 1>>) -> Option<Option<Self>> {
        bias.map_or(Some(None), |bias| Self::of(bias.clone()).map(Some))
    }

    fn of_primitive(tensor: &FlexTensor) -> Option<Self> {
        (tensor.dtype() == DType::F32).then(|| Self(tensor.to_contiguous()))
    }
}

impl std::ops::Deref for Values {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.0.storage()
    }
}

/// What the tensor is made of, if that is a `P`.
fn primitive_as<P: 'static, B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Option<P> {
    let TensorPrimitive::Float(primitive) = tensor.into_primitive() else {
        return None;
    };
    let primitive: Box<dyn Any> = Box::new(primitive);
    primitive.downcast::<P>().ok().map(|found| *found)
}

/// A tensor of these values; on the CPU backend they are moved, not copied.
pub(crate) fn tensor<B: Backend, const D: usize>(
    values: Vec<f32>,
    shape: [usize; D],
    device: &B::Device,
) -> Tensor<B, D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// The convolution with this weight `[output channels, input channels, k, k]`.
fn conv_shape<B: Backend>(weight: &Tensor<B, 4>, padding: usize) -> ConvShape {
    let [output_channels, input_channels, kernel, _] = weight.dims();
    ConvShape {
        input_channels,
        output_channels,
        kernel,
        padding,
    }
}

/// Shape of a convolution's result on `n` images of `height` by `width`.
fn output_dims(shape: ConvShape, [n, height, width]: [usize; 3]) -> [usize; 4] {
    let [height, width] = [height, width].map(|size| shape.output_size(size));
    [n, shape.output_channels, height, width]
}
