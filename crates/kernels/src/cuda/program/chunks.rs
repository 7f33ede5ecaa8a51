//! Operations on maps that come from global memory, 64 channels at a time.
//!
//! Such a map has a stored map for each 64 channels, one after the other; they go through the two tiles
//! in turn, and their products into the same sums.

use cubecl::{
    cmma::MmaDefinition,
    prelude::{barrier::Barrier, *},
};

use super::{
    super::{
        conv::{PITCH, Rows, SIDE, TILE, convolve, prefetch},
        lanes::{Accumulators, V8, Words, put, words},
        narrow::narrow_down,
        op,
        pack::{DOWN3, DOWN5, ROWS3, ROWS5},
    },
    origin,
};

/// A stored map of 64 channels to a tile. `at`: where this image's lies.
#[cube]
fn load_map<E: Float>(
    def: &MmaDefinition<E, E, f32>,
    store: &Array<V8<E>>,
    tiles: &mut SharedMemory<V8<E>>,
    at: usize,
    tile: usize,
    warp: usize,
    lane: usize,
) {
    let mut loaded = Sequence::<V8<E>>::new();
    #[unroll]
    for i in 0..8usize {
        loaded.push(store[at + (warp + comptime!(i * 8)) * 32 + lane]);
    }
    #[unroll]
    for i in 0..8usize {
        let fragment = warp + comptime!(i * 8);
        let (y, block) = (fragment / 4, fragment % 4);
        let o = tile + ((y + 2) * SIDE + lane % 16 + 2) * PITCH + block * 2 + lane / 16;
        put::<E>(def, tiles, *loaded.index(i), o);
    }
}

/// What a lane has of 64 channels of a head's map, on its way from global memory.
pub(super) type HeadMap = Array<Words>;

/// Begins to load 64 channels of a head's map. `at`: where this image's map lies.
#[cube]
pub(super) fn load_head_map<E: Float>(
    loaded: &mut HeadMap,
    store: &Array<V8<E>>,
    at: usize,
    chunk: u32,
    warp: usize,
    lane: usize,
) {
    #[unroll]
    for i in 0..6usize {
        // Six of 48 fragments: the chunk is as contiguous as they are.
        let fragment = chunk as usize * 48 + warp + comptime!(i * 8);
        loaded[i] = words::<E>(store, at + fragment * 32 + lane);
    }
}

/// Puts them into a tile; the map has a border of four.
#[cube]
pub(super) fn put_head_map<E: Float>(
    def: &MmaDefinition<E, E, f32>,
    loaded: &HeadMap,
    tiles: &mut SharedMemory<V8<E>>,
    tile: usize,
    warp: usize,
    lane: usize,
) {
    #[unroll]
    for i in 0..6usize {
        let fragment = warp + comptime!(i * 8);
        let (block, y) = (fragment / 12, fragment % 12);
        let o = tile + ((y + 4) * SIDE + lane % 16 + 4) * PITCH + block * 2 + lane / 16;
        put::<E>(def, tiles, V8::<E>::reinterpret(loaded[i]), o);
    }
}

/// Loads a chunk of an operation's input into the tile that is returned; passes a barrier. With no
/// chunks the input is in a tile already.
#[cube]
#[allow(clippy::too_many_arguments)]
fn load<E: Float>(
    def: &MmaDefinition<E, E, f32>,
    store: &Array<V8<E>>,
    tiles: &mut SharedMemory<V8<E>>,
    program: &SharedMemory<u32>,
    at: usize,
    chunk: u32,
    image: usize,
    warp: usize,
    lane: usize,
) -> usize {
    let mut tile = program[at + op::FROM_TILE] as usize * TILE;
    if program[at + op::CHUNKS] != 0 {
        // The other tile has been left by all warps two barriers ago.
        tile = (chunk % 2) as usize * TILE;
        let first = program[at + op::CHUNKS_AT] as usize;
        if program[at + op::FLAGS] & op::MAPS != 0 {
            let map = chunk as usize * CUBE_COUNT + image;
            let map_at = first + map * comptime!(op::MAP);
            load_map::<E>(def, store, tiles, map_at, tile, warp, lane);
        } else {
            let map_at = first + image * program[at + op::STRIDE] as usize;
            let mut loaded = HeadMap::new(6usize);
            load_head_map::<E>(&mut loaded, store, map_at, chunk, warp, lane);
            put_head_map::<E>(def, &loaded, tiles, tile, warp, lane);
        }
        sync_cube();
    }
    tile
}

