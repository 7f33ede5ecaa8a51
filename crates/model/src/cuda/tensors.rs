//! Convolutions, products and sums of float32 tensors on the CUDA backend, by our own kernels: they
//! need no tuning, and use the tensor cores without losing float32's digits.
//!
//! Each gives `None` if the tensors are not on that backend, or the kernels do not know the shapes.

use std::any::Any;

use burn::{
    prelude::*,
    tensor::{DType, TensorPrimitive},
};
use shortrun_kernels::cuda::tensors::{self as kernels, Convolution, Matrices};

pub(crate) use kernels::Form;

use super::{Values, flat, tensor, values};

/// The convolution of stride 1 of x `[n, c, h, w]`, or of the [`Form`] of stride 2.
pub(crate) fn convolve<B: Backend>(
    x: &Tensor<B, 4>,
    weight: &Tensor<B, 4>,
    form: Form,
    padding: usize,
) -> Option<Tensor<B, 4>> {
    let [maps, c, h, w] = x.dims();
    let [first, second, kernel, _] = weight.dims();
    let of = match form {
        Form::Plain => Convolution {
            form,
            maps,
            inputs: c,
            outputs: first,
            size: [h, w],
            kernel,
            padding,
        },
        Form::Doubling => Convolution {
            form,
            maps,
            inputs: c,
            outputs: 4 * second,
            size: [h, w],
            kernel: 3,
            padding: 1,
        },
        Form::Halving => Convolution {
            form,
            maps,
            inputs: 4 * c,
            outputs: first,
            size: [h / 2, w / 2],
            kernel: 3,
            padding: 1,
        },
    };
    let made = |size: usize| match form {
        Form::Plain => size + 2 * padding + 1 - kernel,
        Form::Doubling => 2 * size,
        Form::Halving => size / 2,
    };
    let channels = if form == Form::Doubling {
        second
    } else {
        first
    };
    let x = values(flat(x.clone()))?;
    let weight = values(flat(weight.clone()))?.handle;
    let done = kernels::convolve(&x.client, x.handle.clone(), weight, &of)?;
    tensor(&x, done, [maps, channels, made(h), made(w)])
}

/// `[n, a, b]` times `[n, b, c]`; one batch serves all of the other's.
pub(crate) fn multiply<B: Backend>(
    left: &Tensor<B, 3>,
    right: &Tensor<B, 3>,
) -> Option<Tensor<B, 3>> {
    let ([n, rows, _], [m, _, columns]) = (left.dims(), right.dims());
    let like = of(left)?;
    let done = kernels::multiply(&like.client, &matrices(&like), &matrices(&of(right)?))?;
    tensor(&like, done, [n.max(m), rows, columns])
}

/// Sums over the rows of `a b`, both `[n, m, units]`: `[n, 1, units]`.
pub(crate) fn column_products<B: Backend>(
    a: &Tensor<B, 3>,
    b: &Tensor<B, 3>,
) -> Option<Tensor<B, 3>> {
    let shape = a.dims();
    let [first, second] = [a, b].map(|rows| values(flat(rows.clone())));
    let (first, second) = (first?, second?);
    let done = kernels::column_products(&first.client, first.handle.clone(), second.handle, shape);
    tensor(&first, done, [shape[0], 1, shape[2]])
}

/// As it lies there, in whatever order.
fn of<B: Backend>(tensor: &Tensor<B, 3>) -> Option<Values> {
    let TensorPrimitive::Float(primitive) = tensor.clone().into_primitive() else {
        return None;
    };
    let primitive: Box<dyn Any> = Box::new(primitive);
    let values = primitive.downcast::<Values>().ok()?;
    (values.dtype == DType::F32).then_some(*values)
}

fn matrices(values: &Values) -> Matrices {
    let [shape, strides] =
        [values.meta.shape().as_slice(), values.meta.strides()].map(|all| [all[0], all[1], all[2]]);
    Matrices {
        handle: values.handle.clone(),
        shape,
        strides,
    }
}
