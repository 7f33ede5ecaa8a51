//! Normal distributions with independent coordinates.

use burn::prelude::*;

/// A normal distribution with independent coordinates for each example of a batch.
#[derive(Clone, Debug)]
pub struct Gaussian<B: Backend> {
    /// `[n, d]`
    pub mean: Tensor<B, 2>,
    /// Standard deviations, `[n, d]`.
    pub scale: Tensor<B, 2>,
}

impl<B: Backend> Gaussian<B> {
    /// The standard normal distribution, in the shape of this one.
    pub fn standard_like(&self) -> Self {
        Self {
            mean: self.mean.zeros_like(),
            scale: self.scale.ones_like(),
        }
    }

    /// `mean + scale * noise`: a draw, if the noise `[n, d]` is standard normal (the
    /// reparameterisation trick).
    pub fn at(&self, noise: Tensor<B, 2>) -> Tensor<B, 2> {
        self.mean.clone() + self.scale.clone() * noise
    }

    /// The normalised product of two densities: precisions add, and weigh the means.
    pub fn product(&self, other: &Self) -> Self {
        let precision = |of: &Self| of.scale.clone().square().recip();
        let (ours, theirs) = (precision(self), precision(other));
        let variance = (ours.clone() + theirs.clone()).recip();
        let mean = self.mean.clone() * ours + other.mean.clone() * theirs;
        Self {
            mean: mean * variance.clone(),
            scale: variance.sqrt(),
        }
    }

    /// `KL(self || other)` of each example in nats, `[n]`.
    pub fn divergence(&self, other: &Self) -> Tensor<B, 1> {
        let ratio = self.scale.clone() / other.scale.clone();
        let shift = (self.mean.clone() - other.mean.clone()) / other.scale.clone();
        let twice = ratio.clone().square() + shift.square() - ratio.log() * 2.0 - 1.0;
        twice.sum_dim(1).squeeze_dim(1) * 0.5
    }
}
