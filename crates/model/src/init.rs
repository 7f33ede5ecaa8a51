//! Seeded starting weights.

use burn::{
    module::{Param, ParamId},
    nn::{
        Linear, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig},
    },
    prelude::*,
    tensor::TensorData,
};
use rand::RngExt;
use shortrun_langevin::{NoiseKey, Purpose};

/// Draws the starting weights of one layer after another: uniform within `± 1 / sqrt(fan_in)`, as
/// PyTorch does, from the seed and the layer's place alone.
///
/// For networks around a generator too: each takes a key, and so weights, of its own.
pub struct Init<'a, B: Backend> {
    key: NoiseKey,
    drawn: u64,
    device: &'a B::Device,
}

impl<'a, B: Backend> Init<'a, B> {
    /// Weights of a run's seed, for one network.
    pub fn new(seed: u64, network: Purpose, device: &'a B::Device) -> Self {
        let key = NoiseKey {
            seed,
            iteration: 0,
            purpose: network,
        };
        Self {
            key,
            drawn: 0,
            device,
        }
    }

    /// Where the weights are.
    pub fn device(&self) -> &'a B::Device {
        self.device
    }

    fn uniform<const D: usize>(&mut self, shape: [usize; D], fan_in: usize) -> Param<Tensor<B, D>> {
        let mut rng = self.key.rng(self.drawn);
        self.drawn += 1;
        let bound = 1.0 / (fan_in as f32).sqrt();
        let count = shape.iter().product();
        let values = (0..count).map(|_| rng.random_range(-bound..bound));
        self.given(values.collect(), shape)
    }

    /// A weight of these values, row by row.
    pub fn given<const D: usize>(
        &self,
        values: Vec<f32>,
        shape: [usize; D],
    ) -> Param<Tensor<B, D>> {
        let data = TensorData::new(values, shape);
        // Made on first use, as Burn's own layers are: only so does a parameter of a backend without
        // autodiff remember that it is to be learned once `Module::train` lifts it.
        Param::uninitialized(
            ParamId::new(),
            move |device, learned| {
                Tensor::from_data(data.clone(), device).set_require_grad(learned)
            },
            self.device.clone(),
            true,
            shape.into(),
        )
    }

    /// With a bias.
    pub fn linear(&mut self, inputs: usize, outputs: usize) -> Linear<B> {
        Linear {
            weight: self.uniform([inputs, outputs], inputs),
            bias: Some(self.uniform([outputs], inputs)),
        }
    }

    /// Of stride 1, with a bias.
    pub fn conv(
        &mut self,
        [inputs, outputs]: [usize; 2],
        kernel: usize,
        padding: usize,
    ) -> Conv2d<B> {
        let mut conv = Conv2dConfig::new([inputs, outputs], [kernel, kernel])
            .with_padding(PaddingConfig2d::Explicit(
                padding, padding, padding, padding,
            ))
            .init(self.device);
        let fan_in = inputs * kernel * kernel;
        conv.weight = self.uniform([outputs, inputs, kernel, kernel], fan_in);
        conv.bias = Some(self.uniform([outputs], fan_in));
        conv
    }

    /// A transposed convolution.
    pub fn deconv(
        &mut self,
        [inputs, outputs]: [usize; 2],
        kernel: usize,
        stride: usize,
        padding: usize,
        bias: bool,
    ) -> ConvTranspose2d<B> {
        let mut deconv = ConvTranspose2dConfig::new([inputs, outputs], [kernel, kernel])
            .with_stride([stride, stride])
            .with_padding([padding, padding])
            .with_bias(bias)
            .init(self.device);
        // PyTorch counts the fan-in of a transposed convolution on its output channels.
        let fan_in = outputs * kernel * kernel;
        deconv.weight = self.uniform([inputs, outputs, kernel, kernel], fan_in);
        deconv.bias = bias.then(|| self.uniform([outputs], fan_in));
        deconv
    }
}
