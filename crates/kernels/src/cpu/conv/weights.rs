//! Weights in the order in which the kernel reads them.

use std::ops::Range;

use super::ConvShape;

/// Blocks of `channels` output channels (the last may have fewer); in a block, for each input
/// channel, column and row of the kernel, the weights of the block's channels side by side.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    values: Vec<f32>,
    bias: Vec<f32>,
    channels: usize,
    /// Weights of one output channel.
    depth: usize,
}

impl Packed {
    /// `weight(output channel, input channel, row, column)`.
    pub(super) fn new(
        shape: &ConvShape,
        channels: usize,
        bias: Option<&[f32]>,
        weight: impl Fn(usize, usize, usize, usize) -> f32,
    ) -> Self {
        let &ConvShape {
            input_channels,
            output_channels,
            kernel,
            ..
        } = shape;
        let mut values = Vec::with_capacity(shape.weight_len());
        for start in (0..output_channels).step_by(channels) {
            let block = start..output_channels.min(start + channels);
            for i in 0..input_channels {
                for x in 0..kernel {
                    for y in 0..kernel {
                        values.extend(block.clone().map(|o| weight(o, i, y, x)));
                    }
                }
            }
        }
        Self {
            values,
            bias: bias.map_or_else(|| vec![0.0; output_channels], <[f32]>::to_vec),
            channels,
            depth: input_channels * kernel * kernel,
        }
    }

    /// Number of blocks.
    pub(super) fn blocks(&self) -> usize {
        self.bias.len().div_ceil(self.channels)
    }

    /// Output channels of a block.
    pub(super) fn channels(&self, block: usize) -> Range<usize> {
        let start = block * self.channels;
        start..self.bias.len().min(start + self.channels)
    }

    /// Weights of a block.
    pub(super) fn block(&self, block: usize) -> &[f32] {
        let Range { start, end } = self.channels(block);
        &self.values[start * self.depth..end * self.depth]
    }

    /// Bias of a block.
    pub(super) fn bias(&self, block: usize) -> &[f32] {
        &self.bias[self.channels(block)]
    }
}
