//! Additive coupling.

use burn::{module::Module, nn::conv::Conv2d, prelude::*, tensor::activation::relu};
use shortrun_model::{Init, conv};

/// Half the channels, shifted by a network's view of the other half: `y_a = x_a`,
/// `y_b = x_b + f(x_a)`. Its determinant is 1. (Dinh, Krueger and Bengio, 2015.)
#[derive(Module, Debug)]
pub struct Coupling<B: Backend> {
    /// 3x3, from `c / 2` channels.
    pub conv1: Conv2d<B>,
    /// 1x1
    pub conv2: Conv2d<B>,
    /// 3x3, to `c / 2` channels; zero at first, so that the coupling is the identity.
    pub conv3: Conv2d<B>,
}

impl<B: Backend> Coupling<B> {
    pub(crate) fn new(channels: usize, width: usize, init: &mut Init<'_, B>) -> Self {
        let half = channels / 2;
        Self {
            conv1: init.conv([half, width], 3, 1),
            conv2: init.conv([width, width], 1, 0),
            conv3: zero_conv([width, half], init),
        }
    }

    /// # Shapes
    /// `[n, c, h, w]`
    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let (a, b) = halves(x);
        let shift = self.shift(a.clone());
        Tensor::cat(vec![a, b + shift], 1)
    }

    /// The inverse of [`forward`](Self::forward).
    pub fn inverse(&self, y: Tensor<B, 4>) -> Tensor<B, 4> {
        let (a, b) = halves(y);
        let shift = self.shift(a.clone());
        Tensor::cat(vec![a, b - shift], 1)
    }

    fn shift(&self, a: Tensor<B, 4>) -> Tensor<B, 4> {
        let hidden = relu(same(&self.conv1, a));
        same(&self.conv3, relu(same(&self.conv2, hidden)))
    }
}

/// The first and the second half of the channels.
pub(super) fn halves<B: Backend>(x: Tensor<B, 4>) -> (Tensor<B, 4>, Tensor<B, 4>) {
    let half = x.dims()[1] / 2;
    (x.clone().narrow(1, 0, half), x.narrow(1, half, half))
}

/// The convolution, by the faster kernels where there are some; the image keeps its size.
pub(super) fn same<B: Backend>(layer: &Conv2d<B>, x: Tensor<B, 4>) -> Tensor<B, 4> {
    let [_, _, kernel, _] = layer.weight.dims();
    let bias = layer.bias.as_ref().map(|bias| bias.val());
    conv(x, layer.weight.val(), bias, kernel / 2)
}

/// A 3x3 convolution that begins at zero.
pub(super) fn zero_conv<B: Backend>(
    [inputs, outputs]: [usize; 2],
    init: &mut Init<'_, B>,
) -> Conv2d<B> {
    let mut layer = init.conv([inputs, outputs], 3, 1);
    let shape = [outputs, inputs, 3, 3];
    layer.weight = init.given(vec![0.0; outputs * inputs * 9], shape);
    layer.bias = Some(init.given(vec![0.0; outputs], [outputs]));
    layer
}
