//! What follows an operation's sums: bias, GELU, slopes, sums with other maps, and where they go.

use cubecl::{cmma::MmaDefinition, ir::MatrixIdent, prelude::*};

use super::{
    super::{
        conv::{PITCH, SIDE, TILE},
        lanes::{Accumulators, V8, Words, pairs, whole, words},
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

    /// The place of the first of row `number`'s two fragments.
    fn row(&self, number: usize) -> usize {
        let row = self.first_row + number;
        (row * self.row_stride + self.first_block * self.block_stride) * 32 + self.lane
    }
}

/// What a row's sums are multiplied by, or what is added to them, and their slopes for the second tile:
/// of two fragments each.
type Operands = Array<Words>;

/// None yet.
#[cube]
pub(super) fn no_operands() -> Operands {
    let mut operands = Operands::new(4usize);
    #[unroll]
    for i in 0..4usize {
        operands[i] = Vector::new(0u32);
    }
    operands
}

/// Begins to load those of row `number`, where the flags want them. `first_at`, `dual_at`: the image's maps.
#[cube]
pub(super) fn load_operands<E: Float>(
    operands: &mut Operands,
    store: &Array<V8<E>>,
    fragments: &Fragments,
    number: usize,
    flags: u32,
    first_at: usize,
    dual_at: usize,
) {
    let place = fragments.row(number);
    let next = fragments.block_stride * 32;
    if flags & comptime!(op::TIMES_SLOPE | op::ADDS) != 0 {
        operands[0] = words::<E>(store, first_at + place);
        operands[1] = words::<E>(store, first_at + place + next);
    }
    if flags & op::DUALS != 0 {
        operands[2] = words::<E>(store, dual_at + place);
        operands[3] = words::<E>(store, dual_at + place + next);
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
/// Two rows a turn, the sums moving up: code for each row would not stay in the instruction cache, and with one
/// row a turn nothing hides what it waits for. While one row is worked on the next one's operands are loaded.
/// `even`: the first row's; `first_at`, `dual_at`: see [`load_operands`].
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn finish<E: Float>(
    def: &MmaDefinition<E, E, f32>,
    tiles: &mut SharedMemory<V8<E>>,
    acc: &mut Accumulators,
    even: &mut Operands,
    first_at: usize,
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
    size: usize,
    at: usize,
    image: usize,
    mode: u32,
    weight: f32,
    half: usize,
    lane: usize,
    #[comptime] wide: bool,
) {
    let mut rows = 4usize.runtime();
    if program[at + op::KIND] == op::HEAD {
        rows = 3;
    }
    let flags = program[at + op::FLAGS];
    let mut odd = no_operands();
    for turn in 0..rows.div_ceil(2usize) {
        let row = turn * 2;
        if row + 1 < rows {
            load_operands::<E>(
                &mut odd,
                store,
                &fragments,
                row + 1,
                flags,
                first_at,
                dual_at,
            );
        }
        finish_row::<E>(
            def, tiles, acc, even, &fragments, row, biases, store, images, mask, gradients,
            squares, program, control, size, at, image, mode, weight, half, lane, 0usize, wide,
        );
        if row + 1 < rows {
            if row + 2 < rows {
                load_operands::<E>(even, store, &fragments, row + 2, flags, first_at, dual_at);
            }
            finish_row::<E>(
                def,
                tiles,
                acc,
                &odd,
                &fragments,
                row + 1,
                biases,
                store,
                images,
                mask,
                gradients,
                squares,
                program,
                control,
                size,
                at,
                image,
                mode,
                weight,
                half,
                lane,
                4usize,
                wide,
            );
        }
        #[unroll]
        for t in 0..8usize {
            let from = acc.index(comptime!(t + 8));
            let low = from[0];
            let high = from[1];
            let to = acc.index_mut(t);
            to[0] = low;
            to[1] = high;
        }
    }
}

/// The same for one row of 16 pixels, in 32 channels. `sums`: where its accumulators begin.
#[cube]
#[allow(clippy::too_many_arguments)]
fn finish_row<E: Float>(
    def: &MmaDefinition<E, E, f32>,
    tiles: &mut SharedMemory<V8<E>>,
    acc: &Accumulators,
    operands: &Operands,
    fragments: &Fragments,
    number: usize,
    biases: &Array<f32>,
    store: &mut Array<V8<E>>,
    images: &Array<f32>,
    mask: &Array<f32>,
    gradients: &mut Array<f32>,
    squares: &mut Array<f32>,
    program: &SharedMemory<u32>,
    control: &Array<u32>,
    size: usize,
    at: usize,
    image: usize,
    mode: u32,
    weight: f32,
    half: usize,
    lane: usize,
    #[comptime] sums: usize,
    #[comptime] wide: bool,
) {
    let flags = program[at + op::FLAGS];
    let mut own = image * comptime!(op::MAP);
    let mut side = size;
    if program[at + op::KIND] == op::HEAD {
        own = image * program[at + op::STRIDE] as usize;
        side -= 4;
    }
    let y = fragments.first_row + number;
    // Of the first fragment; the second one's 16 channels are `next` further on.
    let place = fragments.row(number);
    let next = fragments.block_stride * 32;
    let o = ((y + 2) * SIDE + lane % 16 + 2) * PITCH + half * 4 + lane / 16;
    // Of each fragment eight: 8 pixels of 8 channels, the next 8 pixels, both for the next 8 channels.
    let mut v = Array::<f32>::new(16usize);
    #[unroll]
    for n in 0..4usize {
        let a = acc.index(comptime!(sums + n));
        #[unroll]
        for q in 0..2usize {
            let pair = a[q];
            #[unroll]
            for e in 0..2usize {
                v[comptime!(n * 4 + q * 2 + e)] = pair[e] + biases[comptime!(n * 2 + e)];
            }
        }
    }
    if flags & op::GELU != 0 {
        let mut slopes = Array::<f32>::new(16usize);
        #[unroll]
        for j in 0..16usize {
            let (value, slope) = gelu_by_tanh(v[j]);
            v[j] = value;
            slopes[j] = slope;
        }
        let to = program[at + op::SLOPE] as usize + own + place;
        store[to] = whole::<E>(&slopes, 0usize);
        store[to + next] = whole::<E>(&slopes, 8usize);
    }
    if comptime!(wide) {
        if flags & op::IMAGE != 0 {
            // 64 columns: the four by four pixels that a pixel becomes, of up to four channels.
            let channels = control[op::CHANNELS] as usize;
            #[unroll]
            for j in 0..16usize {
                let block = comptime!(j / 8);
                let column = lane % 4 * 2 + comptime!((j / 4) % 2 * 8 + j % 2);
                let c = column % 4;
                let x = lane / 4 + comptime!((j / 2) % 2 * 8);
                let mut gradient = 0.0f32;
                if c < channels && x < side && y < side {
                    let fine = y * 4 + half * 2 + block;
                    let o =
                        ((image * channels + c) * side * 4 + fine) * side * 4 + x * 4 + column / 4;
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
        for block in 0..2usize {
            let slope = V8::<E>::reinterpret(operands[block]);
            #[unroll]
            for j in 0..8usize {
                v[comptime!(block * 8 + j)] *= f32::cast_from(slope[j]);
            }
        }
    }
    if flags & op::ADDS_TILE != 0 {
        let t = program[at + op::ADD_TILE] as usize * TILE + o;
        #[unroll]
        for block in 0..2usize {
            let t = t + comptime!(block * 2);
            let tile = def.load_matrix::<_, Const<2>>(
                &tiles.slice(t, t + 1),
                MatrixIdent::A,
                4usize,
                false,
            );
            #[unroll]
            for j in 0..4usize {
                let pair = tile[j];
                v[comptime!(block * 8 + j * 2)] += f32::cast_from(pair[0]);
                v[comptime!(block * 8 + j * 2 + 1)] += f32::cast_from(pair[1]);
            }
        }
    }
    if flags & op::ADDS != 0 {
        #[unroll]
        for block in 0..2usize {
            let more = V8::<E>::reinterpret(operands[block]);
            #[unroll]
            for j in 0..8usize {
                v[comptime!(block * 8 + j)] += f32::cast_from(more[j]);
            }
        }
    }
    if comptime!(wide) {
        if flags & op::ADDS_MORE != 0 {
            let from = program[at + op::ADD_MORE] as usize + own + place;
            #[unroll]
            for block in 0..2usize {
                let more = store[from + block * next];
                #[unroll]
                for j in 0..8usize {
                    v[comptime!(block * 8 + j)] += f32::cast_from(more[j]);
                }
            }
        }
    }
    // Pixels beyond the map stay zero.
    if side < 16 {
        #[unroll]
        for j in 0..16usize {
            let x = lane / 4 + comptime!((j / 2) % 2 * 8);
            if x >= side || y >= side {
                v[j] = 0.0;
            }
        }
    }
    if flags & op::STORES != 0 {
        let to = program[at + op::TO] as usize + own + place;
        store[to] = whole::<E>(&v, 0usize);
        store[to + next] = whole::<E>(&v, 8usize);
    }
    if flags & op::WRITES_TILE != 0 {
        put_row::<E>(
            def,
            tiles,
            &v,
            program[at + op::TO_TILE] as usize * TILE + o,
        );
    }
    if flags & op::DUALS != 0 {
        #[unroll]
        for block in 0..2usize {
            let slope = V8::<E>::reinterpret(operands[comptime!(2 + block)]);
            #[unroll]
            for j in 0..8usize {
                v[comptime!(block * 8 + j)] *= f32::cast_from(slope[j]);
            }
        }
        if flags & op::STORES_DUAL != 0 {
            let to = program[at + op::DUAL_TO] as usize + own + place;
            store[to] = whole::<E>(&v, 0usize);
            store[to + next] = whole::<E>(&v, 8usize);
        }
        let mut writes = flags & op::WRITES_DUAL;
        if comptime!(!wide) {
            writes = 1u32;
        }
        if writes != 0 {
            put_row::<E>(
                def,
                tiles,
                &v,
                program[at + op::DUAL_TILE] as usize * TILE + o,
            );
        }
    }
}

/// A row's two fragments to a tile. `at`: this lane's row and half of the channels there.
#[cube]
fn put_row<E: Float>(
    def: &MmaDefinition<E, E, f32>,
    tiles: &mut SharedMemory<V8<E>>,
    v: &Array<f32>,
    at: usize,
) {
    #[unroll]
    for block in 0..2usize {
        let out = pairs::<E>(v, comptime!(block * 8));
        let t = at + comptime!(block * 2);
        def.store_matrix(
            &mut tiles.slice_mut(t, t + 1),
            &out,
            MatrixIdent::Accumulator,
            4usize,
            false,
        );
    }
}

/// `x Φ(x)` and its derivative, with `Φ(x) = (1 + tanh u(x)) / 2`, `u` a polynomial. For results of 16 bits:
/// `u` puts `Φ` off by 4e-5, the hardware's tanh by up to 2.4e-4; a bf16 just below 1 is rounded by up to 2e-3. The
/// derivative is that of what is computed.
#[cube]
fn gelu_by_tanh(x: f32) -> (f32, f32) {
    // Beyond, tanh is 1, and the polynomial would turn back.
    let square = f32::min(x * x, 36.0f32);
    let t =
        f32::tanh(x * (0.797598245f32 + square * (0.0369196827f32 - square * 0.000327872913f32)));
    let bend = 0.398799122f32 + square * (0.0553795240f32 - square * 0.000819682283f32);
    let cdf = 0.5f32 + t * 0.5f32;
    (x * cdf, cdf + x * (1.0f32 - t * t) * bend)
}
