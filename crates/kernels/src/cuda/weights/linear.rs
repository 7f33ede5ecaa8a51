//! Gradients of the linear layers' weights: sums over images of what goes in times what comes back.

use cubecl::{cmma::MmaDefinition, ir::MatrixIdent, prelude::*};

use super::super::lanes::{V2, V8, loaded_columns, zeros};

/// Seeds of a cube, one a lane.
pub(in super::super) const SEEDS: usize = 32;
/// Parts that the images of a cube are in.
const PARTS: usize = 8;
/// Latents of a cube.
pub(in super::super) const LATENTS: usize = 8;
/// Images whose loads are under way at once, for each part.
const AT_ONCE: usize = 4;

/// Gradients of a projection's linear layer: `sums[latent][1024]`, and `[1024]` of its bias.
///
/// Cubes: blocks of 32 seeds, blocks of 8 latents. Each warp takes every eighth image.
#[cube(launch_unchecked, fast_math = FastMath::all())]
pub(in super::super) fn seed_weights(
    state: &Array<f32>,
    sums: &mut Array<f32>,
    latents_at: u32,
    padded: u32,
    gradient_at: u32,
    to: u32,
    bias_to: u32,
    images: u32,
    #[comptime] _sources: u64,
) {
    let mut shared =
        SharedMemory::<f32>::new_aligned(comptime!((LATENTS + 1) * PARTS * SEEDS), 128usize);
    let lane = UNIT_POS_PLANE as usize;
    let part = UNIT_POS as usize / SEEDS;
    let seed = CUBE_POS_X as usize * SEEDS + lane;
    let first = CUBE_POS_Y as usize * LATENTS;
    let images = images as usize;
    let mut acc = Array::<f32>::new(comptime!(LATENTS + 1));
    #[unroll]
    for j in 0..comptime!(LATENTS + 1) {
        acc[j] = 0.0;
    }
    for turn in 0..images.div_ceil(comptime!(PARTS * AT_ONCE)) {
        #[unroll]
        for u in 0..AT_ONCE {
            let mut image = turn * comptime!(PARTS * AT_ONCE) + comptime!(u * PARTS) + part;
            let there = image < images;
            if !there {
                image = images - 1;
            }
            let mut g = state[gradient_at as usize + image * 1024 + seed];
            if !there {
                g = 0.0;
            }
            let z = latents_at as usize + image * padded as usize + first;
            #[unroll]
            for j in 0..LATENTS {
                acc[j] += g * state[z + j];
            }
            acc[LATENTS] += g;
        }
    }
    #[unroll]
    for j in 0..comptime!(LATENTS + 1) {
        shared[(comptime!(j * PARTS) + part) * SEEDS + lane] = acc[j];
    }
    sync_cube();
    // As many warps as latents.
    let own = part * comptime!(PARTS * SEEDS) + lane;
    let mut sum = 0.0f32;
    #[unroll]
    for p in 0..PARTS {
        sum += shared[own + comptime!(p * SEEDS)];
    }
    sums[to as usize + (first + part) * 1024 + seed] = sum;
    if first == 0 && part == 0 {
        let mut bias = 0.0f32;
        #[unroll]
        for p in 0..PARTS {
            bias += shared[comptime!((LATENTS * PARTS + p) * SEEDS) + lane];
        }
        sums[bias_to as usize + seed] = bias;
    }
}

/// Images that are in shared memory at once.
const DEPTH: usize = 32;
/// Vectors of a map, and of the gradients, that a cube takes.
pub(in super::super) const MAP_VECTORS: usize = 32;
pub(in super::super) const OUTPUTS: usize = 32;
/// Vectors from one image to the next there: one more, so that no bank is met twice.
const MAP_PITCH: usize = MAP_VECTORS + 1;
const PULL_PITCH: usize = OUTPUTS / 8 + 1;

