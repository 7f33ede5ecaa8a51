//! Convolutions with few channels on one side: their weights come straight from global memory, packed
//! as the tensor cores want them.

use cubecl::{cmma::MmaDefinition, ir::MatrixIdent, prelude::*};

use super::{
    conv::{PITCH, SIDE},
    lanes::{Accumulators, V2, V8, quarter},
};

/// Vectors of 8 from one pixel of a narrow tile (16 channels) to the next.
pub(super) const NARROW_PITCH: usize = 3;
/// Vectors of 8 in a narrow tile.
pub(super) const NARROW_TILE: usize = SIDE * SIDE * NARROW_PITCH;

/// From 16 channels to 64: adds `rows` times `columns` taps to the accumulators of four rows.
///
/// `origin`: where this lane's first pixel lies in the narrow tile; neighbouring columns of taps are
/// `step` pixels apart.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn widen<E: Float>(
    def: &MmaDefinition<E, E, f32>,
    narrow: &SharedMemory<V8<E>>,
    weights: &Array<V8<E>>,
    acc: &mut Accumulators,
    weights_at: usize,
    origin: usize,
    half: usize,
    lane: usize,
    #[comptime] rows: usize,
    #[comptime] columns: usize,
    #[comptime] step: usize,
) {
    for dx in 0..columns {
        // All loads at once, to wait for them once.
        let mut loaded = Sequence::<V8<E>>::new();
        #[unroll]
        for i in 0..comptime!(rows * 2) {
            let fragment = comptime!(i / 2 * columns * 4 + i % 2) + dx * 4 + half * 2;
            loaded.push(weights[weights_at + fragment * 32 + lane]);
        }
        let mut pixels = Sequence::<Array<V2<E>>>::new();
        #[unroll]
        for i in 0..comptime!(4 + rows - 1) {
            let o =
                origin + dx * comptime!(step * NARROW_PITCH) + comptime!(i * SIDE * NARROW_PITCH);
            pixels.push(def.load_matrix::<_, Const<2>>(
                &narrow.slice(o, o + 1),
                MatrixIdent::A,
                4usize,
                false,
            ));
        }
        #[unroll]
        for dy in 0..rows {
            #[unroll]
            for block in 0..2usize {
                let b = *loaded.index(comptime!(dy * 2 + block));
                let b0 = quarter::<E>(b, 0usize);
                let b1 = quarter::<E>(b, 1usize);
                #[unroll]
                for i in 0..4usize {
                    let at = comptime!(i * 4 + block * 2);
                    let a = pixels.index(comptime!(i + dy));
                    def.execute_inplace(a, &b0, acc.index_mut(at));
                    def.execute_inplace(a, &b1, acc.index_mut(comptime!(at + 1)));
                }
            }
        }
    }
}

/// From 64 channels to 16, kernel `ks`: adds to the sums of this warp's two rows, `[row][8 channels]`.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn narrow_down<E: Float>(
    def: &MmaDefinition<E, E, f32>,
    tiles: &SharedMemory<V8<E>>,
    weights: &Array<V8<E>>,
    acc: &mut Accumulators,
    weights_at: usize,
    tile: usize,
    warp: usize,
    lane: usize,
    #[comptime] ks: usize,
) {
    let border = comptime!((5 - ks) / 2);
    let origin = tile + ((warp * 2 + border) * SIDE + lane % 16 + border) * PITCH + lane / 16;
    for dx in 0..ks {
        // As many loads at once as registers allow.
        let mut loaded = Sequence::<V8<E>>::new();
        #[unroll]
        for i in 0..comptime!(4 * ks) {
            loaded.push(weights[weights_at + (dx * comptime!(4 * ks) + i) * 32 + lane]);
        }
        #[unroll]
        for k in 0..4usize {
            let mut pixels = Sequence::<Array<V2<E>>>::new();
            #[unroll]
            for i in 0..comptime!(2 + ks - 1) {
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
                let b = *loaded.index(comptime!(k * ks + dy));
                let b0 = quarter::<E>(b, 0usize);
                let b1 = quarter::<E>(b, 1usize);
                #[unroll]
                for i in 0..2usize {
                    let a = pixels.index(comptime!(i + dy));
                    def.execute_inplace(a, &b0, acc.index_mut(comptime!(i * 2)));
                    // Seeds have four channels: the upper eight are for the image.
                    if comptime!(ks != 5) {
                        def.execute_inplace(a, &b1, acc.index_mut(comptime!(i * 2 + 1)));
                    }
                }
            }
        }
    }
}
