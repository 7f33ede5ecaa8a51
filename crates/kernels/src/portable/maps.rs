//! Memory for a batch on its way down and back up.

use cubecl::prelude::*;

use super::{
    conv::parts,
    latents::{Columns, Given},
    values::Values,
};
use crate::shape::Shape;

/// A residual block. What is pulled is the gradient on the way up.
pub(super) struct Block {
    pub(super) inner: Values,
    pub(super) inner_slope: Values,
    pub(super) outer_slope: Values,
    pub(super) features: Values,
    /// In the features, and that times the outer slope.
    pub(super) pulled: Values,
    pub(super) pulled_outer: Values,
    /// In what the first convolution gave before its GELU.
    pub(super) pulled_inner: Values,
}

/// A layer: its projection and its block.
pub(super) struct Layer {
    pub(super) columns: Columns,
    pub(super) seed: Values,
    pub(super) seed_slope: Values,
    pub(super) map: Values,
    pub(super) map_slope: Values,
    pub(super) block: Block,
    pub(super) pulled_map: Values,
    pub(super) pulled_seed: Values,
    /// The gradient in the layer's input, in so many parts.
    pub(super) pulled_latent: Values,
    pub(super) latent_parts: usize,
}

/// The heads between two layers.
pub(super) struct Heads {
    pub(super) maps: Values,
    pub(super) slope: Values,
    /// What the linear layers gave, in so many parts.
    pub(super) sums: Values,
    pub(super) parts: usize,
    pub(super) given: Given,
    pub(super) pulled: Values,
}

/// Maps of twice the size, between two transposed convolutions.
pub(super) struct Doubled {
    pub(super) features: Values,
    pub(super) slope: Values,
    /// In what the transposed convolution gave before its GELU.
    pub(super) pulled: Values,
}

/// All of it.
pub(super) struct Maps {
    pub(super) layers: Vec<Layer>,
    pub(super) heads: Vec<Heads>,
    pub(super) refine: Vec<Block>,
    pub(super) doubled: Option<Doubled>,
    /// The images before tanh, and the gradient there.
    pub(super) image: Values,
    pub(super) pulled_image: Values,
}

impl Maps {
    pub(super) fn empty<R: Runtime>(
        client: &ComputeClient<R>,
        shape: &Shape,
        images: usize,
    ) -> Self {
        let pixels = shape.size * shape.size;
        let empty = |length: usize| Values::empty(client, images * length);
        let map = || empty(shape.features * pixels);
        let block = || Block {
            inner: map(),
            inner_slope: map(),
            outer_slope: map(),
            features: map(),
            pulled: map(),
            pulled_outer: map(),
            pulled_inner: map(),
        };
        let seeds = shape.seed_channels * pixels;
        let tiles = |outputs: usize| images.div_ceil(64) * outputs.div_ceil(64);
        let layers: Vec<Layer> = (0..shape.latents.len())
            .map(|layer| {
                let columns = shape.columns(layer);
                let columns = Columns {
                    images,
                    all: shape.dim(),
                    size: columns.len(),
                    begin: columns.start,
                };
                let latent_parts = parts(tiles(columns.size), seeds);
                Layer {
                    columns,
                    seed: empty(seeds),
                    seed_slope: empty(seeds),
                    map: map(),
                    map_slope: map(),
                    block: block(),
                    pulled_map: map(),
                    pulled_seed: empty(seeds),
                    pulled_latent: empty(latent_parts * columns.size),
                    latent_parts,
                }
            })
            .collect();
        let head_pixels = (shape.size - 4) * (shape.size - 4);
        let heads = layers[1..]
            .iter()
            .zip(&shape.head_channels)
            .map(|(below, channels)| {
                let size = below.columns.size;
                let length = channels * head_pixels;
                let parts = parts(2 * tiles(size), length);
                Heads {
                    maps: empty(2 * length),
                    slope: empty(2 * length),
                    sums: empty(2 * parts * size),
                    parts,
                    given: Given::empty(client, below.columns),
                    pulled: empty(2 * length),
                }
            })
            .collect();
        let image = shape.image_values();
        let doubled = || empty(shape.features * 4 * pixels);
        Self {
            layers,
            heads,
            refine: (0..shape.refine_blocks).map(|_| block()).collect(),
            doubled: (shape.doublings == 2).then(|| Doubled {
                features: doubled(),
                slope: doubled(),
                pulled: doubled(),
            }),
            image: empty(image),
            pulled_image: empty(image),
        }
    }

    /// The blocks in the order of the way down.
    pub(super) fn blocks(&self) -> impl DoubleEndedIterator<Item = &Block> {
        let layers = self.layers.iter().map(|layer| &layer.block);
        layers.chain(&self.refine)
    }

    /// The last block.
    pub(super) fn last(&self) -> &Block {
        match self.blocks().next_back() {
            Some(block) => block,
            None => unreachable!("a generator has a layer"),
        }
    }
}
