//! Products of matrices, many at a time.
//!
//! A cube of four warps makes a tile of 64 by 64; the inner dimension comes through shared memory 32
//! at a time, the next 32 on their way meanwhile. Where tiles are few the inner dimension is shared
//! out among several cubes, whose sums are added in a fixed order.

use cubecl::{cmma::MmaDefinition, cuda::CudaRuntime, prelude::*, server::Handle};
use half::bf16;

use super::{
    super::lanes::{V2, V8, zeros},
    Client, V4, add_product, fragment,
    sums::add_parts,
};

/// Rows and columns of a tile.
const TILE: usize = 64;
/// Of the inner dimension, at a time.
const DEPTH: usize = 32;
/// Vectors of 8 from one line of a tile to the next: padded, so that lines lie in different banks.
const PITCH: usize = 5;
/// Vectors of 8 in one part of one operand's tile.
const PART: usize = TILE * PITCH;
const THREADS: u32 = 128;

/// Matrices `[batches, rows, columns]` of float32.
#[derive(Clone, Debug)]
pub struct Matrices {
    /// The values, from the first on.
    pub handle: Handle,
    /// `batches, rows, columns`; one batch serves all of the other operand's.
    pub shape: [usize; 3],
    /// Values from one to the next, in each dimension.
    pub strides: [usize; 3],
}

/// An operand as a kernel takes it: lines are what the result has, and the other dimension is summed.
struct Operand {
    handle: Handle,
    length: usize,
    stride: usize,
    batch: usize,
    /// Whether neighbours along the summed dimension lie side by side.
    along: bool,
}

impl Matrices {
    /// `None` if the values lie in no order that the kernel knows.
    fn operand(&self, lines: usize) -> Option<Operand> {
        let [batches, ..] = self.shape;
        let summed = 3 - lines;
        let length = 1
            + (0..3)
                .map(|i| (self.shape[i] - 1) * self.strides[i])
                .sum::<usize>();
        let batch = if batches == 1 { 0 } else { self.strides[0] };
        let along = self.strides[summed] == 1;
        let stride = self.strides[if along { lines } else { summed }];
        // Along the summed dimension values are read four at a time.
        let fits = [self.shape[summed], stride, batch]
            .iter()
            .all(|n| n.is_multiple_of(4));
        let known = if along {
            fits
        } else {
            self.strides[lines] == 1
        };
        known.then(|| Operand {
            handle: self.handle.clone(),
            length,
            stride,
            batch,
            along,
        })
    }
}

/// The products `[batches, rows of a, columns of b]`, row by row. `None` if an operand is empty or
/// lies in no order that the kernel knows: rows or columns side by side, and rows of a multiple of
/// four where they are summed along.
///
/// # Panics
/// Not, but where shapes do not fit each other the result is undefined.
pub fn multiply(client: &Client, a: &Matrices, b: &Matrices) -> Option<Handle> {
    let ([a_batches, rows, inner], [b_batches, _, columns]) = (a.shape, b.shape);
    let batches = a_batches.max(b_batches);
    if batches * rows * inner * columns == 0 {
        return None;
    }
    let (a, b) = (a.operand(1)?, b.operand(2)?);
    let tiles = [columns, rows].map(|lines| lines.div_ceil(TILE));
    let multiprocessors = client.properties().hardware.num_streaming_multiprocessors;
    let wanted = 4 * multiprocessors.unwrap_or(1) as usize;
    let splits = (wanted / (tiles[0] * tiles[1] * batches)).clamp(1, inner.div_ceil(8 * DEPTH));
    let depth = inner.div_ceil(splits).next_multiple_of(DEPTH);
    let splits = inner.div_ceil(depth);
    let count = batches * rows * columns;
    let to = client.empty(splits * count * 4);
    // SAFETY: the lengths are those of the strides; lines and places in them are checked.
    unsafe {
        products::launch_unchecked::<bf16, CudaRuntime>(
            client,
            CubeCount::Static(tiles[0] as u32, tiles[1] as u32, (batches * splits) as u32),
            CubeDim::new_1d(THREADS),
            ArrayArg::from_raw_parts(a.handle.clone(), a.length),
            ArrayArg::from_raw_parts(a.handle, a.length.div_ceil(4)),
            ArrayArg::from_raw_parts(b.handle.clone(), b.length),
            ArrayArg::from_raw_parts(b.handle, b.length.div_ceil(4)),
            ArrayArg::from_raw_parts(to.clone(), splits * count),
            rows as u32,
            columns as u32,
            inner as u32,
            depth as u32,
            batches as u32,
            a.stride as u32,
            a.batch as u32,
            b.stride as u32,
            b.batch as u32,
            a.along,
            b.along,
            crate::SOURCES,
        );
    }
    Some(if splits == 1 {
        to
    } else {
        add_parts(client, to, splits, count)
    })
}

