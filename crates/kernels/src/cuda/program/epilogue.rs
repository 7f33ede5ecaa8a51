//! What follows an operation's sums: bias, GELU, slopes, sums with other maps, and where they go.

use cubecl::{cmma::MmaDefinition, ir::MatrixIdent, prelude::*};

use super::{
    super::{
        conv::{PITCH, SIDE, TILE},
        lanes::{Accumulators, V8, pairs, whole},
        op,
    },
    image::pixel,
};

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

/// An operation's biases of the channels that a lane has: four in each of two blocks of 16.
#[cube]
pub(super) fn load_biases(
    bias: &Array<f32>,
    program: &SharedMemory<u32>,
    at: usize,
    half: usize,
    lane: usize,
) -> Array<f32> {
    let mut biases = Array::<f32>::new(8usize);
    let first = program[at + op::BIAS] as usize + half * 32 + lane % 4 * 2;
    #[unroll]
    for i in 0..8usize {
        biases[i] = 0.0;
        if program[at + op::FLAGS] & op::HAS_BIAS != 0 {
            biases[i] = bias[first + comptime!(i / 4 * 16 + i / 2 % 2 * 8 + i % 2)];
        }
    }
    biases
}

/// What an operation does with its sums, in this order: bias, GELU or image, slope, sums, stores.
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
    biases: &Array<f32>,
    store: &mut Array<V8<E>>,
    images: &Array<f32>,
    mask: &Array<f32>,
    gradients: &mut Array<f32>,
    squares: &mut Array<f32>,
    program: &SharedMemory<u32>,
    control: &Array<u32>,
    at: usize,
    image: usize,
    mode: u32,
    weight: f32,
    half: usize,
    lane: usize,
    #[comptime] wide: bool,
) {
    let size = control[op::SIZE] as usize;
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
    let slope_at = program[at + op::SLOPE] as usize + own;
    let to_at = program[at + op::TO] as usize + own;
    let dual_to = program[at + op::DUAL_TO] as usize + own;
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
        if comptime!(wide) {
            if flags & op::IMAGE != 0 {
                // 64 columns: the four by four pixels that a pixel becomes, of up to four channels.
                let channels = control[op::CHANNELS] as usize;
                #[unroll]
                for j in 0..8usize {
                    let column = lane % 4 * 2 + comptime!(j / 4 * 8 + j % 2);
                    let c = column % 4;
                    let x = lane / 4 + comptime!((j / 2) % 2 * 8);
                    let mut gradient = 0.0f32;
                    if c < channels && x < side && y < side {
                        let fine = y * 4 + half * 2 + block;
                        let o = ((image * channels + c) * side * 4 + fine) * side * 4
                            + x * 4
                            + column / 4;
                        gradient = pixel(
                            v[j],
                            o,
                            images,
                            mask,
                            gradients,
                            squares,
                            control[op::MASKED],
                            mode,
                            weight,
                        );
                    }
                    v[j] = gradient;
                }
            }
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
        if comptime!(wide) {
            if flags & op::ADDS_MORE != 0 {
                let more = store[program[at + op::ADD_MORE] as usize + own + place];
                #[unroll]
                for j in 0..8usize {
                    v[j] += f32::cast_from(more[j]);
                }
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
            let mut writes = flags & op::WRITES_DUAL;
            if comptime!(!wide) {
                writes = 1u32;
            }
            if writes != 0 {
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
