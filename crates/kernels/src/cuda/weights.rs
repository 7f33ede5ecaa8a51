//! Gradients of the convolutions' weights: sums over images and pixels of a map times a gradient.
//!
//! A cube takes one row of taps of one convolution and a group of the images; sums of several groups
//! are added at the end, always in the same order.

pub(super) mod linear;

use cubecl::{cmma::MmaDefinition, ir::MatrixIdent, prelude::*};

use super::{
    conv::{PITCH, SIDE, TILE},
    lanes::{V2, V8, Words, loaded_columns, put, words, zeros},
    narrow::{NARROW_PITCH, NARROW_TILE},
    program::{THREADS, spread_seeds},
};

/// Words of a convolution's job.
pub(super) const JOB: usize = 8;
/// The input: where, and vectors from one image to the next.
pub(super) const X: usize = 0;
pub(super) const X_STRIDE: usize = 1;
/// The gradient after its slope: where, vectors from one image to the next, fragments from one row
/// and from one block of 16 channels to the next, and rows.
pub(super) const Y: usize = 2;
pub(super) const Y_STRIDE: usize = 3;
pub(super) const ROW: usize = 4;
pub(super) const BLOCK: usize = 5;
pub(super) const ROWS: usize = 6;
/// Pixels from the tile's corner to the input of the first tap of the first pixel.
pub(super) const OFFSET: usize = 7;

/// Begins to load a warp's part of an image: eight fragments of the input, then of the gradient.
#[cube]
#[allow(clippy::too_many_arguments)]
fn load<E: Float>(
    store: &Array<V8<E>>,
    loaded: &mut Array<Words>,
    x_at: usize,
    y_at: usize,
    row: usize,
    block: usize,
    rows: usize,
    warp: usize,
) {
    #[unroll]
    for i in 0..16usize {
        let fragment = warp + comptime!((i % 8) * 8);
        if comptime!(i < 8) {
            loaded[i] = words::<E>(store, x_at + fragment * 32);
        } else {
            let y = fragment / 4;
            let mut v = Words::new(0u32);
            if y < rows {
                v = words::<E>(store, y_at + (y * row + fragment % 4 * block) * 32);
            }
            loaded[i] = v;
        }
    }
}

