//! The generator's convolutions as matrices, for both ways.

use cubecl::prelude::*;

use super::{
    repack::{Reading, Repacking},
    values::Values,
};
use crate::shape::{Affine, Head, Parameters, Residual, Shape};

/// The matrices of a convolution and of its way back, `[tap][in][out]`.
#[derive(Clone, Debug)]
pub(super) struct Both {
    pub(super) down: Values,
    pub(super) up: Values,
}

/// The matrices of a residual block.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) conv1: Both,
    pub(super) conv2: Both,
}

/// A generator's weights, and its convolutions in the kernels' layouts.
#[derive(Clone, Debug)]
pub struct Packed {
    pub(super) parameters: Values,
    /// The projections' transposed convolutions.
    pub(super) deconvs: Vec<Both>,
    pub(super) blocks: Vec<Block>,
    /// Those of mean and scale: one after the other on the way down, side by side on the way up.
    pub(super) heads: Vec<Both>,
    pub(super) refine: Vec<Block>,
    /// The transposed convolutions 4x4 that double the maps; the last makes the image.
    pub(super) doublings: Vec<Both>,
}

impl Packed {
    pub(super) fn new<R: Runtime>(
        client: &ComputeClient<R>,
        shape: &Shape,
        places: &Parameters,
        parameters: Values,
    ) -> Self {
        let packing = Packing {
            client,
            parameters: &parameters,
        };
        let f = shape.features;
        let block = |of: &Residual| Block {
            conv1: packing.conv(&of.conv1, [f, f, 5]),
            conv2: packing.conv(&of.conv2, [f, f, 3]),
        };
        let deconvs = places.layers.iter().map(|layer| Both {
            down: packing.one(Reading::Turned, layer.deconv, [shape.seed_channels, f, 5]),
            up: packing.one(Reading::Straight, layer.deconv, [shape.seed_channels, f, 5]),
        });
        let heads = places.heads.iter().zip(&shape.head_channels);
        Self {
            deconvs: deconvs.collect(),
            blocks: places
                .layers
                .iter()
                .map(|layer| block(&layer.block))
                .collect(),
            heads: heads
                .map(|(heads, c)| packing.heads(heads, [*c, f]))
                .collect(),
            refine: places.refine.iter().map(block).collect(),
            doublings: doublings(shape, places)
                .map(|(of, outputs)| Both {
                    down: packing.one(Reading::Quarters, of.weight, [f, outputs, 4]),
                    up: packing.one(Reading::Straight, of.weight, [f, outputs, 4]),
                })
                .collect(),
            parameters,
        }
    }
}

/// The transposed convolutions that double the maps, each with its output channels.
pub(super) fn doublings<'a>(
    shape: &'a Shape,
    places: &'a Parameters,
) -> impl DoubleEndedIterator<Item = (&'a Affine, usize)> {
    let first = places.doubling.iter().map(|of| (of, shape.features));
    first.chain([(&places.output, shape.image_channels)])
}

struct Packing<'a, R: Runtime> {
    client: &'a ComputeClient<R>,
    parameters: &'a Values,
}

impl<R: Runtime> Packing<'_, R> {
    fn one(&self, reading: Reading, at: usize, shape: [usize; 3]) -> Values {
        let repacking = Repacking::new(reading, at, shape);
        let to = Values::empty(self.client, repacking.length());
        repacking.run(self.client, self.parameters, &to);
        to
    }

    fn conv(&self, of: &Affine, shape: [usize; 3]) -> Both {
        Both {
            down: self.one(Reading::Straight, of.weight, shape),
            up: self.one(Reading::Turned, of.weight, shape),
        }
    }

    fn heads(&self, heads: &[Head; 2], [channels, features]: [usize; 2]) -> Both {
        let length = channels * features * 25;
        let both = Both {
            down: Values::empty(self.client, 2 * length),
            up: Values::empty(self.client, 2 * length),
        };
        for (i, head) in heads.iter().enumerate() {
            let shape = [channels, features, 5];
            let down = Repacking {
                to: i * length,
                ..Repacking::new(Reading::Straight, head.conv.weight, shape)
            };
            down.run(self.client, self.parameters, &both.down);
            let up = Repacking {
                inputs: [2 * channels, i * channels],
                ..Repacking::new(Reading::Turned, head.conv.weight, shape)
            };
            up.run(self.client, self.parameters, &both.up);
        }
        both
    }
}
