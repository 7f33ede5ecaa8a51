//! The network, without its classifier.

use burn::prelude::*;

use super::{
    blocks::{BlockA, BlockB, BlockC, BlockD, BlockE, Pool, halve},
    conv::{ConvUnit, Maker},
};

/// What the numbers of channels may be divided by.
pub(super) const NARROWER: [usize; 5] = [1, 2, 4, 8, 16];

/// Values of a feature at full width.
const FEATURES: usize = 2048;

/// Inception v3 (Szegedy et al., 2016) as FID has it: pooled as TensorFlow's graph of 2015 pools.
#[derive(Module, Debug)]
pub struct InceptionV3<B: Backend> {
    conv2d_1a_3x3: ConvUnit<B>,
    conv2d_2a_3x3: ConvUnit<B>,
    conv2d_2b_3x3: ConvUnit<B>,
    conv2d_3b_1x1: ConvUnit<B>,
    conv2d_4a_3x3: ConvUnit<B>,
    mixed_5b: BlockA<B>,
    mixed_5c: BlockA<B>,
    mixed_5d: BlockA<B>,
    mixed_6a: BlockB<B>,
    mixed_6b: BlockC<B>,
    mixed_6c: BlockC<B>,
    mixed_6d: BlockC<B>,
    mixed_6e: BlockC<B>,
    mixed_7a: BlockD<B>,
    mixed_7b: BlockE<B>,
    mixed_7c: BlockE<B>,
    features: usize,
}

/// Width of an [`InceptionV3`].
#[derive(Config, Debug)]
pub struct InceptionV3Config {
    /// What all numbers of channels are divided by: 1 for the network of FID, with 2048 features;
    /// 2, 4, 8 or 16 for quick trials.
    #[config(default = 1)]
    pub narrower: usize,
}

impl InceptionV3Config {
    /// The network, to be given weights.
    ///
    /// # Panics
    /// If `narrower` is 0 or leaves no channels ([`Inception::load_as`](super::Inception::load_as)
    /// refuses what is not named there).
    pub fn init<B: Backend>(&self, device: &B::Device) -> InceptionV3<B> {
        let narrower = self.narrower;
        let make = &Maker { narrower, device };
        InceptionV3 {
            conv2d_1a_3x3: make.valid(3, 32, 3, 2),
            conv2d_2a_3x3: make.valid(32, 32, 3, 1),
            conv2d_2b_3x3: make.same(32, 64, [3, 3]),
            conv2d_3b_1x1: make.valid(64, 80, 1, 1),
            conv2d_4a_3x3: make.valid(80, 192, 3, 1),
            mixed_5b: BlockA::new(make, 192, 32),
            mixed_5c: BlockA::new(make, 256, 64),
            mixed_5d: BlockA::new(make, 288, 64),
            mixed_6a: BlockB::new(make, 288),
            mixed_6b: BlockC::new(make, 128),
            mixed_6c: BlockC::new(make, 160),
            mixed_6d: BlockC::new(make, 160),
            mixed_6e: BlockC::new(make, 192),
            mixed_7a: BlockD::new(make, 768),
            mixed_7b: BlockE::new(make, 1280),
            mixed_7c: BlockE::new(make, FEATURES),
            features: FEATURES / narrower,
        }
    }
}

impl<B: Backend> InceptionV3<B> {
    /// Length of a feature.
    pub fn features(&self) -> usize {
        self.features
    }

    /// Features `[n, features]` of images `[n, 3, h, w]` in [-1, 1], at least 75 pixels a side.
    pub fn forward(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let x = self.conv2d_1a_3x3.forward(images);
        let x = self.conv2d_2a_3x3.forward(x);
        let x = halve(self.conv2d_2b_3x3.forward(x));
        let x = self.conv2d_3b_1x1.forward(x);
        let x = halve(self.conv2d_4a_3x3.forward(x));
        let x = self.mixed_5b.forward(x);
        let x = self.mixed_5c.forward(x);
        let x = self.mixed_5d.forward(x);
        let x = self.mixed_6a.forward(x);
        let x = self.mixed_6b.forward(x);
        let x = self.mixed_6c.forward(x);
        let x = self.mixed_6d.forward(x);
        let x = self.mixed_6e.forward(x);
        let x = self.mixed_7a.forward(x);
        let x = self.mixed_7b.forward(x, Pool::Average);
        let x = self.mixed_7c.forward(x, Pool::Maximum);
        x.flatten::<3>(2, 3).mean_dim(2).squeeze_dim(2)
    }
}
