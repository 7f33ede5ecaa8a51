//! The convolution 64 to 64 channels on a map in shared memory.
//!
//! An implicit matrix product: rows are the pixels of the map, columns the output channels, and the
//! inner dimension runs over taps and input channels. A warp owns some rows of the map and half of
//! the channels; the pixels it has loaded serve every vertical tap. The weights come through a ring
//! of four slots, filled by the copy engine while the tensor cores work.

use cubecl::{
    cmma::MmaDefinition,
    ir::MatrixIdent,
    prelude::{barrier::Barrier, *},
};

use super::op;

pub(super) type V2<E> = Vector<E, Const<2>>;
pub(super) type V8<E> = Vector<E, Const<8>>;
/// Accumulators: one array of two (upper and lower eight pixels) for each row and eight channels.
pub(super) type Accumulators = Sequence<Array<V2<f32>>>;

/// Warps of a cube, in four groups of rows and two halves of the channels.
pub(super) const WARPS: u32 = 8;
/// Pixels of a tile in each direction: 16 and a border of 2.
pub(super) const SIDE: usize = 20;
/// Vectors of 8 from one pixel of a tile to the next: 64 channels and one vector of padding, so that
/// eight neighbouring pixels lie in different banks.
pub(super) const PITCH: usize = 9;
/// Vectors of 8 in a tile.
pub(super) const TILE: usize = SIDE * SIDE * PITCH;
/// Vectors of 8 in a ring slot: one column of taps, 16 input channels, 64 output channels.
pub(super) const SLOT: usize = 5 * 128;

/// Which of a warp's rows of pixels, its border included, are not zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Rows {
    pub(super) begin: usize,
    pub(super) end: usize,
}

impl Rows {
    /// Four rows and a border of two above and below.
    pub(super) const ALL: Self = Self { begin: 0, end: 8 };
    /// Three rows and as much of a border.
    pub(super) const HEAD: Self = Self { begin: 0, end: 7 };
    /// Four rows and a border of one.
    pub(super) const KERNEL3: Self = Self { begin: 0, end: 6 };
    /// Of a map with a border of four, for the first and the last warps' rows.
    pub(super) const LOWER: Self = Self { begin: 4, end: 8 };
    pub(super) const UPPER: Self = Self { begin: 0, end: 4 };

    fn has(&self, row: usize) -> bool {
        (self.begin..self.end).contains(&row)
    }
}

/// Zeros, for four rows of pixels and 32 channels.
#[cube]
pub(super) fn zero_accumulators() -> Accumulators {
    let mut acc = Sequence::<Array<V2<f32>>>::new();
    #[unroll]
    for _i in 0..16usize {
        let mut a = Array::<V2<f32>>::new(2usize);
        a[0] = Vector::new(0.0f32);
        a[1] = Vector::new(0.0f32);
        acc.push(a);
    }
    acc
}

/// One slot of weights, from `row` of the packed weights.
#[cube]
fn fill_slot<E: Float>(
    full: &Barrier,
    weights: &TensorMap<E, Tiled>,
    ring: &mut SharedMemory<V8<E>>,
    row: u32,
    #[comptime] slot: usize,
    #[comptime] ks: usize,
) {
    full.expect_tx(comptime!((ks * 2048) as u32));
    full.tma_load_2d(
        weights,
        &mut ring.slice_mut(comptime!(slot * SLOT), comptime!(slot * SLOT + ks * 128)),
        row as i32,
        0,
    );
    full.arrive();
}

/// Starts the first four slots of a convolution; for one thread, when every slot is free.
#[cube]
pub(super) fn prefetch<E: Float>(
    full: &Sequence<Shared<Barrier>>,
    weights5: &TensorMap<E, Tiled>,
    weights3: &TensorMap<E, Tiled>,
    ring: &mut SharedMemory<V8<E>>,
    kernel: u32,
    row: u32,
) {
    if kernel == 5 {
        #[unroll]
        for k in 0..4usize {
            fill_slot::<E>(
                full.index(k),
                weights5,
                ring,
                row + comptime!(k as u32 * 20),
                k,
                5usize,
            );
        }
    }
    if kernel == 3 {
        #[unroll]
        for k in 0..4usize {
            fill_slot::<E>(
                full.index(k),
                weights3,
                ring,
                row + comptime!(k as u32 * 12),
                k,
                3usize,
            );
        }
    }
}