#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn products<E: Float>(
    a: &Array<f32>,
    a_vectors: &Array<V4>,
    b: &Array<f32>,
    b_vectors: &Array<V4>,
    to: &mut Array<f32>,
    rows: u32,
    columns: u32,
    inner: u32,
    depth: u32,
    batches: u32,
    a_stride: u32,
    a_batch: u32,
    b_stride: u32,
    b_batch: u32,
    #[comptime] a_along: bool,
    #[comptime] b_along: bool,
    #[comptime] _sources: u64,
) {
    let mut tiles = SharedMemory::<V8<E>>::new_aligned(comptime!(4 * PART), 128usize);
    let tid = UNIT_POS as usize;
    let lane = UNIT_POS_PLANE as usize;
    let warp = tid / 32;
    let rows = rows as usize;
    let columns = columns as usize;
    let batch = CUBE_POS_Z as usize % batches as usize;
    let split = CUBE_POS_Z as usize / batches as usize;
    let first_row = CUBE_POS_Y as usize * TILE;
    let first_column = CUBE_POS_X as usize * TILE;
    let begin = split * depth as usize;
    let mut end = begin + depth as usize;
    if end > inner as usize {
        end = inner as usize;
    }
    let a_at = batch * a_batch as usize;
    let b_at = batch * b_batch as usize;

    let def = MmaDefinition::<E, E, f32>::new(16usize, 8usize, 16usize);
    let mut acc = zeros(8usize);
    let mut own_a = Array::<f32>::new(16usize);
    let mut own_b = Array::<f32>::new(16usize);
    load(
        a,
        a_vectors,
        &mut own_a,
        a_at,
        a_stride as usize,
        first_row,
        rows,
        begin,
        end,
        a_along,
    );
    load(
        b,
        b_vectors,
        &mut own_b,
        b_at,
        b_stride as usize,
        first_column,
        columns,
        begin,
        end,
        b_along,
    );
    let a_lane = (warp % 2 * 32 + lane % 16) * PITCH + lane / 16;
    let b_lane = comptime!(2 * PART) + (warp / 2 * 32 + lane % 16) * PITCH + lane / 16;
    let mut k = begin;
    while k < end {
        keep::<E>(&own_a, &mut tiles, 0usize, a_along);
        keep::<E>(&own_b, &mut tiles, comptime!(2 * PART), b_along);
        sync_cube();
        k += DEPTH;
        if k < end {
            load(
                a,
                a_vectors,
                &mut own_a,
                a_at,
                a_stride as usize,
                first_row,
                rows,
                k,
                end,
                a_along,
            );
            load(
                b,
                b_vectors,
                &mut own_b,
                b_at,
                b_stride as usize,
                first_column,
                columns,
                k,
                end,
                b_along,
            );
        }
        #[unroll]
        for part in 0..2usize {
            let mut high = Sequence::<Array<V2<E>>>::new();
            let mut low = Sequence::<Array<V2<E>>>::new();
            #[unroll]
            for i in 0..2usize {
                let at = a_lane + comptime!(i * 16 * PITCH + part * 2);
                high.push(fragment::<E>(&def, &tiles, at));
                low.push(fragment::<E>(&def, &tiles, at + PART));
            }
            #[unroll]
            for j in 0..2usize {
                let at = b_lane + comptime!(j * 16 * PITCH + part * 2);
                let both_high = fragment::<E>(&def, &tiles, at);
                let both_low = fragment::<E>(&def, &tiles, at + PART);
                #[unroll]
                for which in 0..2usize {
                    let right_high = lines_of::<E>(&both_high, which);
                    let right_low = lines_of::<E>(&both_low, which);
                    #[unroll]
                    for i in 0..2usize {
                        add_product::<E>(
                            &def,
                            high.index(i),
                            low.index(i),
                            &right_high,
                            &right_low,
                            acc.index_mut(comptime!(i * 4 + j * 2 + which)),
                        );
                    }
                }
            }
        }
        sync_cube();
    }
    let to_at = CUBE_POS_Z as usize * rows * columns;
    #[unroll]
    for i in 0..2usize {
        #[unroll]
        for j in 0..4usize {
            let sums = acc.index(comptime!(i * 4 + j));
            #[unroll]
            for q in 0..2usize {
                let pair = sums[q];
                let row = first_row + warp % 2 * 32 + lane / 4 + comptime!(i * 16 + q * 8);
                let column = first_column + warp / 2 * 32 + lane % 4 * 2 + comptime!(j * 8);
                let o = to_at + row * columns + column;
                if row < rows && column < columns {
                    to[o] = pair[0];
                }
                if row < rows && column + 1 < columns {
                    to[o + 1] = pair[1];
                }
            }
        }
    }
}

