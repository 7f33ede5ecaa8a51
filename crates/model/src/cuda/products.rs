//! Convolutions and products of matrices on the CUDA backend and on its autodiff, by our own kernels,
//! nearly in float32: for generators that the fused kernels do not run.
//!
//! Each gives `None` if the tensors are on no such backend, or the kernels do not know the shapes.

use std::any::Any;

use burn::{
    backend::{
        Cuda,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::NoCheckpointing},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
    },
    prelude::*,
    tensor::TensorPrimitive,
};
use cubecl::cuda::CudaRuntime;

use super::{
    Values,
    tensors::{Form, convolve, correlate, multiply},
};
use crate::{
    explicit,
    fused::{Tracked, tracked},
};

/// The convolution of stride 1 of x `[n, in, h, w]`, without bias; weight `[out, in, k, k]`.
pub(crate) fn convolution<B: Backend>(
    x: &Tensor<B, 4>,
    weight: &Tensor<B, 4>,
    padding: usize,
) -> Option<Tensor<B, 4>> {
    Product::Convolution { padding }.of(x, weight)
}

/// The transposed convolution 4x4 of stride 2 and padding 1 of x `[n, in, h, w]`, without bias; weight
/// `[in, out, 4, 4]`.
pub(crate) fn doubling<B: Backend>(
    x: &Tensor<B, 4>,
    weight: &Tensor<B, 4>,
) -> Option<Tensor<B, 4>> {
    Product::Doubling.of(x, weight)
}

/// The convolution 4x4 of stride 2 and padding 1 of x `[n, in, h, w]`, without bias; weight
/// `[out, in, 4, 4]`.
pub(crate) fn halving<B: Backend>(x: &Tensor<B, 4>, weight: &Tensor<B, 4>) -> Option<Tensor<B, 4>> {
    let [_, _, h, w] = x.dims();
    // The kernel knows no fine grid of odd sides.
    (h % 2 == 0 && w % 2 == 0).then(|| Product::Halving.of(x, weight))?
}

/// `[n, in]` times `[in, out]`.
pub(crate) fn matrices<B: Backend>(
    x: &Tensor<B, 2>,
    weight: &Tensor<B, 2>,
) -> Option<Tensor<B, 2>> {
    let [x, weight] = [x, weight].map(|matrix| matrix.clone().unsqueeze::<4>());
    let done = Product::Matrices.of(&x, &weight)?;
    Some(as_matrix(done))
}

fn as_matrix<B: Backend>(tensor: Tensor<B, 4>) -> Tensor<B, 2> {
    let [_, _, rows, columns] = tensor.dims();
    tensor.reshape([rows, columns])
}

/// What is linear in an input and in a weight.
#[derive(Clone, Copy, Debug)]
enum Product {
    Convolution {
        padding: usize,
    },
    Doubling,
    Halving,
    /// In the last two dimensions; the others are 1.
    Matrices,
}

/// What the way back needs.
#[derive(Clone, Debug)]
struct Saved {
    x: Values,
    weight: Values,
}

impl Product {
    fn of<B: Backend>(self, x: &Tensor<B, 4>, weight: &Tensor<B, 4>) -> Option<Tensor<B, 4>> {
        if let Some(done) = self.make(x, weight) {
            return Some(done);
        }
        let tracked = tracked::<CudaRuntime, Cuda, B, 4>;
        let (x, weight) = (tracked(x.clone())?, tracked(weight.clone())?);
        let done: Box<dyn Any> = Box::new(self.learned(x, weight)?);
        let primitive = done.downcast::<B::FloatTensorPrimitive>().ok()?;
        Some(Tensor::from_primitive(TensorPrimitive::Float(*primitive)))
    }

