//! Where maps and numbers lie.
//!
//! A map of more than 64 channels is a stored map for each 64 of them, one after the other.

use super::{
    super::{op, shape::Shape},
    Extent,
};

/// Slopes of a residual block's two convolutions.
pub(super) type Slopes = [u32; 2];

/// Where the maps of each layer lie. Blocks: the layers', then the refining.
pub(super) struct Maps {
    pub(super) project: Vec<u32>,
    pub(super) block: Vec<Slopes>,
    /// Features of each layer, for the next one; their gradient on the way back.
    pub(super) features: Vec<u32>,
    pub(super) gradient: u32,
    /// Of two doublings.
    pub(super) planes: Option<Planes>,
    /// Present if anything else is stored.
    pub(super) kept: Option<Kept>,
    pub(super) numbers: Vec<Numbers>,
}

/// The four maps between two doublings: their slopes, values and gradients.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Planes {
    pub(in super::super) slopes: u32,
    pub(in super::super) values: u32,
    pub(in super::super) gradients: u32,
}

/// Maps and numbers that the gradients of the weights need; and, if maps do not fit into shared
/// memory, the maps in their place (then those of all blocks may be the same).
#[derive(Clone, Debug)]
pub(in super::super) struct Kept {
    /// Inputs of each block's convolutions, and its result.
    pub(in super::super) input1: Vec<u32>,
    pub(in super::super) input2: Vec<u32>,
    pub(in super::super) features: Vec<u32>,
    /// Gradients of each block's convolutions.
    pub(in super::super) gradient1: Vec<u32>,
    pub(in super::super) gradient2: Vec<u32>,
    /// Of the projections' transposed convolutions, and of the image.
    pub(in super::super) projection: Vec<u32>,
    pub(in super::super) image: u32,
    pub(in super::super) planes: Option<Planes>,
    /// In the state: each layer's latents, seeds, and the gradients of these.
    pub(in super::super) latents: Vec<u32>,
    pub(in super::super) seeds: Vec<u32>,
    pub(in super::super) seed_gradients: Vec<u32>,
}

/// Where a layer's numbers lie in the state.
pub(super) struct Numbers {
    pub(super) seed_slope: u32,
    pub(super) scale: u32,
    pub(super) bend: u32,
}

impl Maps {
    /// With `keep` every block has maps of its own for what the gradients of the weights need.
    pub(super) fn new(
        shape: &Shape,
        batch: usize,
        keep: bool,
        [store, state]: [&mut Extent; 2],
    ) -> Self {
        let layers = shape.latents.len();
        let blocks = layers + shape.refine_blocks;
        let mut map = || store.take(shape.blocks() * batch * op::MAP);
        let project = (0..layers).map(|_| map()).collect();
        let block = (0..blocks).map(|_| [map(), map()]).collect();
        let gradient = map();
        let planes = (shape.doublings == 2).then(|| {
            let mut four = || [(); 4].map(|()| map())[0];
            let (slopes, values) = (four(), four());
            Planes {
                slopes,
                values,
                gradients: if keep { four() } else { values },
            }
        });
        let kept = (keep || shape.blocks() > 1).then(|| {
            let mut maps = |count: usize| -> Vec<u32> {
                if keep {
                    (0..count).map(|_| map()).collect()
                } else {
                    vec![map(); count]
                }
            };
            let mut rows = |width: &dyn Fn(usize) -> usize| {
                let layers = shape.latents.iter().filter(|_| keep);
                layers.map(|d| state.take(batch * width(*d))).collect()
            };
            Kept {
                input1: maps(blocks),
                input2: maps(blocks),
                features: maps(blocks),
                gradient1: maps(blocks),
                gradient2: maps(blocks),
                projection: maps(layers),
                image: maps(1)[0],
                planes,
                latents: rows(&|d| d.next_multiple_of(32)),
                seeds: rows(&|_| 1024),
                seed_gradients: rows(&|_| 1024),
            }
        });
        let features = match &kept {
            Some(kept) => kept.features[..layers].to_vec(),
            None => vec![map(); layers],
        };
        let numbers = shape
            .latents
            .iter()
            .map(|d| {
                let row = batch * d.next_multiple_of(32);
                Numbers {
                    seed_slope: state.take(batch * 1024),
                    scale: state.take(row),
                    bend: state.take(row),
                }
            })
            .collect();
        Self {
            project,
            block,
            features,
            gradient,
            planes,
            kept,
            numbers,
        }
    }
}