/// `sums[group][job][row of taps][tap][64 out][64 in]`, and `biases[group][job][64]`.
///
/// Cubes: rows of taps, jobs, groups.
#[cube(launch_unchecked, fast_math = FastMath::all())]
pub(super) fn convolution_weights<E: Float>(
    store: &Array<V8<E>>,
    jobs: &Array<u32>,
    sums: &mut Array<f32>,
    to: u32,
    bias_to: u32,
    images: u32,
    #[comptime] ks: usize,
    #[define(E)] _operands: StorageType,
    #[comptime] _sources: u64,
) {
    let mut x = SharedMemory::<V8<E>>::new_aligned(TILE, 128usize);
    let mut g = SharedMemory::<V8<E>>::new_aligned(comptime!(256 * PITCH), 128usize);
    let tid = UNIT_POS as usize;
    let lane = UNIT_POS_PLANE as usize;
    let warp = tid / 32;
    let mw = warp % 2;
    let nw = warp / 2;
    let ky = CUBE_POS_X as usize;
    let job = CUBE_POS_Y as usize;
    let group = CUBE_POS_Z as usize;
    let groups = CUBE_COUNT_Z as usize;
    let at = job * JOB;
    let rows = jobs[at + ROWS] as usize;
    let offset = jobs[at + OFFSET] as usize;
    let zero = V8::<E>::new(E::from_int(0));
    let mut i = tid;
    while i < TILE {
        x[i] = zero;
        i += THREADS;
    }
    let def = MmaDefinition::<E, E, f32>::new(16usize, 8usize, 16usize);
    let mut acc = zeros(comptime!(ks * 4));
    let mut bias = zeros(2usize);
    let mut ones = Array::<V2<E>>::new(2usize);
    ones[0] = V2::<E>::new(E::from_int(1));
    ones[1] = V2::<E>::new(E::from_int(1));
    let first = images as usize * group / groups;
    let last = images as usize * (group + 1) / groups;
    let put_at = lane % 16 * PITCH + lane / 16;
    let (x_stride, y_stride) = (jobs[at + X_STRIDE] as usize, jobs[at + Y_STRIDE] as usize);
    let mut x_at = jobs[at + X] as usize + first * x_stride + lane;
    let mut y_at = jobs[at + Y] as usize + first * y_stride + lane;
    let (row, block) = (jobs[at + ROW] as usize, jobs[at + BLOCK] as usize);
    let mut loaded = Array::<Words>::new(16usize);
    load::<E>(store, &mut loaded, x_at, y_at, row, block, rows, warp);
    for image in first..last {
        sync_cube();
        #[unroll]
        for i in 0..16usize {
            let fragment = warp + comptime!((i % 8) * 8);
            let (y, block) = (fragment / 4, fragment % 4 * 2);
            let v = V8::<E>::reinterpret(loaded[i]);
            if comptime!(i < 8) {
                let o = ((y + 2) * SIDE + 2) * PITCH + put_at + block;
                put::<E>(&def, &mut x, v, o);
            } else {
                let o = y * 16 * PITCH + put_at + block;
                put::<E>(&def, &mut g, v, o);
            }
        }
        sync_cube();
        // The next image is on its way while this one is multiplied.
        if image + 1 < last {
            x_at += x_stride;
            y_at += y_stride;
            load::<E>(store, &mut loaded, x_at, y_at, row, block, rows, warp);
        }
        let g_at = (lane / 16 * 8 + lane % 8) * PITCH + mw * 4 + lane / 8 % 2;
        let x_from = ((ky + offset) * SIDE + offset + lane / 8 % 2 * 8 + lane % 8) * PITCH
            + nw * 2
            + lane / 16;
        for y in 0..rows {
            let mut a = Sequence::<Array<V2<E>>>::new();
            #[unroll]
            for m in 0..2usize {
                let o = g_at + y * comptime!(16 * PITCH) + comptime!(m * 2);
                a.push(def.load_matrix::<_, Const<2>>(
                    &g.slice(o, o + 1),
                    MatrixIdent::A,
                    4usize,
                    true,
                ));
            }
            #[unroll]
            for m in 0..2usize {
                def.execute_inplace(a.index(m), &ones, bias.index_mut(m));
            }
            #[unroll]
            for dx in 0..ks {
                let o = x_from + y * comptime!(SIDE * PITCH) + comptime!(dx * PITCH);
                let b = def.load_matrix::<_, Const<2>>(
                    &x.slice(o, o + 1),
                    MatrixIdent::B,
                    4usize,
                    true,
                );
                let b0 = loaded_columns::<E>(&b, 0usize);
                let b1 = loaded_columns::<E>(&b, 1usize);
                #[unroll]
                for m in 0..2usize {
                    let o = comptime!(dx * 4 + m * 2);
                    def.execute_inplace(a.index(m), &b0, acc.index_mut(o));
                    def.execute_inplace(a.index(m), &b1, acc.index_mut(comptime!(o + 1)));
                }
            }
        }
    }
    let place = group * CUBE_COUNT_Y as usize + job;
    #[unroll]
    for dx in 0..ks {
        #[unroll]
        for m in 0..2usize {
            #[unroll]
            for h in 0..2usize {
                let a = acc.index(comptime!(dx * 4 + m * 2 + h));
                #[unroll]
                for q in 0..2usize {
                    let pair = a[q];
                    let out = mw * 32 + lane / 4 + comptime!(m * 16 + q * 8);
                    let input = nw * 16 + lane % 4 * 2 + comptime!(h * 8);
                    let o = to as usize + (((place * ks + ky) * ks + dx) * 64 + out) * 64 + input;
                    sums[o] = pair[0];
                    sums[o + 1] = pair[1];
                }
            }
        }
    }
    if ky == 0 && nw == 0 && lane % 4 == 0 {
        #[unroll]
        for m in 0..2usize {
            let a = bias.index(m);
            #[unroll]
            for q in 0..2usize {
                let pair = a[q];
                let out = mw * 32 + lane / 4 + comptime!(m * 16 + q * 8);
                sums[bias_to as usize + place * 64 + out] = pair[0];
            }
        }
    }
}