/// Adds a convolution of kernel `ks` to the accumulators.
///
/// `origin`: where this lane's first pixel lies in the tiles, in vectors of 8; `round`: how many times
/// the ring has gone round. The first four slots have been prefetched. All threads must have passed a
/// barrier since the tile was written, and pass one before it is written again.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn convolve<E: Float>(
    def: &MmaDefinition<E, E, f32>,
    weights: &TensorMap<E, Tiled>,
    full: &Sequence<Shared<Barrier>>,
    empty: &Sequence<Shared<Barrier>>,
    ring: &mut SharedMemory<V8<E>>,
    tiles: &SharedMemory<V8<E>>,
    acc: &mut Accumulators,
    origin: usize,
    half: usize,
    lane: usize,
    row: u32,
    round: u32,
    #[comptime] ks: usize,
    #[comptime] r: usize,
    #[comptime] rows: Rows,
) {
    let total = comptime!(ks as u32 * 4);
    let b_base = half * 64 + lane;
    for dx in 0..ks {
        let turn = round + dx as u32;
        #[unroll]
        for k in 0..4usize {
            // Refills the slot used two stages ago, which all warps have normally left.
            let stage = dx as u32 * 4 + comptime!(k as u32);
            if UNIT_POS == 0 && stage >= 2 && stage + 2 < total {
                let slot = comptime!((k + 2) % 4);
                let used = turn - comptime!(if k < 2 { 1u32 } else { 0u32 });
                empty.index(slot).wait_parity(used & 1);
                let next = row + (stage + 2) * comptime!(ks as u32 * 4);
                fill_slot::<E>(full.index(slot), weights, ring, next, slot, ks);
            }
            full.index(k).wait_parity(turn & 1);
            let mut pixels = Sequence::<Array<V2<E>>>::new();
            #[unroll]
            for i in 0..comptime!(rows.end - rows.begin) {
                let i = comptime!(i + rows.begin);
                let o = origin + dx * PITCH + comptime!(i * SIDE * PITCH + k * 2);
                pixels.push(def.load_matrix::<_, Const<2>>(
                    &tiles.slice(o, o + 1),
                    MatrixIdent::A,
                    4usize,
                    false,
                ));
            }
            #[unroll]
            for dy in 0..ks {
                #[unroll]
                for block in 0..2usize {
                    let o = b_base + comptime!(k * SLOT + dy * 128 + block * 32);
                    let b = def.load_matrix::<_, Const<2>>(
                        &ring.slice(o, o + 1),
                        MatrixIdent::B,
                        4usize,
                        false,
                    );
                    let mut b0 = Array::<V2<E>>::new(2usize);
                    let mut b1 = Array::<V2<E>>::new(2usize);
                    b0[0] = b[0];
                    b0[1] = b[1];
                    b1[0] = b[2];
                    b1[1] = b[3];
                    #[unroll]
                    for i in 0..r {
                        if comptime!(rows.has(i + dy)) {
                            let at = comptime!(i * 4 + block * 2);
                            let a = pixels.index(comptime!(i + dy - rows.begin));
                            def.execute_inplace(a, &b0, acc.index_mut(at));
                            def.execute_inplace(a, &b1, acc.index_mut(comptime!(at + 1)));
                        }
                    }
                }
            }
            if UNIT_POS_PLANE == 0 {
                empty.index(k).arrive();
            }
        }
    }
}

/// Where a warp's fragments (one row of 16 pixels, 16 channels) lie in a stored map.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Fragments {
    /// Of this lane, in fragment 0.
    lane: usize,
    first_row: usize,
    first_block: usize,
    row_stride: usize,
    block_stride: usize,
}

