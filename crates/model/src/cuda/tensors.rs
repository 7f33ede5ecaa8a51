//! Convolutions, products and sums of float32 tensors on the CUDA backend, by our own kernels: they
//! need no tuning, and use the tensor cores without losing float32's digits.
//!
//! Each gives `None` if the tensors are not on that backend, or the kernels do not know the shapes.

use std::any::Any;

use burn::{
    prelude::*,
    tensor::{DType, TensorPrimitive},
};
use cubecl::{client::ComputeClient, cuda::CudaRuntime, server::Handle};
use shortrun_kernels::cuda::tensors::{self as kernels, Convolution, Correlation, Matrices};

pub(crate) use kernels::Form;

use super::{Values, flat, tensor, values};

type Client = ComputeClient<CudaRuntime>;

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

/// Values of what [`correlate`] needs beside its operands, at most.
const ROOM: usize = 1 << 26;

/// The gradient `[a, b, kernel, kernel]` of a convolution's weights: sums over maps and places p of a
/// `[n, a, h, w]` times x `[n, b, height, width]` at `stride p + tap - padding`.
pub(crate) fn correlate<B: Backend>(
    a: &Tensor<B, 4>,
    x: &Tensor<B, 4>,
    kernel: usize,
    stride: usize,
    padding: usize,
) -> Option<Tensor<B, 4>> {
    let ([n, rows, h, w], [_, channels, height, width]) = (a.dims(), x.dims());
    let of = |maps: usize| Correlation {
        maps,
        rows,
        channels,
        places: [h, w],
        size: [height, width],
        kernel,
        stride,
        padding,
    };
    let at_once = (ROOM / of(1).room().max(1)).clamp(1, n.max(1));
    let mut sum: Option<Tensor<B, 4>> = None;
    for first in (0..n).step_by(at_once) {
        let maps = at_once.min(n - first);
        let [a, x] = [a, x].map(|maps_of| values(flat(maps_of.clone().narrow(0, first, maps))));
        let (a, x) = (a?, x?.handle);
        let done = kernels::correlate(&a.client, a.handle.clone(), x, &of(maps))?;
        let done = tensor(&a, done, [rows, channels, kernel, kernel])?;
        sum = Some(match sum {
            Some(sum) => sum + done,
            None => done,
        });
    }
    sum
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

/// `a_j by_a + b_j by_b` of rows a and b, with the example's own factors `[n, 1, units]`; b may be absent.
pub(crate) fn combine<B: Backend>(
    a: [&Tensor<B, 3>; 2],
    b: Option<[&Tensor<B, 3>; 2]>,
) -> Option<Tensor<B, 3>> {
    let shape = a[0].dims();
    let [n, _, units] = shape;
    let fits = |[rows, by]: [&Tensor<B, 3>; 2]| rows.dims() == shape && by.dims() == [n, 1, units];
    if !fits(a) || !b.is_none_or(fits) {
        return None;
    }
    let like = of(a[0])?;
    let handles = |[rows, by]: [&Tensor<B, 3>; 2]| {
        let [rows, by] = [rows, by].map(|tensor| values(flat(tensor.clone())));
        Some([rows?.handle, by?.handle])
    };
    let b = match b {
        Some(b) => Some(handles(b)?),
        None => None,
    };
    let done = kernels::combine(&like.client, shape, handles(a)?, b)?;
    tensor(&like, done, shape)
}

/// GELU and its slope.
pub(crate) fn gelu_with_slope<B: Backend, const D: usize>(
    x: &Tensor<B, D>,
) -> Option<[Tensor<B, D>; 2]> {
    by_value(x, kernels::gelu_with_slope)
}

/// GELU's second and third derivatives.
pub(crate) fn gelu_bends<B: Backend, const D: usize>(
    x: &Tensor<B, D>,
) -> Option<[Tensor<B, D>; 2]> {
    by_value(x, kernels::gelu_bends)
}

fn by_value<B: Backend, const D: usize>(
    x: &Tensor<B, D>,
    work: impl Fn(&Client, Handle, usize) -> [Handle; 2],
) -> Option<[Tensor<B, D>; 2]> {
    let shape: [usize; D] = x.dims();
    let like = values(flat(x.clone()))?;
    let [first, second] = work(&like.client, like.handle.clone(), shape.iter().product());
    Some([tensor(&like, first, shape)?, tensor(&like, second, shape)?])
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
