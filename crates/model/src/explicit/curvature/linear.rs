//! The linear maps of the network without their biases, and their transposes: what tangents and
//! adjoints go through.

use burn::{
    nn::{Linear as Dense, conv::ConvTranspose2d},
    prelude::*,
};

use super::{
    super::{conv::Convolution, output::Deconv},
    rows::multiply,
};
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
    /// `[1, in, out]`
    Dense(Tensor<B, 3>),
    /// Two dense maps side by side, each from its half of the inputs.
    Halves([Tensor<B, 3>; 2]),
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
            map: Map::Dense(weight.unsqueeze_dim(0)),
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
        Self {
            map: Map::Halves(weights.map(|weight| weight.unsqueeze_dim(0))),
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
            Map::Dense(weight) => product(x, weight.clone()),
            Map::Halves(weights) => by_halves(x, self.inputs / 2, |i, half| {
                product(half, weights[i].clone())
            }),
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
            Map::Dense(weight) => product(g, weight.clone().swap_dims(1, 2)),
            Map::Halves(weights) => by_halves(g, self.outputs / 2, |i, half| {
                product(half, weights[i].clone().swap_dims(1, 2))
            }),
            Map::Maps { by, to, .. } => {
                let [c, h, w] = *to;
                by.transposed(g.reshape([n * m, c, h, w]))
                    .reshape([n, m, self.inputs])
            }
        }
    }
}

/// `[n, m, a]` times `[1, a, b]`.
fn product<B: Backend>(x: Tensor<B, 3>, weight: Tensor<B, 3>) -> Tensor<B, 3> {
    let ([n, m, a], [_, _, b]) = (x.dims(), weight.dims());
    if n == 1 {
        // No copy of an x that is part of a wider tensor.
        return multiply(x, weight);
    }
    // All examples as one product.
    multiply(x.reshape([1, n * m, a]), weight).reshape([n, m, b])
}

/// Each half of the last dimension by `map`, side by side again.
fn by_halves<B: Backend>(
    x: Tensor<B, 3>,
    half: usize,
    map: impl Fn(usize, Tensor<B, 3>) -> Tensor<B, 3>,
) -> Tensor<B, 3> {
    let halves = (0..2).map(|i| {
        let columns = i * half..(i + 1) * half;
        map(i, x.clone().slice_dim(2, columns))
    });
    Tensor::cat(halves.collect(), 2)
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
