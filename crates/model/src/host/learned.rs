//! `conv(x)` and `GELU(conv(x))` with gradients in the input, the weights and the bias, by our own kernels: an
//! operation of Burn's autodiff on the CPU backend.

use std::any::Any;

use burn::{
    backend::{
        Autodiff,
        autodiff::{
            NodeId,
            checkpoint::{base::Checkpointer, strategy::NoCheckpointing},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
    },
    prelude::*,
    tensor::{TensorData, TensorPrimitive, backend::BackendTypes},
};
use burn_flex::{Flex, FlexTensor};
use shortrun_kernels::cpu::{Conv2d, ConvShape, Epilogue, Input, weight_gradient};

use super::{Values, conv_shape, output_dims, primitive_as, tensor};

/// A tensor of the CPU backend's autodiff.
type Tracked = <Autodiff<Flex> as BackendTypes>::FloatTensorPrimitive;

/// The convolution, followed by a GELU if `gelu`.
///
/// `None` if the tensors are neither on the CPU backend nor on its autodiff with weights that are
/// being learned. (With frozen weights plain tensor operations stay in place: they are what the
/// explicit gradient is checked against.)
pub(crate) fn conv<B: Backend>(
    x: &Tensor<B, 4>,
    weight: &Tensor<B, 4>,
    bias: Option<&Tensor<B, 1>>,
    padding: usize,
    gelu: bool,
) -> Option<Tensor<B, 4>> {
    let shape = conv_shape(weight, padding);
    if let Some(weight) = Values::of(weight.clone()) {
        return untracked(x, &weight, bias, shape, gelu);
    }
    let weight = primitive_as::<Tracked, B, 4>(weight.clone()).filter(Tracked::is_tracked)?;
    let device = x.device();
    let bias = match bias {
        Some(bias) => bias.clone(),
        None => Tensor::zeros([shape.output_channels], &device),
    };
    let x = primitive_as::<Tracked, B, 4>(x.clone())?;
    let bias = primitive_as::<Tracked, B, 1>(bias)?;
    let done: Box<dyn Any> = Box::new(learned(x, weight, bias, shape, gelu)?);
    let primitive = done.downcast::<B::FloatTensorPrimitive>().ok()?;
    Some(Tensor::from_primitive(TensorPrimitive::Float(*primitive)))
}

fn untracked<B: Backend>(
    x: &Tensor<B, 4>,
    weight: &[f32],
    bias: Option<&Tensor<B, 1>>,
    shape: ConvShape,
    gelu: bool,
) -> Option<Tensor<B, 4>> {
    let [n, _, h, w] = x.dims();
    let bias = Values::of_bias(bias)?;
    let conv = Conv2d::new(weight, bias.as_deref(), shape);
    let result = output_dims(shape, [n, h, w]);
    let mut activation = vec![0.0; result.iter().product()];
    let values = Values::of(x.clone())?;
    let epilogue = match gelu {
        true => Epilogue::gelu(),
        false => Epilogue::none(),
    };
    conv.run(Input::new(&values, [n, h, w]), epilogue, &mut activation);
    Some(tensor(activation, result, &x.device()))
}

#[derive(Debug)]
struct Conv;

/// What the way back needs.
#[derive(Clone, Debug)]
struct Saved {
    x: Values,
    weight: Values,
    /// Of the GELU, if there is one.
    slope: Option<Vec<f32>>,
    shape: ConvShape,
    /// `[n, h, w]` of the input.
    dims: [usize; 3],
}

fn learned(
    x: Tracked,
    weight: Tracked,
    bias: Tracked,
    shape: ConvShape,
    gelu: bool,
) -> Option<Tracked> {
    let [n, _, h, w] = x.primitive.layout().shape().dims();
    let (input, weights) = (
        Values::of_primitive(&x.primitive)?,
        Values::of_primitive(&weight.primitive)?,
    );
    let biases = Values::of_primitive(&bias.primitive)?;
    let conv = Conv2d::new(&weights, Some(&biases), shape);
    let result = output_dims(shape, [n, h, w]);
    let length = result.iter().product();
    let mut activation = vec![0.0; length];
    let mut slope = gelu.then(|| vec![0.0; length]);
    let epilogue = match &mut slope {
        Some(slope) => Epilogue::gelu_with_slope(slope),
        None => Epilogue::none(),
    };
    conv.run(Input::new(&input, [n, h, w]), epilogue, &mut activation);
    let activation = primitive(activation, &result);
    let nodes = [x.node, weight.node, bias.node];
    let prepared = Conv
        .prepare::<NoCheckpointing>(nodes)
        .compute_bound()
        .stateful();
    Some(match prepared {
        OpsKind::Tracked(prepared) => prepared.finish(
            Saved {
                x: input,
                weight: weights,
                slope,
                shape,
                dims: [n, h, w],
            },
            activation,
        ),
        OpsKind::UnTracked(prepared) => prepared.finish(activation),
    })
}

fn primitive(values: Vec<f32>, shape: &[usize]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.to_vec()))
}

impl Backward<Flex, 3> for Conv {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<Flex>(&ops.node);
        let Some(gradient) = Values::of_primitive(&gradient) else {
            unreachable!("the gradient of a float32 tensor is one")
        };
        let saved = ops.state;
        let (shape, [n, h, w]) = (saved.shape, saved.dims);
        let above = || {
            let [n, _, height, width] = output_dims(shape, [n, h, w]);
            let gradient = Input::new(&gradient, [n, height, width]);
            match &saved.slope {
                Some(slope) => gradient.times(slope),
                None => gradient,
            }
        };
        let [x, weight, bias] = ops.parents.map(|node| node.map(|node| node.id));
        if let Some(id) = x {
            let mut result = vec![0.0; saved.x.len()];
            let conv = Conv2d::input_gradient(&saved.weight, shape);
            conv.run(above(), Epilogue::none(), &mut result);
            let size = [n, shape.input_channels, h, w];
            gradients.register::<Flex>(id, primitive(result, &size));
        }
        if weight.is_none() && bias.is_none() {
            return;
        }
        let mut for_weight = vec![0.0; saved.weight.len()];
        let mut for_bias = vec![0.0; shape.output_channels];
        weight_gradient(
            shape,
            Input::new(&saved.x, [n, h, w]),
            above(),
            &mut for_weight,
            Some(&mut for_bias),
        );
        let mut register = |id: Option<NodeId>, values: Vec<f32>, size: &[usize]| {
            if let Some(id) = id {
                gradients.register::<Flex>(id, primitive(values, size));
            }
        };
        let (co, ci, k) = (shape.output_channels, shape.input_channels, shape.kernel);
        register(weight, for_weight, &[co, ci, k, k]);
        register(bias, for_bias, &[co]);
    }
}