#[cube]
impl Fragments {
    /// Of a map of 16 rows, or with `head` of a head's of 12.
    pub(super) fn new(
        head: bool,
        first_block: usize,
        group: usize,
        half: usize,
        lane: usize,
    ) -> Fragments {
        let mut first_row = group * 4;
        let mut row_stride = 4usize;
        let mut block_stride = 1usize;
        if head {
            first_row = group * 3;
            row_stride = 1;
            block_stride = 12;
        }
        Fragments {
            lane,
            first_row,
            first_block: first_block + half * 2,
            row_stride,
            block_stride,
        }
    }

    /// The place of fragment `number`: two blocks of channels, then the next row.
    pub(super) fn place(&self, number: usize) -> usize {
        let row = self.first_row + number / 2;
        let block = self.first_block + number % 2;
        (row * self.row_stride + block * self.block_stride) * 32 + self.lane
    }
}

/// What an operation does with its sums, in this order: bias and GELU, slope, sums, stores.
///
/// Values lie in global memory as the lanes hold them: for each image, row of pixels and 16 channels
/// 32 vectors of 8, one a lane. So every access is a whole coalesced vector.
///
/// One fragment a turn, the sums moving up: a loop's instructions stay in the cache, where code for
/// each fragment did not. `first`: what the first fragment is multiplied by, or what is added to it;
/// `dual`: its slope for the second tile.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn finish<E: Float>(
    def: &MmaDefinition<E, E, f32>,
    tiles: &mut SharedMemory<V8<E>>,
    acc: &mut Accumulators,
    first: V8<E>,
    first_at: usize,
    dual: V8<E>,
    dual_at: usize,
    fragments: Fragments,
    bias: &Array<f32>,
    store: &mut Array<V8<E>>,
    program: &Array<u32>,
    at: usize,
    image: usize,
    size: usize,
    half: usize,
    lane: usize,
) {
    let flags = program[at + op::FLAGS];
    let head = program[at + op::KIND] == op::HEAD;
    let mut stride = comptime!(op::MAP).runtime();
    let mut side = size;
    // Not a constant, so that the loop stays one.
    let mut count = 8 + size / 256;
    if head {
        stride = program[at + op::STRIDE] as usize;
        side = size - 4;
        count = 6;
    }
    let own = image * stride;
    let add_tile = program[at + op::ADD_TILE] as usize * TILE;
    let to_tile = program[at + op::TO_TILE] as usize * TILE;
    let dual_tile = program[at + op::DUAL_TILE] as usize * TILE;
    let bias_at = program[at + op::BIAS] as usize;
    let slope_at = program[at + op::SLOPE] as usize + own;
    let to_at = program[at + op::TO] as usize + own;
    let dual_to = program[at + op::DUAL_TO] as usize + own;
    let mut biases = Array::<f32>::new(8usize);
    #[unroll]
    for i in 0..8usize {
        biases[i] = 0.0;
        if flags & op::HAS_BIAS != 0 {
            let channel = comptime!(i / 4 * 16 + i / 2 % 2 * 8 + i % 2);
            biases[i] = bias[bias_at + half * 32 + lane % 4 * 2 + channel];
        }
    }
    let mut upcoming = Array::<V8<E>>::new(2usize);
    upcoming[0] = first;
    upcoming[1] = dual;
    for number in 0..count {
        let y = fragments.first_row + number / 2;
        let block = number % 2;
        let place = fragments.place(number);
        let mut v = Array::<f32>::new(8usize);
        #[unroll]
        for h in 0..2usize {
            let a = acc.index(h);
            #[unroll]
            for q in 0..2usize {
                let pair = a[q];
                #[unroll]
                for e in 0..2usize {
                    let mut b = biases[comptime!(h * 2 + e)];
                    if block == 1 {
                        b = biases[comptime!(4 + h * 2 + e)];
                    }
                    v[comptime!(h * 4 + q * 2 + e)] = pair[e] + b;
                }
            }
        }
        #[unroll]
        for t in 0..14usize {
            let from = acc.index(comptime!(t + 2));
            let low = from[0];
            let high = from[1];
            let to = acc.index_mut(t);
            to[0] = low;
            to[1] = high;
        }
        // Copies: a plain `let` would name the same registers.
        let operand = upcoming[0];
        let dual_operand = upcoming[1];
        let mut this = V8::<E>::empty();
        let mut slope_of_dual = V8::<E>::empty();
        #[unroll]
        for j in 0..8usize {
            this[j] = operand[j];
            slope_of_dual[j] = dual_operand[j];
        }
        if number + 1 < count {
            let next = fragments.place(number + 1);
            if flags & comptime!(op::TIMES_SLOPE | op::ADDS) != 0 {
                upcoming[0] = store[first_at + next];
            }
            if flags & op::DUALS != 0 {
                upcoming[1] = store[dual_at + next];
            }
        }
        if flags & op::GELU != 0 {
            let mut slope = V8::<E>::empty();
            #[unroll]
            for j in 0..8usize {
                let (value, bend) = gelu_with_slope(v[j]);
                v[j] = value;
                slope[j] = E::cast_from(bend);
            }
            store[slope_at + place] = slope;
        }
        if flags & op::TIMES_SLOPE != 0 {
            #[unroll]
            for j in 0..8usize {
                v[j] *= f32::cast_from(this[j]);
            }
        }
        // Eight pixels of 8 channels, the next 8 pixels, and both for the next 8 channels.
        let o = ((y + 2) * SIDE + lane % 16 + 2) * PITCH + (half * 2 + block) * 2 + lane / 16;
        if flags & op::ADDS_TILE != 0 {
            let t = add_tile + o;
            let own = def.load_matrix::<_, Const<2>>(
                &tiles.slice(t, t + 1),
                MatrixIdent::A,
                4usize,
                false,
            );
            #[unroll]
            for j in 0..4usize {
                let pair = own[j];
                v[comptime!(j * 2)] += f32::cast_from(pair[0]);
                v[comptime!(j * 2 + 1)] += f32::cast_from(pair[1]);
            }
        }
        if flags & op::ADDS != 0 {
            #[unroll]
            for j in 0..8usize {
                v[j] += f32::cast_from(this[j]);
            }
        }
        // Pixels beyond the map stay zero.
        #[unroll]
        for j in 0..8usize {
            let x = lane / 4 + comptime!((j / 2) % 2 * 8);
            if x >= side || y >= side {
                v[j] = 0.0;
            }
        }
        if flags & op::STORES != 0 {
            store[to_at + place] = whole::<E>(&v);
        }
        if flags & op::WRITES_TILE != 0 {
            let out = pairs::<E>(&v);
            let t = to_tile + o;
            def.store_matrix(
                &mut tiles.slice_mut(t, t + 1),
                &out,
                MatrixIdent::Accumulator,
                4usize,
                false,
            );
        }
        if flags & op::DUALS != 0 {
            #[unroll]
            for j in 0..8usize {
                v[j] *= f32::cast_from(slope_of_dual[j]);
            }
            if flags & op::STORES_DUAL != 0 {
                store[dual_to + place] = whole::<E>(&v);
            }
            let out = pairs::<E>(&v);
            let t = dual_tile + o;
            def.store_matrix(
                &mut tiles.slice_mut(t, t + 1),
                &out,
                MatrixIdent::Accumulator,
                4usize,
                false,
            );
        }
    }
}

/// Eight values as a vector.
#[cube]
pub(super) fn whole<E: Float>(v: &Array<f32>) -> V8<E> {
    let mut out = V8::<E>::empty();
    #[unroll]
    for j in 0..8usize {
        out[j] = E::cast_from(v[j]);
    }
    out
}

/// Eight values as four pairs, as the tensor cores hold them.
#[cube]
pub(super) fn pairs<E: Float>(v: &Array<f32>) -> Array<V2<E>> {
    let mut out = Array::<V2<E>>::new(4usize);
    #[unroll]
    for j in 0..4usize {
        let mut pair = V2::<E>::empty();
        pair[0] = E::cast_from(v[comptime!(j * 2)]);
        pair[1] = E::cast_from(v[comptime!(j * 2 + 1)]);
        out[j] = pair;
    }
    out
}

/// `x Φ(x)` and `Φ(x) + x φ(x)`, with the error function of Abramowitz and Stegun 7.1.26 (absolute
/// error 1.5e-7): its exponential is also the density's.
#[cube]
pub(super) fn gelu_with_slope(x: f32) -> (f32, f32) {
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
