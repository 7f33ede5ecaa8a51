//! The kernel that runs programs: one cube, one image.
//!
//! A Langevin step is a list of operations ([`super::op`]); a launch runs some of them one after the
//! other, with the feature maps in two tiles of shared memory. Maps that do not fit there (of more than
//! 64 channels, or of 32 by 32 pixels) come from global memory, 64 channels at a time.

mod chunks;
mod epilogue;
mod image;
mod latents;

use cubecl::{
    cmma::MmaDefinition,
    prelude::{barrier::Barrier, *},
};

use self::{
    chunks::{HeadMap, convolve_chunks, load_head_map, narrow_chunks, put_head_map},
    epilogue::{Fragments, finish, load_biases, load_operands, no_operands},
    image::{image_gradient, write_energy},
    latents::{make_seeds, pull_latents},
};
use super::{
    conv::{PITCH, Rows, SIDE, SLOT, TILE, WARPS, convolve, prefetch},
    lanes::{V8, zeros},
    narrow::{NARROW_PITCH, NARROW_TILE, narrow_down, widen},
    op,
    pack::ROWS5,
};

pub(super) use self::latents::spread_seeds;

pub(super) const THREADS: usize = 32 * WARPS as usize;

/// Runs operations `begin` to `end` of the listing on every image.
///
/// `weights5`, `weights3`: the same packed weights, in tiles for 5x5 and 3x3; `packed`: weights that
/// are read directly; `store`: maps as the lanes hold them; `state`: latents and other numbers in
/// float32; `pull`: gradients of the heads' results; `step`: which of the chain; `mode`: what becomes
/// of the gradient; `wide`: whether operations may read maps from global memory.
#[cube(launch_unchecked, fast_math = FastMath::all())]
#[allow(clippy::too_many_arguments)]
pub(super) fn run_program<E: Float>(
    weights5: &TensorMap<E, Tiled>,
    weights3: &TensorMap<E, Tiled>,
    packed: &Array<V8<E>>,
    bias: &Array<f32>,
    store: &mut Array<V8<E>>,
    state: &mut Array<f32>,
    latents: &mut Array<f32>,
    pull: &mut Array<E>,
    images: &Array<f32>,
    mask: &Array<f32>,
    noise: &Array<f32>,
    steps: &Array<f32>,
    energies: &mut Array<f32>,
    gradients: &mut Array<f32>,
    listing: &Array<u32>,
    control: &Array<u32>,
    begin: u32,
    end: u32,
    first_kernel: u32,
    first_weights: u32,
    step: u32,
    mode: u32,
    precision: f32,
    #[comptime] wide: bool,
    #[define(E)] _operands: StorageType,
    #[comptime] _sources: u64,
) {
    let mut ring = SharedMemory::<V8<E>>::new_aligned(comptime!(SLOT * 4), 128usize);
    let mut tiles = SharedMemory::<V8<E>>::new_aligned(comptime!(TILE * 2), 128usize);
    let mut narrow = SharedMemory::<V8<E>>::new_aligned(NARROW_TILE, 128usize);
    let mut seeds = SharedMemory::<f32>::new_aligned(1024usize, 128usize);
    let mut vector = SharedMemory::<f32>::new_aligned(1024usize, 128usize);
    let mut sums = SharedMemory::<f32>::new_aligned(32usize, 128usize);
    // The present operation's words, and the next one's.
    let mut program = SharedMemory::<u32>::new_aligned(comptime!(2 * op::WORDS), 128usize);
    let mut squares = Array::<f32>::new(1usize);

    let tid = UNIT_POS as usize;
    let lane = UNIT_POS_PLANE as usize;
    let warp = tid / 32;
    // Warps that share a scheduler have rows two groups apart, so that its work is like the others'.
    let group = warp / 2;
    let half = warp % 2;
    let image = CUBE_POS;
    let dim = control[op::LATENTS] as usize;
    let size = control[op::SIZE] as usize;

    let mut full = Sequence::<Shared<Barrier>>::new();
    let mut empty = Sequence::<Shared<Barrier>>::new();
    #[unroll]
    for _k in 0..4usize {
        full.push(Barrier::shared_uninit());
        empty.push(Barrier::shared_uninit());
    }
    if UNIT_POS == 0 {
        #[unroll]
        for k in 0..4usize {
            full.index(k).init_manual(1u32);
            empty.index(k).init_manual(WARPS);
        }
        sync_async_proxy_shared();
    }
    sync_cube();
    if UNIT_POS == 0 {
        prefetch::<E>(
            &full,
            weights5,
            weights3,
            &mut ring,
            first_kernel,
            first_weights,
        );
    }
    let zero = V8::<E>::new(E::from_int(0));
    let mut i = tid;
    while i < comptime!(TILE * 2) {
        tiles[i] = zero;
        i += THREADS;
    }
    if tid < op::WORDS {
        let first = begin as usize;
        program[first % 2 * op::WORDS + tid] = listing[first * op::WORDS + tid];
    }
    sync_cube();

    let def = MmaDefinition::<E, E, f32>::new(16usize, 8usize, 16usize);
    let origin5 = origin(group * 4, 0usize, lane);
    let origin3 = origin(group * 4 + 1, 1usize, lane);
    let origin_head = origin(group * 3 + 2, 2usize, lane);
    let origin_narrow = (group * 4 * SIDE + lane % 16) * NARROW_PITCH + lane / 16;
    let mut round = 0u32;

    for number in begin..end {
        let at = number as usize % 2 * op::WORDS;
        // On its way while this operation runs.
        let after = number as usize + 1;
        let mut upcoming = 0u32;
        if tid < op::WORDS && after < end as usize {
            upcoming = listing[after * op::WORDS + tid];
        }
        let kind = program[at + op::KIND];
        let from = program[at + op::FROM_TILE] as usize * TILE;
        let weights_at = program[at + op::WEIGHTS];
        if kind == op::PROJECT_BACK {
            let mut down = zeros(4usize);
            if comptime!(wide) {
                narrow_chunks::<E>(
                    &def, &mut tiles, store, packed, &mut down, &program, at, image, warp, lane,
                    5usize,
                );
            } else {
                narrow_down::<E>(
                    &def,
                    &tiles,
                    packed,
                    &mut down,
                    weights_at as usize,
                    from,
                    warp,
                    lane,
                    5usize,
                );
            }
            pull_latents::<E>(
                &down,
                packed,
                state,
                latents,
                pull,
                noise,
                steps,
                gradients,
                &mut vector,
                &mut seeds,
                &program,
                control,
                at,
                dim,
                image,
                step,
                mode,
                tid,
            );
        } else {
            // Loaded here, they are there when the sums are.
            let biases = load_biases(bias, &program, at, half, lane);
            let mut acc = zeros(16usize);
            let mut weight = precision;
            if mode == op::WEIGHTED {
                weight = precision * noise[image];
            }
            squares[0] = 0.0;
            if kind == op::PROJECT {
                make_seeds::<E>(
                    packed,
                    bias,
                    state,
                    latents,
                    &mut vector,
                    &mut seeds,
                    &mut narrow,
                    &program,
                    at,
                    dim,
                    image,
                    tid,
                );
            }
            if kind == op::OUTPUT {
                let mut i = tid;
                while i < NARROW_TILE {
                    narrow[i] = zero;
                    i += THREADS;
                }
                let mut down = zeros(4usize);
                if comptime!(wide) {
                    narrow_chunks::<E>(
                        &def, &mut tiles, store, packed, &mut down, &program, at, image, warp,
                        lane, 3usize,
                    );
                } else {
                    narrow_down::<E>(
                        &def,
                        &tiles,
                        packed,
                        &mut down,
                        weights_at as usize,
                        from,
                        warp,
                        lane,
                        3usize,
                    );
                }
                sync_cube();
                image_gradient::<E>(
                    &def,
                    &down,
                    &mut narrow,
                    bias,
                    store,
                    images,
                    mask,
                    gradients,
                    &mut squares,
                    &program,
                    control,
                    at,
                    image,
                    mode,
                    weight,
                    warp,
                    lane,
                );
                write_energy(
                    squares[0], latents, energies, &mut sums, dim, image, step, precision, THREADS,
                );
            }
            if kind == op::PROJECT || kind == op::WIDEN_SEEDS {
                widen::<E>(
                    &def,
                    &narrow,
                    packed,
                    &mut acc,
                    weights_at as usize,
                    origin_narrow,
                    half,
                    lane,
                    5usize,
                    2usize,
                    4usize,
                );
            } else if kind == op::OUTPUT || kind == op::WIDEN_IMAGE {
                widen::<E>(
                    &def,
                    &narrow,
                    packed,
                    &mut acc,
                    program[at + op::WEIGHTS2] as usize,
                    origin_narrow,
                    half,
                    lane,
                    3usize,
                    3usize,
                    1usize,
                );
            } else if comptime!(wide) {
                round = convolve_chunks::<E>(
                    &def, weights5, weights3, &full, &empty, &mut ring, &mut tiles, store,
                    &mut acc, &program, at, image, warp, lane, round,
                );
            } else if kind == op::HEAD {
                convolve::<E>(
                    &def,
                    weights5,
                    &full,
                    &empty,
                    &mut ring,
                    &tiles,
                    &mut acc,
                    from + origin_head,
                    half,
                    lane,
                    weights_at,
                    round,
                    5usize,
                    3usize,
                    Rows::HEAD,
                );
                round += 5;
            } else if kind == op::CONV5 {
                let chunks = program[at + op::CHUNKS];
                let mut times = chunks;
                if chunks == 0 {
                    times = 1;
                }
                let map = program[at + op::CHUNKS_AT] as usize
                    + image * program[at + op::STRIDE] as usize;
                let mut loaded = HeadMap::new(6usize);
                if chunks != 0 {
                    load_head_map::<E>(&mut loaded, store, map, 0u32, warp, lane);
                }
                for chunk in 0..times {
                    let mut tile = from;
                    if chunks != 0 {
                        // The other tile has been left by all warps two barriers ago.
                        tile = (chunk % 2) as usize * TILE;
                        put_head_map::<E>(&def, &loaded, &mut tiles, tile, warp, lane);
                        sync_cube();
                        // After the first chunk, the ring is free here.
                        if UNIT_POS == 0 && chunk != 0 {
                            prefetch::<E>(
                                &full,
                                weights5,
                                weights3,
                                &mut ring,
                                5u32,
                                weights_at + chunk * ROWS5,
                            );
                        }
                        // On its way while this chunk is worked on.
                        if chunk + 1 < times {
                            load_head_map::<E>(&mut loaded, store, map, chunk + 1, warp, lane);
                        }
                    }
                    // A head's map has a border of four: the outer warps' outer rows are zeros.
                    if chunks != 0 && group == 0 {
                        convolve::<E>(
                            &def,
                            weights5,
                            &full,
                            &empty,
                            &mut ring,
                            &tiles,
                            &mut acc,
                            tile + origin5,
                            half,
                            lane,
                            weights_at + chunk * ROWS5,
                            round,
                            5usize,
                            4usize,
                            Rows::LOWER,
                        );
                    } else if chunks != 0 && group == 3 {
                        convolve::<E>(
                            &def,
                            weights5,
                            &full,
                            &empty,
                            &mut ring,
                            &tiles,
                            &mut acc,
                            tile + origin5,
                            half,
                            lane,
                            weights_at + chunk * ROWS5,
                            round,
                            5usize,
                            4usize,
                            Rows::UPPER,
                        );
                    } else {
                        convolve::<E>(
                            &def,
                            weights5,
                            &full,
                            &empty,
                            &mut ring,
                            &tiles,
                            &mut acc,
                            tile + origin5,
                            half,
                            lane,
                            weights_at + chunk * ROWS5,
                            round,
                            5usize,
                            4usize,
                            Rows::ALL,
                        );
                    }
                    round += 5;
                }
            } else {
                convolve::<E>(
                    &def,
                    weights3,
                    &full,
                    &empty,
                    &mut ring,
                    &tiles,
                    &mut acc,
                    from + origin3,
                    half,
                    lane,
                    weights_at,
                    round,
                    3usize,
                    4usize,
                    Rows::KERNEL3,
                );
                round += 3;
            }
            let flags = program[at + op::FLAGS];
            let block = program[at + op::BLOCK] as usize;
            let fragments = Fragments::new(kind == op::HEAD, block, group, half, lane);
            // Loaded here, the first row's operands are there when all warps have come.
            let own = image * comptime!(op::MAP);
            let mut first_at = program[at + op::ADD] as usize + own;
            if flags & op::TIMES_SLOPE != 0 {
                first_at = program[at + op::SLOPE] as usize + own;
            }
            let dual_at = program[at + op::DUAL] as usize + own;
            let mut operands = no_operands();
            load_operands::<E>(
                &mut operands,
                store,
                &fragments,
                0usize,
                flags,
                first_at,
                dual_at,
            );
            sync_cube();
            if UNIT_POS == 0 {
                prefetch::<E>(
                    &full,
                    weights5,
                    weights3,
                    &mut ring,
                    program[at + op::NEXT_KERNEL],
                    program[at + op::NEXT_WEIGHTS],
                );
            }
            finish::<E>(
                &def,
                &mut tiles,
                &mut acc,
                &mut operands,
                first_at,
                dual_at,
                fragments,
                &biases,
                store,
                images,
                mask,
                gradients,
                &mut squares,
                &program,
                control,
                size,
                at,
                image,
                mode,
                weight,
                half,
                lane,
                wide,
            );
            if comptime!(wide) {
                if flags & op::IMAGE != 0 {
                    write_energy(
                        squares[0], latents, energies, &mut sums, dim, image, step, precision,
                        THREADS,
                    );
                }
            }
        }
        if tid < op::WORDS {
            program[after % 2 * op::WORDS + tid] = upcoming;
        }
        sync_cube();
    }
}

/// Where a lane's pixel of a tile lies, in vectors of 8: a row of the tile, and `border` pixels from its
/// left edge.
#[cube]
fn origin(row: usize, #[comptime] border: usize, lane: usize) -> usize {
    (row * SIDE + lane % 16 + border) * PITCH + lane / 16
}