/// Gradients of both heads' linear layers: `sums[vector of the map][output][8]`; and of their biases,
/// `[head, outputs]`.
///
/// Cubes: blocks of [`MAP_VECTORS`], blocks of [`OUTPUTS`]. `head_vectors`: vectors in one head's part of a map.
#[cube(launch_unchecked, fast_math = FastMath::all())]
#[allow(clippy::too_many_arguments)]
pub(in super::super) fn head_weights<E: Float>(
    store: &Array<V8<E>>,
    pull: &Array<V8<E>>,
    sums: &mut Array<f32>,
    maps_at: u32,
    stride: u32,
    head_vectors: u32,
    pull_at: u32,
    outputs: u32,
    to: u32,
    bias_to: u32,
    images: u32,
    #[define(E)] _operands: StorageType,
    #[comptime] _sources: u64,
) {
    let mut maps = SharedMemory::<V8<E>>::new_aligned(comptime!(DEPTH * MAP_PITCH), 128usize);
    let mut pulls = SharedMemory::<V8<E>>::new_aligned(comptime!(DEPTH * PULL_PITCH), 128usize);
    let tid = UNIT_POS as usize;
    let lane = UNIT_POS_PLANE as usize;
    let warp = tid / 32;
    let images = images as usize;
    let outputs = outputs as usize;
    let first_vector = CUBE_POS_X as usize * MAP_VECTORS;
    let first_output = CUBE_POS_Y as usize * OUTPUTS;
    let mut head = first_vector / head_vectors as usize;
    let begins_head = head < 2 && first_vector % head_vectors as usize == 0;
    // Vectors beyond both heads are no weight's.
    if head > 1 {
        head = 1;
    }
    let map_from = maps_at as usize + first_vector + lane;
    let pull_from = (pull_at as usize + head * outputs + first_output) / 8 + tid % 4;
    let zero = V8::<E>::new(E::from_int(0));
    let def = MmaDefinition::<E, E, f32>::new(16usize, 8usize, 16usize);
    let mut acc = zeros(8usize);
    let mut bias = zeros(4usize);
    let mut ones = Array::<V2<E>>::new(4usize);
    #[unroll]
    for i in 0..4usize {
        ones[i] = V2::<E>::new(E::from_int(1));
    }
    for turn in 0..images.div_ceil(DEPTH) {
        let first = turn * DEPTH;
        let mut loaded = Sequence::<V8<E>>::new();
        #[unroll]
        for i in 0..4usize {
            let image = first + warp + comptime!(i * 8);
            let mut v = zero;
            if image < images {
                v = store[map_from + image * stride as usize];
            }
            loaded.push(v);
        }
        let mut pulled = zero;
        let row = tid / 4;
        if row < DEPTH && first + row < images {
            pulled = pull[pull_from + (first + row) * outputs / 4];
        }
        sync_cube();
        #[unroll]
        for i in 0..4usize {
            maps[(warp + comptime!(i * 8)) * MAP_PITCH + lane] = *loaded.index(i);
        }
        if row < DEPTH {
            pulls[row * PULL_PITCH + tid % 4] = pulled;
        }
        sync_cube();
        #[unroll]
        for k in 0..comptime!(DEPTH / 16) {
            let mut columns = Sequence::<Array<V2<E>>>::new();
            #[unroll]
            for n in 0..2usize {
                let image = lane / 8 % 2 * 8 + lane % 8 + comptime!(k * 16);
                let o = image * PULL_PITCH + lane / 16 + comptime!(n * 2);
                let b = def.load_matrix::<_, Const<2>>(
                    &pulls.slice(o, o + 1),
                    MatrixIdent::B,
                    4usize,
                    true,
                );
                columns.push(loaded_columns::<E>(&b, 0usize));
                columns.push(loaded_columns::<E>(&b, 1usize));
            }
            #[unroll]
            for m in 0..2usize {
                let image = lane / 16 * 8 + lane % 8 + comptime!(k * 16);
                let o = image * MAP_PITCH + warp * 4 + lane / 8 % 2 + comptime!(m * 2);
                let a = def.load_matrix::<_, Const<2>>(
                    &maps.slice(o, o + 1),
                    MatrixIdent::A,
                    4usize,
                    true,
                );
                #[unroll]
                for n in 0..4usize {
                    let at = comptime!(m * 4 + n);
                    def.execute_inplace(&a, columns.index(n), acc.index_mut(at));
                }
            }
            if begins_head {
                #[unroll]
                for n in 0..4usize {
                    def.execute_inplace(&ones, columns.index(n), bias.index_mut(n));
                }
            }
        }
    }
    #[unroll]
    for m in 0..2usize {
        #[unroll]
        for n in 0..4usize {
            let a = acc.index(comptime!(m * 4 + n));
            #[unroll]
            for q in 0..2usize {
                let pair = a[q];
                let vector = first_vector + warp * 4 + comptime!(m * 2 + q);
                let output = first_output + lane % 4 * 2 + comptime!(n * 8);
                let o = to as usize + (vector * outputs + output) * 8 + lane / 4;
                sums[o] = pair[0];
                sums[o + 8] = pair[1];
            }
        }
    }
    if begins_head && warp == 0 && lane < 4 {
        #[unroll]
        for n in 0..4usize {
            let a = bias.index(n);
            let pair = a[0];
            let output = first_output + lane * 2 + comptime!(n * 8);
            let o = bias_to as usize + head * outputs + output;
            sums[o] = pair[0];
            sums[o + 1] = pair[1];
        }
    }
}
