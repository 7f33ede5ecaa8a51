//! Between latents and the seeds of a map: a projection's linear part, the heads' scales, and the
//! Langevin update.

use cubecl::prelude::*;

use super::{
    super::{
        conv::SIDE,
        lanes::{Accumulators, V8},
        narrow::NARROW_PITCH,
        noise::normal,
        op,
    },
    THREADS,
};

/// From a layer's latents to its seeds, in the narrow tile.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn make_seeds<E: Float>(
    packed: &Array<V8<E>>,
    bias: &Array<f32>,
    state: &mut Array<f32>,
    latents: &Array<f32>,
    vector: &mut SharedMemory<f32>,
    seeds: &mut SharedMemory<f32>,
    narrow: &mut SharedMemory<V8<E>>,
    program: &SharedMemory<u32>,
    at: usize,
    dim: usize,
    image: usize,
    tid: usize,
) {
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
                let first = program[at + op::PARTS_AT] as usize + image * padded * 2 + j;
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
    spread_seeds::<E>(seeds, narrow, tid);
    sync_cube();
}

/// From the gradient in a layer's seeds after GELU (`sums`: a warp's two rows) to its latents: keeps
/// their gradient, or moves them.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn pull_latents<E: Float>(
    sums: &Accumulators,
    packed: &Array<V8<E>>,
    state: &mut Array<f32>,
    latents: &mut Array<f32>,
    pull: &mut Array<E>,
    noise: &Array<f32>,
    steps: &Array<f32>,
    gradients: &mut Array<f32>,
    vector: &mut SharedMemory<f32>,
    seeds: &mut SharedMemory<f32>,
    program: &SharedMemory<u32>,
    control: &Array<u32>,
    at: usize,
    dim: usize,
    image: usize,
    step: u32,
    mode: u32,
    tid: usize,
) {
    let lane = tid % 32;
    let warp = tid / 32;
    let slopes = program[at + op::SEED_SLOPE] as usize + image * 1024;
    if lane % 4 < 2 {
        #[unroll]
        for i in 0..2usize {
            let a = sums.index(comptime!(i * 2));
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
    if given != 0 {
        // Their weights are 0, but 0 times what was in that memory need not be.
        let mut j = size_of_layer + tid;
        while j < padded {
            let to = program[at + op::PULL] as usize + image * padded * 2 + j;
            pull[to] = E::from_int(0);
            pull[to + padded] = E::from_int(0);
            j += THREADS;
        }
    }
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
}

/// Each pixel of the narrow tile holds the seeds of four neighbours, side by side.
#[cube]
pub(in super::super) fn spread_seeds<E: Float>(
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

/// `x Φ(x)` and `Φ(x) + x φ(x)`, with the error function of Abramowitz and Stegun 7.1.26 (absolute
/// error 1.5e-7): its exponential is also the density's.
#[cube]
fn gelu_with_slope(x: f32) -> (f32, f32) {
    let a = f32::abs(x) * 0.70710678f32;
    let t = 1.0f32 / (1.0f32 + 0.3275911f32 * a);
    let p = t
        * (0.254829592f32
            + t * (-0.284496736f32
                + t * (1.421413741f32 + t * (-1.453152027f32 + t * 1.061405429f32))));
    let e = f32::exp(-a * a);
    // Φ(-|x|)
    let tail = 0.5f32 * p * e;
    let mut cdf = tail;
    if x >= 0.0 {
        cdf = 1.0f32 - tail;
    }
    (x * cdf, cdf + x * e * 0.3989423f32)
}
