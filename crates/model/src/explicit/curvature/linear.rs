//! The linear maps of the network without their biases, and their transposes: what tangents and
//! adjoints go through.

use burn::{
    nn::{Linear as Dense, conv::ConvTranspose2d},
    prelude::*,
};

use super::super::{conv::Convolution, output::Deconv};
#[cfg(feature = "flex")]
use crate::host::linear as host;

/// A linear map of rows of units, and the bias that the value itself gets.
#[derive(Clone, Debug)]
pub(super) struct Linear<B: Backend> {
    map: Map<B>,
    /// `[1, 1, out]`
    bias: Option<Tensor<B, 3>>,
    inputs: usize,
    outputs: usize,
}

#[derive(Clone, Debug)]
enum Map<B: Backend> {
    /// `[in, out]`
    Dense(Tensor<B, 2>),
    /// Two dense maps side by side, each from its half of the inputs.
    Halves(Tensor<B, 2>, Tensor<B, 2>),
    /// Feature maps of these shapes.
    Maps {
        by: Maps<B>,
        from: [usize; 3],
        to: [usize; 3],
    },
}

/// A linear map between feature maps.
#[derive(Clone, Debug)]
enum Maps<B: Backend> {
    Convolution {
        value: Box<Convolution<B>>,
        transposed: Box<Convolution<B>>,
    },
    Doubling(Box<Deconv<B>>),
    /// Our own kernels, on the CPU backend.
    #[cfg(feature = "flex")]
    Host(Box<host::Convolution>),
}

impl<B: Backend> Linear<B> {
    pub(super) fn dense(dense: &Dense<B>) -> Self {
        let weight = dense.weight.val();
        let [inputs, outputs] = weight.dims();
        Self {
            map: Map::Dense(weight),
            bias: dense.bias.as_ref().map(|bias| bias.val().unsqueeze()),
            inputs,
            outputs,
        }
    }

    /// Two dense layers side by side.
    pub(super) fn halves(first: &Dense<B>, second: &Dense<B>) -> Self {
        let weights = [first, second].map(|dense| dense.weight.val());
        let [inputs, outputs] = weights[0].dims();
        let bias = match (&first.bias, &second.bias) {
            (Some(first), Some(second)) => {
                Some(Tensor::cat(vec![first.val(), second.val()], 0).unsqueeze())
            }
            _ => None,
        };
        let [first, second] = weights;
        Self {
            map: Map::Halves(first, second),
            bias,
            inputs: 2 * inputs,
            outputs: 2 * outputs,
        }
    }

    /// A convolution of feature maps of height and width `size`.
    pub(super) fn convolution(conv: Convolution<B>, size: usize) -> Self {
        let [outputs, inputs, kernel, _] = conv.weight.dims();
        let after = size + 2 * conv.padding + 1 - kernel;
        let (from, to) = ([inputs, size, size], [outputs, after, after]);
        Self::maps(Maps::convolution(&conv), conv.bias, from, to)
    }

    /// A transposed convolution that doubles feature maps of height and width `size`.
    pub(super) fn doubling(deconv: &ConvTranspose2d<B>, size: usize) -> Self {
        let weight = deconv.weight.val();
        let [inputs, outputs, ..] = weight.dims();
        let bias = deconv.bias.as_ref().map(|bias| bias.val());
        let (from, to) = ([inputs, size, size], [outputs, 2 * size, 2 * size]);
        Self::maps(
            Maps::Doubling(Box::new(Deconv::new(weight, None))),
            bias,
            from,
            to,
        )
    }

    fn maps(by: Maps<B>, bias: Option<Tensor<B, 1>>, from: [usize; 3], to: [usize; 3]) -> Self {
        let [c, h, w] = to;
        Self {
            map: Map::Maps { by, from, to },
            bias: bias.map(|bias| {
                bias.reshape([c, 1])
                    .expand([c, h * w])
                    .reshape([1, 1, c * h * w])
            }),
            inputs: from.iter().product(),
            outputs: c * h * w,
        }
    }

    /// The number of units that come out.
    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }

    /// With the bias.
    pub(super) fn value(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        let y = self.apply(x);
        match &self.bias {
            Some(bias) => y + bias.clone(),
            None => y,
        }
    }

    /// Without the bias.
    ///
    /// # Shapes
    /// `[n, m, in]` to `[n, m, out]`
    pub(super) fn apply(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        let [n, m, _] = x.dims();
        match &self.map {
            Map::Dense(weight) => dense(x, weight.clone()),
            Map::Halves(first, second) => {
                let halves = [first, second].map(Tensor::clone);
                by_halves(x, self.inputs / 2, halves)
            }
            Map::Maps { by, from, .. } => {
                let [c, h, w] = *from;
                by.apply(x.reshape([n * m, c, h, w]))
                    .reshape([n, m, self.outputs])
            }
        }
    }

    /// # Shapes
    /// `[n, m, out]` to `[n, m, in]`
    pub(super) fn transposed(&self, g: Tensor<B, 3>) -> Tensor<B, 3> {
        let [n, m, _] = g.dims();
        match &self.map {
            Map::Dense(weight) => dense(g, weight.clone().transpose()),
            Map::Halves(first, second) => {
                let halves = [first, second].map(|weight| weight.clone().transpose());
                by_halves(g, self.outputs / 2, halves)
            }
            Map::Maps { by, to, .. } => {
                let [c, h, w] = *to;
                by.transposed(g.reshape([n * m, c, h, w]))
                    .reshape([n, m, self.inputs])
            }
        }
    }
}

/// `[n, m, a]` times `[a, b]`, as one product.
fn dense<B: Backend>(x: Tensor<B, 3>, weight: Tensor<B, 2>) -> Tensor<B, 3> {
    let ([n, m, a], [_, b]) = (x.dims(), weight.dims());
    x.reshape([n * m, a]).matmul(weight).reshape([n, m, b])
}

fn by_halves<B: Backend>(x: Tensor<B, 3>, half: usize, weights: [Tensor<B, 2>; 2]) -> Tensor<B, 3> {
    let [first, second] = weights;
    let (before, after) = (
        x.clone().slice_dim(2, 0..half),
        x.slice_dim(2, half..2 * half),
    );
    Tensor::cat(vec![dense(before, first), dense(after, second)], 2)
}

impl<B: Backend> Maps<B> {
    fn convolution(conv: &Convolution<B>) -> Self {
        let value = Convolution {
            bias: None,
            ..conv.clone()
        };
        #[cfg(feature = "flex")]
        if let Some(host) = host::Convolution::new(&value.weight, value.padding) {
            return Self::Host(Box::new(host));
        }
        Self::Convolution {
            transposed: Box::new(value.transposed()),
            value: Box::new(value),
        }
    }

    fn apply(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        match self {
            Self::Convolution { value, .. } => value.apply(x),
            Self::Doubling(deconv) => deconv.forward(x),
            #[cfg(feature = "flex")]
            Self::Host(host) => host.apply(x),
        }
    }

    fn transposed(&self, g: Tensor<B, 4>) -> Tensor<B, 4> {
        match self {
            Self::Convolution { transposed, .. } => transposed.apply(g),
            Self::Doubling(deconv) => deconv.vjp(g),
            #[cfg(feature = "flex")]
            Self::Host(host) => host.transposed(g),
        }
    }
}
