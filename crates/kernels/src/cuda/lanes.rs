//! Values as the lanes of a warp hold them: operands, sums, and fragments of stored maps.
//!
//! A fragment is one row of 16 pixels in 16 channels: 32 vectors of 8, one a lane. So every access to
//! global memory is a whole coalesced vector.

use cubecl::{cmma::MmaDefinition, ir::MatrixIdent, prelude::*};

pub(super) type V2<E> = Vector<E, Const<2>>;
pub(super) type V8<E> = Vector<E, Const<8>>;
/// A vector of 8 as registers hold it, two values in a word. Values kept from one turn of a loop to the next
/// would be moved apart as soon as they are loaded, and that waits for them; words are not.
pub(super) type Words = Vector<u32, Const<4>>;
/// Sums: arrays of two (upper and lower eight rows) for each 16 rows and 8 columns.
pub(super) type Accumulators = Sequence<Array<V2<f32>>>;

/// Sums of zero.
#[cube]
pub(super) fn zeros(#[comptime] count: usize) -> Accumulators {
    let mut acc = Sequence::<Array<V2<f32>>>::new();
    #[unroll]
    for _i in 0..count {
        let mut a = Array::<V2<f32>>::new(2usize);
        a[0] = Vector::new(0.0f32);
        a[1] = Vector::new(0.0f32);
        acc.push(a);
    }
    acc
}

/// Eight values, from `first` on, as a vector.
#[cube]
pub(super) fn whole<E: Float>(v: &Array<f32>, #[comptime] first: usize) -> V8<E> {
    let mut out = V8::<E>::empty();
    #[unroll]
    for j in 0..8usize {
        out[j] = E::cast_from(v[comptime!(first + j)]);
    }
    out
}

/// The same as four pairs, as the tensor cores hold them.
#[cube]
pub(super) fn pairs<E: Float>(v: &Array<f32>, #[comptime] first: usize) -> Array<V2<E>> {
    let mut out = Array::<V2<E>>::new(4usize);
    #[unroll]
    for j in 0..4usize {
        let mut pair = V2::<E>::empty();
        pair[0] = E::cast_from(v[comptime!(first + j * 2)]);
        pair[1] = E::cast_from(v[comptime!(first + j * 2 + 1)]);
        out[j] = pair;
    }
    out
}

/// Begins to load a vector.
#[cube]
pub(super) fn words<E: Float>(from: &Array<V8<E>>, at: usize) -> Words {
    Words::reinterpret(from[at])
}

/// Half of a lane's vector as an operand of 8 columns.
#[cube]
pub(super) fn quarter<E: Float>(b: V8<E>, #[comptime] which: usize) -> Array<V2<E>> {
    let mut out = Array::<V2<E>>::new(2usize);
    #[unroll]
    for j in 0..2usize {
        let mut pair = V2::<E>::empty();
        pair[0] = b[comptime!(which * 4 + j * 2)];
        pair[1] = b[comptime!(which * 4 + j * 2 + 1)];
        out[j] = pair;
    }
    out
}

/// The same of words.
#[cube]
pub(super) fn columns_operand<E: Float>(of: Words, #[comptime] part: usize) -> Array<V2<E>> {
    let mut out = Array::<V2<E>>::new(2usize);
    out[0] = V2::<E>::reinterpret(of[comptime!(part * 2)]);
    out[1] = V2::<E>::reinterpret(of[comptime!(part * 2 + 1)]);
    out
}

/// One of two operands of 8 columns, from four matrices loaded at once.
#[cube]
pub(super) fn loaded_columns<E: Float>(b: &Array<V2<E>>, #[comptime] which: usize) -> Array<V2<E>> {
    let mut out = Array::<V2<E>>::new(2usize);
    out[0] = b[comptime!(which * 2)];
    out[1] = b[comptime!(which * 2 + 1)];
    out
}

/// 16 rows and 16 columns of the left factor, from 8 values each of row `lane / 4` and of the row 8
/// further on; `part`: which four of the eight.
#[cube]
pub(super) fn rows_operand<E: Float>(
    upper: Words,
    lower: Words,
    #[comptime] part: usize,
) -> Array<V2<E>> {
    let mut out = Array::<V2<E>>::new(4usize);
    out[0] = V2::<E>::reinterpret(upper[comptime!(part * 2)]);
    out[1] = V2::<E>::reinterpret(lower[comptime!(part * 2)]);
    out[2] = V2::<E>::reinterpret(upper[comptime!(part * 2 + 1)]);
    out[3] = V2::<E>::reinterpret(lower[comptime!(part * 2 + 1)]);
    out
}

/// A stored fragment to shared memory; `at`: this lane's row and half of the channels there.
#[cube]
pub(super) fn put<E: Float>(
    def: &MmaDefinition<E, E, f32>,
    to: &mut SharedMemory<V8<E>>,
    v: V8<E>,
    at: usize,
) {
    let mut out = Array::<V2<E>>::new(4usize);
    #[unroll]
    for p in 0..4usize {
        let mut pair = V2::<E>::empty();
        pair[0] = v[comptime!(p * 2)];
        pair[1] = v[comptime!(p * 2 + 1)];
        out[p] = pair;
    }
    def.store_matrix(
        &mut to.slice_mut(at, at + 1),
        &out,
        MatrixIdent::Accumulator,
        4usize,
        false,
    );
}
