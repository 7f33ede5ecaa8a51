//! The kernel that runs programs: one cube, one image.
//!
//! A Langevin step is a list of operations ([`super::op`]); a launch runs some of them one after the
//! other, with the feature maps in two tiles of shared memory.

use cubecl::{
    cmma::MmaDefinition,
    ir::MatrixIdent,
    prelude::{barrier::Barrier, *},
};

use super::{
    conv::{
        Fragments, PITCH, Rows, SIDE, SLOT, TILE, V2, V8, WARPS, convolve, finish, gelu_with_slope,
        pairs, prefetch, whole, zero_accumulators,
    },
    narrow::{NARROW_PITCH, NARROW_TILE, narrow_down, widen},
    noise::normal,
    op,
};

pub(super) const THREADS: usize = 32 * WARPS as usize;

/// Runs operations `begin` to `end` of the program on every image.
///
/// `weights5`, `weights3`: the same packed weights, in tiles for 5x5 and 3x3; `packed`: weights that
/// are read directly; `store`: maps as the lanes hold them; `state`: latents and other numbers in
/// float32; `pull`: gradients of the heads' results; `step`: which of the chain; `mode`: what becomes
/// of the gradient.
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
    program: &Array<u32>,
    control: &Array<u32>,
    begin: u32,
    end: u32,
    first_kernel: u32,
    first_weights: u32,
    step: u32,
    mode: u32,
    precision: f32,
) {
    let mut ring = SharedMemory::<V8<E>>::new_aligned(comptime!(SLOT * 4), 128usize);
    let mut tiles = SharedMemory::<V8<E>>::new_aligned(comptime!(TILE * 2), 128usize);
    let mut narrow = SharedMemory::<V8<E>>::new_aligned(NARROW_TILE, 128usize);
    let mut seeds = SharedMemory::<f32>::new_aligned(1024usize, 128usize);
    let mut vector = SharedMemory::<f32>::new_aligned(1024usize, 128usize);
    let mut sums = SharedMemory::<f32>::new_aligned(32usize, 128usize);

    let tid = UNIT_POS as usize;
    let lane = UNIT_POS_PLANE as usize;
    let warp = tid / 32;
    // Warps that share a scheduler have rows two groups apart, so that its work is like the others'.
    let group = warp / 2;
    let half = warp % 2;
    let image = CUBE_POS;
    let size = control[op::SIZE] as usize;
    let dim = control[op::LATENTS] as usize;

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
    sync_cube();

    let def = MmaDefinition::<E, E, f32>::new(16usize, 8usize, 16usize);
    let lane_pixel = lane % 16;
    let lane_side = lane / 16;
    let origin5 = (group * 4 * SIDE + lane_pixel) * PITCH + lane_side;
    let origin3 = origin5 + comptime!((SIDE + 1) * PITCH);
    let origin_head = ((group * 3 + 2) * SIDE + lane_pixel + 2) * PITCH + lane_side;
    let origin_narrow = (group * 4 * SIDE + lane_pixel) * NARROW_PITCH + lane_side;
    let mut round = 0u32;

    for number in begin..end {
        let at = number as usize * op::WORDS;
        let kind = program[at + op::KIND];
        let from = program[at + op::FROM_TILE] as usize * TILE;
        let weights_at = program[at + op::WEIGHTS];
        if kind == op::PROJECT_BACK {
            let sums_down = narrow_down::<E>(
                &def,
                &tiles,
                packed,
                weights_at as usize,
                from,
                warp,
                lane,
                5usize,
            );
            let slopes = program[at + op::SEED_SLOPE] as usize + image * 1024;
            if lane % 4 < 2 {
                #[unroll]
                for i in 0..2usize {
                    let a = sums_down.index(comptime!(i * 2));
                    #[unroll]
                    for q in 0..2usize {
                        let pair = a[q];
                        let pixel = (warp * 2 + i) * 16 + lane / 4 + comptime!(q * 8);
                        let o = pixel * 4 + (lane % 4) * 2;
                        let first = pair[0] * state[slopes + o];
                        let second = pair[1] * state[slopes + o + 1];
                        seeds[o] = first;
                        seeds[o + 1] = second;
                        if program[at + op::FLAGS] & op::KEEPS != 0 {
                            let to = program[at + op::SEED_GRADIENT_TO] as usize + image * 1024 + o;
                            state[to] = first;
                            state[to + 1] = second;
                        }
                    }
                }
            }
            sync_cube();
            let mut own = Array::<f32>::new(32usize);
            #[unroll]
            for i in 0..4usize {
                #[unroll]
                for j in 0..8usize {
                    own[comptime!(i * 8 + j)] = seeds[(lane + comptime!(i * 32)) * 8 + j];
                }
            }
            let size_of_layer = program[at + op::DIM] as usize;
            let linear = program[at + op::LINEAR] as usize;
            // Four rows at once, to wait for their weights once.
            let mut row = warp;
            while row < size_of_layer {
                let mut loaded = Sequence::<V8<E>>::new();
                #[unroll]
                for u in 0..4usize {
                    let mut of = row + comptime!(u * 8);
                    if of >= size_of_layer {
                        of = row;
                    }
                    #[unroll]
                    for i in 0..4usize {
                        loaded.push(packed[linear + of * 128 + lane + comptime!(i * 32)]);
                    }
                }
                #[unroll]
                for u in 0..4usize {
                    let mut sum = 0.0f32;
                    #[unroll]
                    for i in 0..4usize {
                        let w = *loaded.index(comptime!(u * 4 + i));
                        #[unroll]
                        for j in 0..8usize {
                            sum += f32::cast_from(w[j]) * own[comptime!(i * 8 + j)];
                        }
                    }
                    let total = plane_sum(sum);
                    let of = row + comptime!(u * 8);
                    if lane == 0 && of < size_of_layer {
                        vector[of] = total;
                    }
                }
                row += 32;
            }
            sync_cube();
            let padded = program[at + op::PADDED] as usize;
            let column = program[at + op::COLUMN] as usize;
            let given = program[at + op::FLAGS] & op::GIVEN;
            let mut j = tid;
            while j < size_of_layer {
                let pulled = vector[j];
                let place = image * dim + column + j;
                let e = latents[place];
                let mut gradient = pulled + e;
                if given != 0 {
                    let own = image * padded + j;
                    let scale = state[program[at + op::SCALE] as usize + own];
                    let bend = state[program[at + op::BEND] as usize + own];
                    gradient = pulled * scale + e;
                    let to = program[at + op::PULL] as usize + image * padded * 2 + j;
                    pull[to] = E::cast_from(pulled);
                    pull[to + padded] = E::cast_from(pulled * bend);
                }
                if mode == op::KEEP_GRADIENT || mode == op::WEIGHTED {
                    gradients[place] = gradient;
                }
                if mode < op::KEEP_GRADIENT {
                    let of_step = (step as usize * dim + column + j) * 2;
                    let mut moved = e - steps[of_step] * gradient;
                    if mode == op::KEYED_NOISE {
                        let n = normal(
                            place as u32,
                            step,
                            control[op::NOISE],
                            control[op::NOISE + 1],
                            control[op::NOISE + 2],
                            control[op::NOISE + 3],
                        );
                        moved += steps[of_step + 1] * n;
                    }
                    if mode == op::GIVEN_NOISE {
                        let n = noise[step as usize * CUBE_COUNT * dim + place];
                        moved += steps[of_step + 1] * n;
                    }
                    latents[place] = moved;
                }
                j += THREADS;
            }
            sync_cube();
        } else {
            let mut acc = zero_accumulators();
            if kind == op::HEAD {
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
                for chunk in 0..times {
                    let mut tile = from;
                    if chunks != 0 {
                        // The other tile has been left by all warps two barriers ago.
                        tile = (chunk % 2) as usize * TILE;
                        let stride = program[at + op::STRIDE] as usize;
                        let chunk_at = program[at + op::CHUNKS_AT] as usize + image * stride;
                        let mut loaded = Sequence::<V8<E>>::new();
                        #[unroll]
                        for i in 0..6usize {
                            // Six of 48 fragments: the chunk is as contiguous as they are.
                            let fragment = chunk as usize * 48 + warp + comptime!(i * 8);
                            loaded.push(store[chunk_at + fragment * 32 + lane]);
                        }
                        #[unroll]
                        for i in 0..6usize {
                            let fragment = warp + comptime!(i * 8);
                            let block = fragment / 12;
                            let y = fragment % 12;
                            let v = *loaded.index(i);
                            let mut out = Array::<V2<E>>::new(4usize);
                            #[unroll]
                            for p in 0..4usize {
                                let mut pair = V2::<E>::empty();
                                pair[0] = v[comptime!(p * 2)];
                                pair[1] = v[comptime!(p * 2 + 1)];
                                out[p] = pair;
                            }
                            let o = tile
                                + ((y + 4) * SIDE + lane_pixel + 4) * PITCH
                                + block * 2
                                + lane_side;
                            def.store_matrix(
                                &mut tiles.slice_mut(o, o + 1),
                                &out,
                                MatrixIdent::Accumulator,
                                4usize,
                                false,
                            );
                        }
                        sync_cube();
                        // After the first chunk, the ring is free here.
                        if UNIT_POS == 0 && chunk != 0 {
                            prefetch::<E>(
                                &full,
                                weights5,
                                weights3,
                                &mut ring,
                                5u32,
                                weights_at + chunk * 400,
                            );
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
                            weights_at + chunk * 400,
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
                            weights_at + chunk * 400,
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
                            weights_at + chunk * 400,
                            round,
                            5usize,
                            4usize,
                            Rows::ALL,
                        );
                    }
                    round += 5;
                }
            } else if kind == op::CONV3 {
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
            } else if kind == op::PROJECT {
                let size_of_layer = program[at + op::DIM] as usize;
                let padded = program[at + op::PADDED] as usize;
                let column = program[at + op::COLUMN] as usize;
                let given = program[at + op::FLAGS] & op::GIVEN;
                let mut j = tid;
                while j < padded {
                    let mut z = 0.0f32;
                    if j < size_of_layer {
                        let e = latents[image * dim + column + j];
                        z = e;
                        if given != 0 {
                            let head_bias = program[at + op::HEAD_BIAS] as usize + j;
                            let mut mean = bias[head_bias];
                            let mut raw = bias[head_bias + padded];
                            let parts = program[at + op::PARTS] as usize;
                            let first =
                                program[at + op::PARTS_AT] as usize + image * padded * 2 + j;
                            for eight in 0..parts.div_ceil(8usize) {
                                #[unroll]
                                for u in 0..8usize {
                                    let part = eight * 8 + u;
                                    let mut sums = Array::<f32>::new(2usize);
                                    sums[0] = 0.0;
                                    sums[1] = 0.0;
                                    if part < parts {
                                        let o = first + part * CUBE_COUNT * padded * 2;
                                        sums[0] = state[o];
                                        sums[1] = state[o + padded];
                                    }
                                    mean += sums[0];
                                    raw += sums[1];
                                }
                            }
                            let (scale, slope) = scale_with_slope(raw, program[at + op::FORM]);
                            z = mean + scale * e;
                            let own = image * padded + j;
                            let scale_at = program[at + op::SCALE] as usize + own;
                            let bend_at = program[at + op::BEND] as usize + own;
                            state[scale_at] = scale;
                            state[bend_at] = slope * e;
                        }
                    }
                    vector[j] = z;
                    if program[at + op::FLAGS] & op::KEEPS != 0 {
                        let to = program[at + op::LATENTS_TO] as usize + image * padded + j;
                        state[to] = z;
                    }
                    j += THREADS;
                }
                sync_cube();
                // Four channels of one pixel a thread.
                let linear = program[at + op::LINEAR] as usize + tid;
                let linear_bias = program[at + op::LINEAR_BIAS] as usize + tid * 4;
                let mut seed = Array::<f32>::new(4usize);
                #[unroll]
                for c in 0..4usize {
                    seed[c] = bias[linear_bias + c];
                }
                for k in 0..padded / 32 {
                    let mut loaded = Sequence::<V8<E>>::new();
                    #[unroll]
                    for u in 0..16usize {
                        loaded.push(packed[linear + (k * 16 + u) * 256]);
                    }
                    #[unroll]
                    for u in 0..16usize {
                        let two = k * 16 + u;
                        let w = *loaded.index(u);
                        let z0 = vector[two * 2];
                        let z1 = vector[two * 2 + 1];
                        #[unroll]
                        for c in 0..4usize {
                            seed[c] += f32::cast_from(w[c]) * z0;
                            seed[c] += f32::cast_from(w[comptime!(c + 4)]) * z1;
                        }
                    }
                }
                let slopes = program[at + op::SEED_SLOPE] as usize + image * 1024 + tid * 4;
                #[unroll]
                for c in 0..4usize {
                    let (value, slope) = gelu_with_slope(seed[c]);
                    seeds[tid * 4 + c] = value;
                    state[slopes + c] = slope;
                    if program[at + op::FLAGS] & op::KEEPS != 0 {
                        let to = program[at + op::SEEDS_TO] as usize + image * 1024 + tid * 4 + c;
                        state[to] = value;
                    }
                }
                sync_cube();
                spread_seeds::<E>(&seeds, &mut narrow, tid);
                sync_cube();
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
            } else {
                // OUTPUT
                let mut i = tid;
                while i < NARROW_TILE {
                    narrow[i] = zero;
                    i += THREADS;
                }
                let to_image = narrow_down::<E>(
                    &def,
                    &tiles,
                    packed,
                    weights_at as usize,
                    from,
                    warp,
                    lane,
                    3usize,
                );
                sync_cube();
                let channels = control[op::CHANNELS] as usize;
                let masked = control[op::MASKED];
                let bias_at = program[at + op::BIAS] as usize;
                let mut local = 0.0f32;
                let mut weight = precision;
                if mode == op::WEIGHTED {
                    weight = precision * noise[image];
                }
                #[unroll]
                for i in 0..2usize {
                    let y = warp * 2 + i;
                    let mut v = Array::<f32>::new(8usize);
                    #[unroll]
                    for h in 0..2usize {
                        let a = to_image.index(comptime!(i * 2 + h));
                        #[unroll]
                        for q in 0..2usize {
                            let pair = a[q];
                            let x = lane / 4 + comptime!(q * 8);
                            #[unroll]
                            for e in 0..2usize {
                                // Column 8 a + 4 b + c: channel c of pixel (2 y + a, 2 x + b).
                                let c = (lane % 2) * 2 + e;
                                let b = (lane % 4) / 2;
                                let mut gradient = 0.0f32;
                                if c < channels && x < size && y < size {
                                    let o =
                                        ((image * channels + c) * size * 2 + y * 2 + h) * size * 2
                                            + x * 2
                                            + b;
                                    let before = pair[e] + bias[bias_at + c];
                                    let value =
                                        1.0f32 - 2.0f32 / (f32::exp(2.0f32 * before) + 1.0f32);
                                    if mode == op::IMAGES {
                                        gradients[o] = value;
                                    }
                                    let mut residual = value - images[o];
                                    if masked != 0 {
                                        residual *= mask[o];
                                    }
                                    local += residual * residual;
                                    gradient = residual * weight * (1.0f32 - value * value);
                                }
                                v[comptime!(h * 4 + q * 2 + e)] = gradient;
                            }
                        }
                    }
                    if program[at + op::FLAGS] & op::KEEPS != 0 {
                        let to = program[at + op::IMAGE_TO] as usize + image * comptime!(16 * 32);
                        store[to + y * 32 + lane] = whole::<E>(&v);
                    }
                    let out = pairs::<E>(&v);
                    let o = ((y + 1) * SIDE + lane_pixel + 1) * NARROW_PITCH + lane_side;
                    def.store_matrix(
                        &mut narrow.slice_mut(o, o + 1),
                        &out,
                        MatrixIdent::Accumulator,
                        4usize,
                        false,
                    );
                }
                local *= precision;
                let mut j = tid;
                while j < dim {
                    let e = latents[image * dim + j];
                    local += e * e;
                    j += THREADS;
                }
                let total = plane_sum(local);
                if lane == 0 {
                    sums[warp] = total;
                }
                sync_cube();
                if UNIT_POS == 0 {
                    let mut energy = 0.0f32;
                    #[unroll]
                    for w in 0..8usize {
                        energy += sums[w];
                    }
                    energies[step as usize * CUBE_COUNT + image] = energy * 0.5f32;
                }
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
            }
            let flags = program[at + op::FLAGS];
            let block = program[at + op::BLOCK] as usize;
            let fragments = Fragments::new(kind == op::HEAD, block, group, half, lane);
            // Loaded here, the first fragment's operands are there when all warps have come.
            let own = image * comptime!(op::MAP);
            let mut first_at = program[at + op::ADD] as usize + own;
            if flags & op::TIMES_SLOPE != 0 {
                first_at = program[at + op::SLOPE] as usize + own;
            }
            let dual_at = program[at + op::DUAL] as usize + own;
            let mut first = zero;
            let mut dual = zero;
            if flags & comptime!(op::TIMES_SLOPE | op::ADDS) != 0 {
                first = store[first_at + fragments.place(0)];
            }
            if flags & op::DUALS != 0 {
                dual = store[dual_at + fragments.place(0)];
            }
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
                &def, &mut tiles, &mut acc, first, first_at, dual, dual_at, fragments, bias, store,
                program, at, image, size, half, lane,
            );
            sync_cube();
        }
    }
}