/// A map of 64 channels times a narrow tile: `sums[group][tap][64][16]`, and at `bias_to` the narrow
/// tile's own sums `[group][16]`.
///
/// With `seeds` the tile is made of a projection's seeds (10 taps); else it is a stored gradient of
/// the image (9 taps). Cubes: groups.
#[cube(launch_unchecked, fast_math = FastMath::all())]
pub(super) fn narrow_weights<E: Float>(
    store: &Array<V8<E>>,
    state: &Array<f32>,
    sums: &mut Array<f32>,
    wide_at: u32,
    narrow_at: u32,
    to: u32,
    bias_to: u32,
    images: u32,
    #[comptime] seeds: bool,
    #[define(E)] _operands: StorageType,
    #[comptime] _sources: u64,
) {
    let mut wide = SharedMemory::<V8<E>>::new_aligned(comptime!(256 * PITCH), 128usize);
    let mut narrow = SharedMemory::<V8<E>>::new_aligned(NARROW_TILE, 128usize);
    let mut values = SharedMemory::<f32>::new_aligned(1024usize, 128usize);
    let taps = comptime!(if seeds { 10usize } else { 9usize });
    let columns = comptime!(if seeds { 2usize } else { 3usize });
    let step = comptime!(if seeds { 4usize } else { 1usize });
    let tid = UNIT_POS as usize;
    let lane = UNIT_POS_PLANE as usize;
    let warp = tid / 32;
    let mw = warp % 4;
    let part = warp / 4;
    let group = CUBE_POS;
    let groups = CUBE_COUNT;
    let zero = V8::<E>::new(E::from_int(0));
    let mut i = tid;
    while i < NARROW_TILE {
        narrow[i] = zero;
        i += THREADS;
    }
    let def = MmaDefinition::<E, E, f32>::new(16usize, 8usize, 16usize);
    let mut acc = zeros(10usize);
    let mut bias = zeros(2usize);
    let mut ones = Array::<V2<E>>::new(4usize);
    #[unroll]
    for i in 0..4usize {
        ones[i] = V2::<E>::new(E::from_int(1));
    }
    let first = images as usize * group / groups;
    let last = images as usize * (group + 1) / groups;
    for image in first..last {
        sync_cube();
        #[unroll]
        for i in 0..8usize {
            let fragment = warp + comptime!(i * 8);
            let v = store[wide_at as usize + image * 2048 + fragment * 32 + lane];
            let o = (fragment / 4 * 16 + lane % 16) * PITCH + fragment % 4 * 2 + lane / 16;
            put::<E>(&def, &mut wide, v, o);
        }
        if comptime!(seeds) {
            #[unroll]
            for c in 0..4usize {
                let o = tid * 4 + c;
                values[o] = state[narrow_at as usize + image * 1024 + o];
            }
            sync_cube();
            spread_seeds::<E>(&values, &mut narrow, tid);
        } else {
            #[unroll]
            for i in 0..2usize {
                let y = warp + comptime!(i * 8);
                let v = store[narrow_at as usize + image * 512 + y * 32 + lane];
                let o = ((y + 1) * SIDE + lane % 16 + 1) * NARROW_PITCH + lane / 16;
                put::<E>(&def, &mut narrow, v, o);
            }
        }
        sync_cube();
        for y in 0..16usize {
            let o = (y * 16 + lane / 16 * 8 + lane % 8) * PITCH + mw * 2 + lane / 8 % 2;
            let a =
                def.load_matrix::<_, Const<2>>(&wide.slice(o, o + 1), MatrixIdent::A, 4usize, true);
            #[unroll]
            for u in 0..5usize {
                let mut tap = part * 5 + u;
                if tap >= taps {
                    tap = taps - 1;
                }
                let o = ((y + tap / columns) * SIDE
                    + tap % columns * step
                    + lane / 8 % 2 * 8
                    + lane % 8)
                    * NARROW_PITCH
                    + lane / 16;
                let b = def.load_matrix::<_, Const<2>>(
                    &narrow.slice(o, o + 1),
                    MatrixIdent::B,
                    4usize,
                    true,
                );
                #[unroll]
                for h in 0..2usize {
                    let columns = loaded_columns::<E>(&b, h);
                    def.execute_inplace(&a, &columns, acc.index_mut(comptime!(u * 2 + h)));
                    // The middle one of nine taps meets every pixel once.
                    if comptime!(u == 4 && !seeds) {
                        def.execute_inplace(&ones, &columns, bias.index_mut(h));
                    }
                }
            }
        }
    }
    #[unroll]
    for u in 0..5usize {
        let tap = part * 5 + u;
        if tap < taps {
            #[unroll]
            for h in 0..2usize {
                let a = acc.index(comptime!(u * 2 + h));
                #[unroll]
                for q in 0..2usize {
                    let pair = a[q];
                    let row = mw * 16 + lane / 4 + comptime!(q * 8);
                    let o = to as usize
                        + ((group * taps + tap) * 64 + row) * 16
                        + lane % 4 * 2
                        + comptime!(h * 8);
                    sums[o] = pair[0];
                    sums[o + 1] = pair[1];
                }
            }
        }
    }
    if comptime!(!seeds) {
        if warp == 0 && lane < 4 {
            #[unroll]
            for h in 0..2usize {
                let a = bias.index(h);
                let pair = a[0];
                let o = bias_to as usize + group * 16 + lane * 2 + comptime!(h * 8);
                sums[o] = pair[0];
                sums[o + 1] = pair[1];
            }
        }
    }
}

/// Each weight's gradient: the sum of its parts, as many and as far apart as its kind says, from its
/// place or from several.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(super) fn collect(
    sums: &Array<f32>,
    places: &Array<u32>,
    kinds: &Array<u32>,
    parts: &Array<u32>,
    several: &Array<u32>,
    to: &mut Array<f32>,
    count: u32,
    #[comptime] _sources: u64,
) {
    let i = ABSOLUTE_POS;
    if i < count as usize {
        let kind = kinds[i] as usize * 3;
        let groups = parts[kind] as usize;
        let stride = parts[kind + 1] as usize;
        let count = parts[kind + 2] as usize;
        let own = places[i] as usize;
        let mut sum = 0.0f32;
        for number in 0..count {
            let mut place = own;
            if count > 1 {
                place = several[own + number] as usize;
            }
            for part in 0..groups {
                sum += sums[place + part * stride];
            }
        }
        to[i] = sum;
    }
}