/// Eight of the 16 lines of a fragment as the right operand.
#[cube]
fn lines_of<E: Float>(both: &Array<V2<E>>, #[comptime] which: usize) -> Array<V2<E>> {
    let mut out = Array::<V2<E>>::new(2usize);
    out[0] = both[which];
    out[1] = both[comptime!(which + 2)];
    out
}

/// This thread's 16 values of 64 lines and 32 places, from `k` on: two times eight places of a line.
#[cube]
#[allow(clippy::too_many_arguments)]
fn load(
    scalars: &Array<f32>,
    vectors: &Array<V4>,
    to: &mut Array<f32>,
    at: usize,
    stride: usize,
    first: usize,
    lines: usize,
    k: usize,
    end: usize,
    #[comptime] along: bool,
) {
    let tid = UNIT_POS as usize;
    if comptime!(along) {
        #[unroll]
        for i in 0..2usize {
            let line = first + tid / 4 + comptime!(i * 32);
            #[unroll]
            for h in 0..2usize {
                let place = k + tid % 4 * 8 + comptime!(h * 4);
                let mut four = V4::new(0.0f32);
                if line < lines && place < end {
                    four = vectors[(at + line * stride + place) / 4];
                }
                #[unroll]
                for j in 0..4usize {
                    to[comptime!(i * 8 + h * 4 + j)] = four[j];
                }
            }
        }
    } else {
        let line = first + tid % TILE;
        #[unroll]
        for j in 0..16usize {
            let place = k + tid / TILE * 16 + j;
            let mut one = 0.0f32;
            if line < lines && place < end {
                one = scalars[at + place * stride + line];
            }
            to[j] = one;
        }
    }
}

/// Puts what [`load`] brought into a tile, high parts before low ones.
#[cube]
fn keep<E: Float>(
    values: &Array<f32>,
    tiles: &mut SharedMemory<V8<E>>,
    at: usize,
    #[comptime] along: bool,
) {
    let tid = UNIT_POS as usize;
    #[unroll]
    for i in 0..2usize {
        let mut o = at + tid % TILE * PITCH + tid / TILE * 2 + i;
        if comptime!(along) {
            o = at + (tid / 4 + comptime!(i * 32)) * PITCH + tid % 4;
        }
        let mut high = V8::<E>::empty();
        let mut low = V8::<E>::empty();
        #[unroll]
        for j in 0..8usize {
            let value = values[comptime!(i * 8 + j)];
            let rounded = E::cast_from(value);
            high[j] = rounded;
            low[j] = E::cast_from(value - f32::cast_from(rounded));
        }
        tiles[o] = high;
        tiles[o + PART] = low;
    }
}
