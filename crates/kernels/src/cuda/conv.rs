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

use super::lanes::{Accumulators, V2, V8};

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
            // Refills the slot used two stages ago, which all warps have normally left. The warps take
            // turns: one alone would be late for every stage, and all others with it.
            let stage = dx as u32 * 4 + comptime!(k as u32);
            if UNIT_POS == stage % WARPS * 32 && stage >= 2 && stage + 2 < total {
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
