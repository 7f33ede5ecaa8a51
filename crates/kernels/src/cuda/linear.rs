//! The linear layers of the heads, over all images at once.
//!
//! A head's maps have 9,216 values an image and latent dimension and more: one product over the
//! batch reads the weights once, where a product for each image would read them a hundred times.
//! Their inner dimension is in the order in which the lanes stored the maps; the weights are packed
//! in that order too, so operands go from global memory to the tensor cores without detours.

use cubecl::{cmma::MmaDefinition, prelude::*};

use super::lanes::{Accumulators, V8, Words, columns_operand, rows_operand, words, zeros};

/// Images of a warp's tile.
pub(super) const IMAGES: usize = 64;
/// Warps of a cube of [`heads_back`]: they have nothing in common, and of small cubes more fit on a
/// multiprocessor.
pub(super) const BACK_WARPS: u32 = 2;

/// 32 values of the inner dimension, as a lane has them: of 8 rows, and of four blocks of 8 columns.
type Block = Array<Words>;

/// Begins to load block `k`. `rows`: where this lane's rows begin; `columns`: where the weights do.
#[cube]
fn load_block<E: Float>(
    block: &mut Block,
    left: &Array<V8<E>>,
    packed: &Array<V8<E>>,
    rows: &Array<usize>,
    columns: usize,
    k: usize,
) {
    #[unroll]
    for n in 0..4usize {
        block[comptime!(8 + n)] = words::<E>(packed, columns + k * 128 + comptime!(n * 32));
    }
    #[unroll]
    for i in 0..8usize {
        block[i] = words::<E>(left, rows[i] + k * 4);
    }
}

/// Adds a block's product to the sums, four of 16 rows times four of 8 columns.
#[cube]
fn multiply_block<E: Float>(def: &MmaDefinition<E, E, f32>, block: &Block, acc: &mut Accumulators) {
    #[unroll]
    for part in 0..2usize {
        #[unroll]
        for m in 0..4usize {
            let upper = block[comptime!(m * 2)];
            let lower = block[comptime!(m * 2 + 1)];
            let operand = rows_operand::<E>(upper, lower, part);
            #[unroll]
            for n in 0..4usize {
                let columns = columns_operand::<E>(block[comptime!(8 + n)], part);
                def.execute_inplace(&operand, &columns, acc.index_mut(comptime!(m * 4 + n)));
            }
        }
    }
}

/// The product over blocks `begin` to `end` of the inner dimension; while one is multiplied the next is
/// on its way.
#[cube]
fn product<E: Float>(
    def: &MmaDefinition<E, E, f32>,
    left: &Array<V8<E>>,
    packed: &Array<V8<E>>,
    rows: &Array<usize>,
    columns: usize,
    begin: usize,
    end: usize,
) -> Accumulators {
    let mut acc = zeros(16usize);
    let mut even = Block::new(12usize);
    let mut odd = Block::new(12usize);
    if begin < end {
        load_block::<E>(&mut even, left, packed, rows, columns, begin);
    }
    for pair in 0..(end - begin).div_ceil(2usize) {
        let k = begin + pair * 2;
        if k + 1 < end {
            load_block::<E>(&mut odd, left, packed, rows, columns, k + 1);
        }
        multiply_block::<E>(def, &even, &mut acc);
        if k + 1 < end {
            if k + 2 < end {
                load_block::<E>(&mut even, left, packed, rows, columns, k + 2);
            }
            multiply_block::<E>(def, &odd, &mut acc);
        }
    }
    acc
}