/// Adds a convolution of all chunks to the sums; returns how many times the ring has gone round then.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn convolve_chunks<E: Float>(
    def: &MmaDefinition<E, E, f32>,
    weights5: &TensorMap<E, Tiled>,
    weights3: &TensorMap<E, Tiled>,
    full: &Sequence<Shared<Barrier>>,
    empty: &Sequence<Shared<Barrier>>,
    ring: &mut SharedMemory<V8<E>>,
    tiles: &mut SharedMemory<V8<E>>,
    store: &Array<V8<E>>,
    acc: &mut Accumulators,
    program: &SharedMemory<u32>,
    at: usize,
    image: usize,
    warp: usize,
    lane: usize,
    round: u32,
) -> u32 {
    let group = warp / 2;
    let half = warp % 2;
    let kind = program[at + op::KIND];
    let of_head = program[at + op::CHUNKS] != 0 && program[at + op::FLAGS] & op::MAPS == 0;
    let mut turn = round;
    let mut row = program[at + op::WEIGHTS];
    let mut times = program[at + op::CHUNKS];
    if times == 0 {
        times = 1u32;
    }
    for chunk in 0..times {
        let tile = load::<E>(def, store, tiles, program, at, chunk, image, warp, lane);
        // After the first chunk, the ring is free here.
        if UNIT_POS == 0 && chunk != 0 {
            let mut kernel = 5u32;
            if kind == op::CONV3 {
                kernel = 3u32;
            }
            prefetch::<E>(full, weights5, weights3, ring, kernel, row);
        }
        if kind == op::CONV3 {
            convolve::<E>(
                def,
                weights3,
                full,
                empty,
                ring,
                tiles,
                acc,
                tile + origin(group * 4 + 1, 1usize, lane),
                half,
                lane,
                row,
                turn,
                3usize,
                4usize,
                Rows::KERNEL3,
            );
            turn += 3;
            row += ROWS3;
        } else {
            let outer = tile + origin(group * 4, 0usize, lane);
            if kind == op::HEAD {
                convolve::<E>(
                    def,
                    weights5,
                    full,
                    empty,
                    ring,
                    tiles,
                    acc,
                    tile + origin(group * 3 + 2, 2usize, lane),
                    half,
                    lane,
                    row,
                    turn,
                    5usize,
                    3usize,
                    Rows::HEAD,
                );
            } else if of_head && group == 0 {
                convolve::<E>(
                    def,
                    weights5,
                    full,
                    empty,
                    ring,
                    tiles,
                    acc,
                    outer,
                    half,
                    lane,
                    row,
                    turn,
                    5usize,
                    4usize,
                    Rows::LOWER,
                );
            } else if of_head && group == 3 {
                convolve::<E>(
                    def,
                    weights5,
                    full,
                    empty,
                    ring,
                    tiles,
                    acc,
                    outer,
                    half,
                    lane,
                    row,
                    turn,
                    5usize,
                    4usize,
                    Rows::UPPER,
                );
            } else {
                convolve::<E>(
                    def,
                    weights5,
                    full,
                    empty,
                    ring,
                    tiles,
                    acc,
                    outer,
                    half,
                    lane,
                    row,
                    turn,
                    5usize,
                    4usize,
                    Rows::ALL,
                );
            }
            turn += 5;
            row += ROWS5;
        }
    }
    turn
}

/// Adds a convolution of all chunks to 16 channels, kernel `ks`, to the sums of a warp's two rows.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn narrow_chunks<E: Float>(
    def: &MmaDefinition<E, E, f32>,
    tiles: &mut SharedMemory<V8<E>>,
    store: &Array<V8<E>>,
    packed: &Array<V8<E>>,
    acc: &mut Accumulators,
    program: &SharedMemory<u32>,
    at: usize,
    image: usize,
    warp: usize,
    lane: usize,
    #[comptime] ks: usize,
) {
    let mut weights = program[at + op::WEIGHTS] as usize;
    let mut times = program[at + op::CHUNKS];
    if times == 0 {
        times = 1u32;
    }
    for chunk in 0..times {
        let tile = load::<E>(def, store, tiles, program, at, chunk, image, warp, lane);
        narrow_down::<E>(def, tiles, packed, acc, weights, tile, warp, lane, ks);
        weights += comptime!(if ks == 5 { DOWN5 } else { DOWN3 });
    }
}