    /// On the CUDA backend.
    fn make<B: Backend>(self, x: &Tensor<B, 4>, weight: &Tensor<B, 4>) -> Option<Tensor<B, 4>> {
        match self {
            Self::Convolution { padding } => convolve(x, weight, Form::Plain, padding),
            Self::Doubling => convolve(x, weight, Form::Doubling, 1),
            Self::Halving => convolve(x, weight, Form::Halving, 1),
            Self::Matrices => {
                let [x, weight] = [x, weight].map(|tensor| as_matrix(tensor.clone()).unsqueeze());
                multiply(&x, &weight).map(|product| product.unsqueeze())
            }
        }
    }

    /// On its autodiff.
    fn learned(self, x: Tracked<Cuda>, weight: Tracked<Cuda>) -> Option<Tracked<Cuda>> {
        let saved = Saved {
            x: x.primitive,
            weight: weight.primitive,
        };
        let (of_x, of_weight) = (raised(saved.x.clone()), raised(saved.weight.clone()));
        let made = self.make(&of_x, &of_weight)?;
        // As many places as the gradient of the weights can do.
        let [_, _, h, w] = match self {
            Self::Convolution { .. } | Self::Halving => made.dims(),
            Self::Doubling | Self::Matrices => of_x.dims(),
        };
        if !matches!(self, Self::Matrices) && !(h * w).is_multiple_of(4) {
            return None;
        }
        let made = lowered(made);
        let prepared = self
            .prepare::<NoCheckpointing>([x.node, weight.node])
            .compute_bound()
            .stateful();
        Some(match prepared {
            OpsKind::Tracked(prepared) => prepared.finish(saved, made),
            OpsKind::UnTracked(prepared) => prepared.finish(made),
        })
    }

    /// The gradient in x.
    fn in_x(self, above: Tensor<Cuda, 4>, weight: Tensor<Cuda, 4>) -> Tensor<Cuda, 4> {
        match self {
            Self::Convolution { padding } => {
                let forward = explicit::Convolution {
                    weight,
                    bias: None,
                    padding,
                };
                forward.transposed().apply(above)
            }
            Self::Doubling => explicit::Deconv::new(weight, None).vjp(above),
            Self::Halving => explicit::Deconv::new(weight, None).forward(above),
            Self::Matrices => {
                explicit::multiply(as_matrix(above), as_matrix(weight).transpose()).unsqueeze()
            }
        }
    }

    /// The gradient in the weight.
    fn in_weight(
        self,
        above: Tensor<Cuda, 4>,
        x: Tensor<Cuda, 4>,
        kernel: usize,
    ) -> Tensor<Cuda, 4> {
        let done = match self {
            Self::Convolution { padding } => correlate(&above, &x, kernel, 1, padding),
            Self::Doubling => correlate(&x, &above, kernel, 2, 1),
            Self::Halving => correlate(&above, &x, kernel, 2, 1),
            Self::Matrices => {
                Some(explicit::multiply(as_matrix(x).transpose(), as_matrix(above)).unsqueeze())
            }
        };
        match done {
            Some(done) => done,
            None => unreachable!("places that were checked on the way there"),
        }
    }
}

fn raised(values: Values) -> Tensor<Cuda, 4> {
    Tensor::from_primitive(TensorPrimitive::Float(values))
}

fn lowered(tensor: Tensor<Cuda, 4>) -> Values {
    match tensor.into_primitive() {
        TensorPrimitive::Float(values) => values,
        TensorPrimitive::QFloat(_) => unreachable!("a float tensor"),
    }
}

impl Backward<Cuda, 2> for Product {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let above = raised(gradients.consume::<Cuda>(&ops.node));
        let [x, weight] = ops.parents;
        let saved = ops.state;
        let (of_x, of_weight) = (raised(saved.x), raised(saved.weight));
        let kernel = of_weight.dims()[2];
        if let Some(node) = x {
            let done = self.in_x(above.clone(), of_weight);
            gradients.register::<Cuda>(node.id, lowered(done));
        }
        if let Some(node) = weight {
            let done = self.in_weight(above, of_x, kernel);
            gradients.register::<Cuda>(node.id, lowered(done));
        }
    }
}