/// `[image][head, 32 outputs]` of maps, in `parts` sums over the inner dimension.
///
/// Cubes: images / 64, heads times outputs / 32, parts. `steps`: vectors of 32 values in a head's part
/// of a map.
#[cube(launch_unchecked, fast_math = FastMath::all())]
#[allow(clippy::too_many_arguments)]
pub(super) fn heads_forward<E: Float>(
    store: &Array<V8<E>>,
    packed: &Array<V8<E>>,
    state: &mut Array<f32>,
    maps_at: u32,
    stride: u32,
    weights_at: u32,
    to: u32,
    images: u32,
    steps: u32,
    outputs: u32,
    #[define(E)] _operands: StorageType,
    #[comptime] _sources: u64,
) {
    let mut shared = SharedMemory::<f32>::new_aligned(comptime!(8 * IMAGES * 32), 128usize);
    let lane = UNIT_POS_PLANE as usize;
    let warp = UNIT_POS as usize / 32;
    let first_image = CUBE_POS_X as usize * IMAGES;
    let blocks = outputs as usize / 32;
    let head = CUBE_POS_Y as usize / blocks;
    let block = CUBE_POS_Y as usize % blocks;
    let pieces = CUBE_COUNT_Z as usize * 8;
    let piece = CUBE_POS_Z as usize * 8 + warp;
    let steps = steps as usize;
    let begin = steps * piece / pieces;
    let end = steps * (piece + 1) / pieces;
    let images = images as usize;

    let def = MmaDefinition::<E, E, f32>::new(16usize, 8usize, 16usize);
    let mut rows = Array::<usize>::new(8usize);
    #[unroll]
    for i in 0..8usize {
        let mut row = first_image + comptime!(i * 8) + lane / 4;
        if row >= images {
            row = images - 1;
        }
        rows[i] = maps_at as usize + row * stride as usize + head * steps * 4 + lane % 4;
    }
    let weights = weights_at as usize + (head * blocks + block) * steps * 128 + lane;
    let acc = product::<E>(&def, store, packed, &rows, weights, begin, end);
    #[unroll]
    for m in 0..4usize {
        #[unroll]
        for n in 0..4usize {
            let a = acc.index(comptime!(m * 4 + n));
            #[unroll]
            for q in 0..2usize {
                let pair = a[q];
                let row = lane / 4 + comptime!(m * 16 + q * 8);
                let o = (warp * IMAGES + row) * 32 + (lane % 4) * 2 + comptime!(n * 8);
                shared[o] = pair[0];
                shared[o + 1] = pair[1];
            }
        }
    }
    sync_cube();
    #[unroll]
    for i in 0..8usize {
        let row = warp + comptime!(i * 8);
        let image = first_image + row;
        if image < images {
            let mut sum = 0.0f32;
            #[unroll]
            for w in 0..8usize {
                sum += shared[(comptime!(w * IMAGES) + row) * 32 + lane];
            }
            let width = outputs as usize * 2;
            let o = (CUBE_POS_Z as usize * images + image) * width;
            state[to as usize + o + head * outputs as usize + block * 32 + lane] = sum;
        }
    }
}

/// From gradients of the heads' results to gradients of their maps before GELU.
///
/// Cubes: images / 64, blocks of 32 values / [`BACK_WARPS`]. `steps`: a head's outputs / 32; `head_blocks`: blocks
/// of 32 values in a head's part of a map.
#[cube(launch_unchecked, fast_math = FastMath::all())]
#[allow(clippy::too_many_arguments)]
pub(super) fn heads_back<E: Float>(
    pull: &Array<V8<E>>,
    packed: &Array<V8<E>>,
    store: &mut Array<V8<E>>,
    pull_at: u32,
    slopes_at: u32,
    to: u32,
    stride: u32,
    weights_at: u32,
    images: u32,
    steps: u32,
    head_blocks: u32,
    #[define(E)] _operands: StorageType,
    #[comptime] _sources: u64,
) {
    let lane = UNIT_POS_PLANE as usize;
    let warp = UNIT_POS as usize / 32;
    let first_image = CUBE_POS_X as usize * IMAGES;
    let block = CUBE_POS_Y as usize * comptime!(BACK_WARPS as usize) + warp;
    let images = images as usize;
    let steps = steps as usize;
    let mut head = block / head_blocks as usize;
    // Blocks beyond both heads have no weights.
    if head > 1 {
        head = 1;
    }
    let def = MmaDefinition::<E, E, f32>::new(16usize, 8usize, 16usize);
    let mut rows = Array::<usize>::new(8usize);
    let mut places = Array::<usize>::new(8usize);
    #[unroll]
    for i in 0..8usize {
        let mut row = first_image + comptime!(i * 8) + lane / 4;
        if row >= images {
            row = images - 1;
        }
        rows[i] = pull_at as usize + (row * 2 + head) * steps * 4 + lane % 4;
        places[i] = row * stride as usize + block * 4 + lane % 4;
    }
    let weights = weights_at as usize + block * steps * 128 + lane;
    // Few blocks: the warps hide each other's loads.
    let mut acc = zeros(16usize);
    let mut operands = Block::new(12usize);
    for k in 0..steps {
        load_block::<E>(&mut operands, pull, packed, &rows, weights, k);
        multiply_block::<E>(&def, &operands, &mut acc);
    }
    // All at once: a store between two loads would keep the second one back.
    let mut slopes = Array::<Words>::new(8usize);
    #[unroll]
    for i in 0..8usize {
        slopes[i] = words::<E>(store, slopes_at as usize + places[i]);
    }
    // A lane's columns of the four blocks of 8 are 8 neighbouring values of the map.
    #[unroll]
    for m in 0..4usize {
        #[unroll]
        for q in 0..2usize {
            let image = first_image + comptime!(m * 16 + q * 8) + lane / 4;
            if image < images {
                let slope = V8::<E>::reinterpret(slopes[comptime!(m * 2 + q)]);
                let mut out = V8::<E>::empty();
                #[unroll]
                for n in 0..4usize {
                    let a = acc.index(comptime!(m * 4 + n));
                    let pair = a[q];
                    #[unroll]
                    for e in 0..2usize {
                        let j = comptime!(n * 2 + e);
                        out[j] = E::cast_from(pair[e] * f32::cast_from(slope[j]));
                    }
                }
                store[to as usize + places[comptime!(m * 2 + q)]] = out;
            }
        }
    }
}
