//! A Langevin step as programs: which operations in which launch, and where everything lies.

mod image;
mod maps;
mod ops;
mod weights;

use super::{
    conv::WARPS,
    linear::IMAGES,
    pack::{head_blocks, padded_channels},
    shape::Shape,
};

use self::{maps::Maps, ops::Builder};

pub(super) use self::{maps::Kept, weights::Weights};

/// Some operations, run by one launch on every image.
#[derive(Clone, Debug, Default)]
pub(super) struct Program {
    pub(super) begin: u32,
    pub(super) end: u32,
    /// The first convolution through the ring: its kernel (0: none) and weights.
    pub(super) first: [u32; 2],
    /// Whether maps come from global memory.
    pub(super) wide: bool,
}

/// The linear layers of a layer's heads.
#[derive(Clone, Debug)]
pub(super) struct HeadLinears {
    pub(super) maps_at: u32,
    pub(super) slopes_at: u32,
    pub(super) gradients_at: u32,
    /// Vectors of 8 from one image's map to the next.
    pub(super) stride: u32,
    pub(super) forward_weights: u32,
    pub(super) back_weights: u32,
    pub(super) parts_at: u32,
    pub(super) parts: u32,
    pub(super) pull_at: u32,
    /// Dimensions of the layer, rounded up to 32.
    pub(super) outputs: u32,
    /// Blocks of 32 values in a head's part of a map, and in the map.
    pub(super) head_blocks: u32,
    pub(super) map_blocks: u32,
}

/// One launch of a step.
#[derive(Clone, Debug)]
pub(super) enum Launch {
    Images(Program),
    HeadsForward(usize),
    HeadsBack(usize),
}

/// Everything about a shape at a batch size.
#[derive(Debug)]
pub(super) struct Plan {
    /// All programs, one after the other.
    pub(super) program: Vec<u32>,
    /// Before the first step.
    pub(super) start: Vec<Launch>,
    /// From the first features to the gradients, without the last launch.
    pub(super) step: Vec<Launch>,
    /// From the first features to the image and its energy, and no further.
    pub(super) forward: Vec<Launch>,
    /// Ends a step, and ends a step and begins the next.
    pub(super) last: Program,
    pub(super) last_and_first: Program,
    pub(super) linears: Vec<HeadLinears>,
    /// Vectors of 8 in the store.
    pub(super) store: usize,
    /// Numbers in the state.
    pub(super) state: usize,
    /// Numbers in the heads' gradients.
    pub(super) pull: usize,
    /// Present if the programs keep what the gradients of the weights need.
    pub(super) kept: Option<Kept>,
}

impl Plan {
    /// With `keep` the programs keep what the gradients of the weights need.
    pub(super) fn new(
        shape: &Shape,
        weights: &Weights,
        batch: usize,
        multiprocessors: usize,
        keep: bool,
    ) -> Self {
        let layers = shape.latents.len();
        let (mut store, mut state) = (Extent::default(), Extent::default());
        let maps = Maps::new(shape, batch, keep, [&mut store, &mut state]);
        let mut pull = Extent::default();
        let tiles = batch.div_ceil(IMAGES);
        let linears = shape.latents[1..]
            .iter()
            .zip(&shape.head_channels)
            .zip(&weights.heads)
            .map(|((d, channels), heads)| {
                let outputs = d.next_multiple_of(32);
                let stride = head_blocks(*channels) * 12 * 32;
                let head_vectors = padded_channels(*channels) / 16 * 96;
                let cubes = tiles * outputs / 16;
                let parts = (multiprocessors / cubes).clamp(1, head_vectors / WARPS as usize);
                HeadLinears {
                    maps_at: store.take(batch * stride),
                    slopes_at: store.take(batch * stride),
                    gradients_at: store.take(batch * stride),
                    stride: stride as u32,
                    forward_weights: heads.linears[0],
                    back_weights: heads.linears[1],
                    parts_at: state.take(parts * batch * outputs * 2),
                    parts: parts as u32,
                    pull_at: pull.take(batch * outputs * 2),
                    outputs: outputs as u32,
                    head_blocks: head_vectors as u32,
                    map_blocks: (head_blocks(*channels) * 96) as u32,
                }
            })
            .collect();
        let mut builder = Builder::new(shape, weights, maps, linears, batch, keep);
        let first = builder.first_features();
        let start = if layers == 1 {
            Vec::new()
        } else {
            vec![builder.launch(first.clone())]
        };
        let mut step = Vec::new();
        for layer in 1..layers {
            step.push(Launch::HeadsForward(layer - 1));
            if layer + 1 < layers {
                let mut ops = builder.features(layer);
                ops.extend(builder.heads(layer));
                step.push(builder.launch(ops));
            }
        }
        let mut forward = step.clone();
        forward.push(builder.launch(builder.to_image()));
        let mut ops = builder.turn();
        for layer in (1..layers).rev() {
            step.push(builder.launch(ops));
            step.push(Launch::HeadsBack(layer - 1));
            ops = builder.gradient(layer - 1);
        }
        let last = builder.program(ops.clone());
        if layers > 1 {
            ops.extend(first);
        }
        let last_and_first = builder.program(ops);
        Self {
            start,
            step,
            forward,
            last,
            last_and_first,
            linears: builder.linears,
            kept: if keep { builder.maps.kept } else { None },
            program: builder.program,
            store: store.0,
            state: state.0.max(1),
            pull: pull.0.max(8),
        }
    }
}

/// Hands out places one after the other.
#[derive(Default)]
struct Extent(usize);

impl Extent {
    fn take(&mut self, length: usize) -> u32 {
        let first = self.0;
        self.0 += length.next_multiple_of(64);
        first as u32
    }
}