/// Each pixel of the narrow tile holds the seeds of four neighbours, side by side.
#[cube]
pub(super) fn spread_seeds<E: Float>(
    seeds: &SharedMemory<f32>,
    narrow: &mut SharedMemory<V8<E>>,
    tid: usize,
) {
    let mut pixel = tid;
    while pixel < comptime!(SIDE * SIDE) {
        let y = pixel / SIDE;
        let x = pixel % SIDE;
        #[unroll]
        for side in 0..2usize {
            let mut v = V8::<E>::new(E::from_int(0));
            #[unroll]
            for n in 0..2usize {
                let column = x + comptime!(side * 2 + n);
                if y >= 2 && y < 18 && column >= 2 && column < 18 {
                    let o = ((y - 2) * 16 + column - 2) * 4;
                    #[unroll]
                    for c in 0..4usize {
                        v[comptime!(n * 4 + c)] = E::cast_from(seeds[o + c]);
                    }
                }
            }
            narrow[pixel * NARROW_PITCH + side] = v;
        }
        pixel += THREADS;
    }
}

/// The scale head's output as a standard deviation, and its slope.
#[cube]
fn scale_with_slope(raw: f32, form: u32) -> (f32, f32) {
    // softplus, without overflow
    let soft = f32::max(raw, 0.0f32) + f32::ln(1.0f32 + f32::exp(-f32::abs(raw)));
    let logistic = 1.0f32 / (1.0f32 + f32::exp(-raw));
    let mut scale = soft + 1e-3f32;
    let mut slope = logistic;
    if form == op::SOFTPLUS_LOG_VARIANCE {
        scale = f32::exp(f32::min(soft, 10.0f32) * 0.5f32);
        slope = scale * logistic * 0.5f32;
        if soft >= 10.0f32 {
            slope = 0.0;
        }
    }
    if form == op::LOG_VARIANCE {
        scale = f32::exp(f32::min(f32::max(raw, -10.0f32), 10.0f32) * 0.5f32);
        slope = scale * 0.5f32;
        if f32::abs(raw) >= 10.0f32 {
            slope = 0.0;
        }
    }
    (scale, slope)
}
