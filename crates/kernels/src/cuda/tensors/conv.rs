//! Convolutions of stride 1, and the transposed ones of stride 2 as such.
//!
//! A cube makes up to 256 pixels of one map in up to 64 channels. The map comes through shared
//! memory 16 channels at a time, with its border; weights are packed as the tensor cores want them,
//! high and low parts, and come from the caches.

use cubecl::{cmma::MmaDefinition, cuda::CudaRuntime, prelude::*, server::Handle};
use half::bf16;

use super::{
    super::lanes::{V2, V8, quarter, zeros},
    Client, add_product, fragment,
};

/// Pixels of a result that a cube makes.
const PIXELS: usize = 256;
/// Pixels of the map that it reads, border included.
const ROOM: usize = 448;
/// Vectors of 8 from one pixel to the next: 16 channels, padded.
const PITCH: usize = 3;
/// Vectors of 8 in one part of the map.
const PART: usize = ROOM * PITCH;
const THREADS: usize = 256;

/// What a weight means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// `[outputs, inputs, k, k]`, stride 1.
    Plain,
    /// A transposed convolution `[inputs, outputs / 4, 4, 4]` of stride 2 and padding 1, which
    /// doubles a map: 3x3 of stride 1 to four times the channels, spread over the finer grid.
    Doubling,
    /// Its transpose: `[outputs, inputs / 4, 4, 4]`, from the finer grid.
    Halving,
}

/// A convolution of maps; for [`Form::Doubling`] and [`Form::Halving`] sizes are those of the coarse
/// grid, kernel 3 and padding 1, and four values of the fine grid count as channels.
#[derive(Clone, Copy, Debug)]
pub struct Convolution {
    /// What the weight means.
    pub form: Form,
    /// Maps, one after the other.
    pub maps: usize,
    /// Channels that are read.
    pub inputs: usize,
    /// Channels that are made.
    pub outputs: usize,
    /// Height and width of the map that is read.
    pub size: [usize; 2],
    /// Side of the kernel.
    pub kernel: usize,
    /// Zeros around the map.
    pub padding: usize,
}

/// How many pixels and channels a warp makes.
#[derive(Clone, Copy)]
struct Warps {
    /// Times 16 pixels.
    pixels: usize,
    /// Times 16 channels.
    channels: usize,
    /// Groups of warps with pixels of their own.
    groups: usize,
}

impl Convolution {
    /// Height and width of the result.
    fn made(&self) -> [usize; 2] {
        self.size
            .map(|size| (size + 2 * self.padding + 1).saturating_sub(self.kernel))
    }

    /// Rows of the result that a cube makes.
    fn rows(&self) -> usize {
        let [height, width] = self.made();
        height.min(PIXELS / width.max(1))
    }

    fn warps(&self) -> Warps {
        if self.outputs > 16 {
            Warps {
                pixels: 4,
                channels: 2,
                groups: 4,
            }
        } else {
            Warps {
                pixels: 2,
                channels: 1,
                groups: 8,
            }
        }
    }

    /// Blocks of 16 channels that are read, and that are made (a cube's at a time).
    fn blocks(&self) -> [usize; 2] {
        let Warps {
            channels, groups, ..
        } = self.warps();
        let of_cube = channels * 8 / groups;
        [
            self.inputs.div_ceil(16),
            self.outputs.div_ceil(16 * of_cube) * of_cube,
        ]
    }

    /// Whether the kernel can do it.
    fn fits(&self) -> bool {
        let [height, width] = self.made();
        let border = self.kernel - 1;
        self.maps * self.inputs * self.outputs * height * width > 0
            && matches!(self.kernel, 1 | 3 | 5)
            && width <= PIXELS
            && (self.rows() + border) * (width + border) <= ROOM
    }

    /// Values of the weight.
    fn weights(&self) -> usize {
        let taps = match self.form {
            Form::Plain => self.kernel * self.kernel,
            Form::Doubling | Form::Halving => 4,
        };
        self.inputs * self.outputs * taps
    }

    fn pack(&self, client: &Client, weight: Handle) -> (Handle, usize) {
        let [read, made] = self.blocks();
        let vectors = read * made * self.kernel * self.kernel * 64;
        let to = client.empty(vectors * 16);
        // SAFETY: a place is read only if its channels and tap are the weight's.
        unsafe {
            pack::launch_unchecked::<bf16, CudaRuntime>(
                client,
                CubeCount::Static(vectors.div_ceil(THREADS) as u32, 1, 1),
                CubeDim::new_1d(THREADS as u32),
                ArrayArg::from_raw_parts(weight, self.weights()),
                ArrayArg::from_raw_parts(to.clone(), vectors),
                vectors as u32,
                self.inputs as u32,
                self.outputs as u32,
                self.kernel,
                self.form as usize,
                crate::SOURCES,
            );
        }
        (to, vectors)
    }
}

/// The convolution of `x` `[maps, inputs, height, width]`, row by row, without bias. `None` if the
/// kernel cannot do it: kernels of 1, 3 and 5, and maps whose rows are not too wide, are what it knows.
pub fn convolve(client: &Client, x: Handle, weight: Handle, of: &Convolution) -> Option<Handle> {
    if !of.fits() {
        return None;
    }
    let (weights, vectors) = of.pack(client, weight);
    let ([height, width], rows) = (of.made(), of.rows());
    let warps = of.warps();
    let of_cube = warps.channels * 8 / warps.groups;
    let count = of.maps * of.outputs * height * width;
    let to = client.empty(count * 4);
    let [of_height, of_width] = of.size;
    // SAFETY: pixels and channels beyond the maps are neither read nor written.
    unsafe {
        convolution::launch_unchecked::<bf16, CudaRuntime>(
            client,
            CubeCount::Static(
                of.maps as u32,
                height.div_ceil(rows) as u32,
                (of.blocks()[1] / of_cube) as u32,
            ),
            CubeDim::new_1d(THREADS as u32),
            ArrayArg::from_raw_parts(x, of.maps * of.inputs * of_height * of_width),
            ArrayArg::from_raw_parts(weights, vectors),
            ArrayArg::from_raw_parts(to.clone(), count),
            of.inputs as u32,
            of.outputs as u32,
            of_height as u32,
            of_width as u32,
            height as u32,
            width as u32,
            rows as u32,
            of.padding as u32,
            of.kernel,
            warps.pixels,
            warps.channels,
            warps.groups,
            of.form as usize,
            crate::SOURCES,
        );
    }
    Some(to)
}

const DOUBLING: usize = Form::Doubling as usize;
const HALVING: usize = Form::Halving as usize;

/// `[16 outputs][16 inputs][tap][high, low][lane]`, in the order in which [`quarter`] takes them.
#[cube(launch_unchecked)]
fn pack<E: Float>(
    from: &Array<f32>,
    to: &mut Array<V8<E>>,
    vectors: u32,
    inputs: u32,
    outputs: u32,
    #[comptime] ks: usize,
    #[comptime] form: usize,
    #[comptime] _sources: u64,
) {
    let i = ABSOLUTE_POS;
    if i < vectors as usize {
        let inputs = inputs as usize;
        let outputs = outputs as usize;
        let taps = comptime!(ks * ks);
        let read = (inputs + 15) / 16;
        let lane = i % 32;
        let low = i / 32 % 2;
        let tap = i / 64 % taps;
        let input = i / 64 / taps % read * 16 + lane % 4 * 2;
        let output = i / 64 / taps / read * 16 + lane / 4;
        let mut packed = V8::<E>::empty();
        #[unroll]
        for j in 0..8usize {
            let c = input + comptime!(j / 2 % 2 * 8 + j % 2);
            let o = output + comptime!(j / 4 * 8);
            let mut known = c < inputs && o < outputs;
            let mut at = (o * inputs + c) * taps + tap;
            if comptime!(form == DOUBLING) {
                // Output 2 y + a takes input y + dy by tap a + 1 - 2 dy; here dy is tap / 3 - 1.
                let y = o % 4 / 2 + 3 - tap / 3 * 2;
                let x = o % 2 + 3 - tap % 3 * 2;
                // A tap below 0 wraps around.
                known = known && y < 4 && x < 4;
                at = (c * (outputs / 4) + o / 4) * 16 + y * 4 + x;
            }
            if comptime!(form == HALVING) {
                let y = c % 4 / 2 + tap / 3 * 2 - 1;
                let x = c % 2 + tap % 3 * 2 - 1;
                known = known && y < 4 && x < 4;
                at = (o * (inputs / 4) + c / 4) * 16 + y * 4 + x;
            }
            let mut value = 0.0f32;
            if known {
                value = from[at];
            }
            let high = E::cast_from(value);
            let mut part = high;
            if low == 1 {
                part = E::cast_from(value - f32::cast_from(high));
            }
            packed[j] = part;
        }
        to[i] = packed;
    }
}

/// Where a value of a map lies; `fine`: on the grid of twice the size, four channels a pixel.
#[cube]
fn place(
    channel: usize,
    y: usize,
    x: usize,
    height: usize,
    width: usize,
    #[comptime] fine: bool,
) -> usize {
    let mut at = (channel * height + y) * width + x;
    if comptime!(fine) {
        at = ((channel / 4 * height + y) * 2 + channel % 4 / 2) * width * 2 + x * 2 + channel % 2;
    }
    at
}

#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn convolution<E: Float>(
    from: &Array<f32>,
    weights: &Array<V8<E>>,
    to: &mut Array<f32>,
    inputs: u32,
    outputs: u32,
    of_height: u32,
    of_width: u32,
    height: u32,
    width: u32,
    rows: u32,
    padding: u32,
    #[comptime] ks: usize,
    #[comptime] pixels: usize,
    #[comptime] channels: usize,
    #[comptime] groups: usize,
    #[comptime] form: usize,
    #[comptime] _sources: u64,
) {
    let mut tile = SharedMemory::<V8<E>>::new_aligned(comptime!(2 * PART), 128usize);
    let tid = UNIT_POS as usize;
    let lane = UNIT_POS_PLANE as usize;
    let warp = tid / 32;
    let group = warp % groups;
    let inputs = inputs as usize;
    let outputs = outputs as usize;
    let of_height = of_height as usize;
    let of_width = of_width as usize;
    let height = height as usize;
    let width = width as usize;
    let padding = padding as usize;
    let map = CUBE_POS_X as usize;
    let top = CUBE_POS_Y as usize * rows as usize;
    let mut own_rows = rows as usize;
    if top + own_rows > height {
        own_rows = height - top;
    }
    let count = own_rows * width;
    let tile_width = width + comptime!(ks - 1);
    let tile_pixels = (own_rows + comptime!(ks - 1)) * tile_width;
    let taps = comptime!(ks * ks);
    let read = (inputs + 15) / 16;
    let block = CUBE_POS_Z as usize * comptime!(channels * 8 / groups) + warp / groups * channels;
    let first = group * comptime!(pixels * 16);
    let from_at = map * inputs * of_height * of_width;

    let def = MmaDefinition::<E, E, f32>::new(16usize, 8usize, 16usize);
    let mut acc = zeros(comptime!(pixels * channels * 2));
    let mut origins = Array::<usize>::new(pixels);
    #[unroll]
    for i in 0..pixels {
        let mut pixel = first + comptime!(i * 16) + lane % 16;
        if pixel >= count {
            pixel = 0;
        }
        origins[i] = (pixel / width * tile_width + pixel % width) * PITCH + lane / 16;
    }
    for chunk in 0..read {
        sync_cube();
        let mut pixel = tid;
        while pixel < tile_pixels {
            // Below 0 wraps around.
            let y = top + pixel / tile_width - padding;
            let x = pixel % tile_width - padding;
            let inside = y < of_height && x < of_width;
            #[unroll]
            for h in 0..2usize {
                let mut high = V8::<E>::empty();
                let mut low = V8::<E>::empty();
                #[unroll]
                for j in 0..8usize {
                    let channel = chunk * 16 + comptime!(h * 8 + j);
                    let known = inside && channel < inputs;
                    let at = place(
                        channel,
                        y,
                        x,
                        of_height,
                        of_width,
                        comptime!(form == HALVING),
                    );
                    let value = select(known, from[select(known, from_at + at, 0usize)], 0.0f32);
                    let rounded = E::cast_from(value);
                    high[j] = rounded;
                    low[j] = E::cast_from(value - f32::cast_from(rounded));
                }
                tile[pixel * PITCH + h] = high;
                tile[pixel * PITCH + comptime!(h + PART)] = low;
            }
            pixel += THREADS;
        }
        sync_cube();
        if first < count {
            for dy in 0..ks {
                for dx in 0..ks {
                    let tap = dy * ks + dx;
                    let shift = (dy * tile_width + dx) * PITCH;
                    let mut loaded = Sequence::<V8<E>>::new();
                    #[unroll]
                    for n in 0..channels {
                        let at = (((block + n) * read + chunk) * taps + tap) * 64 + lane;
                        loaded.push(weights[at]);
                        loaded.push(weights[at + 32]);
                    }
                    #[unroll]
                    for i in 0..pixels {
                        let at = origins[i] + shift;
                        let high = fragment::<E>(&def, &tile, at);
                        let low = fragment::<E>(&def, &tile, at + PART);
                        #[unroll]
                        for n in 0..channels {
                            let right_high = *loaded.index(comptime!(n * 2));
                            let right_low = *loaded.index(comptime!(n * 2 + 1));
                            #[unroll]
                            for which in 0..2usize {
                                add_product::<E>(
                                    &def,
                                    &high,
                                    &low,
                                    &quarter::<E>(right_high, which),
                                    &quarter::<E>(right_low, which),
                                    acc.index_mut(comptime!((i * channels + n) * 2 + which)),
                                );
                            }
                        }
                    }
                }
            }
        }
    }
    let to_at = map * outputs * height * width;
    #[unroll]
    for i in 0..pixels {
        #[unroll]
        for q in 0..2usize {
            let pixel = first + lane / 4 + comptime!(i * 16 + q * 8);
            if pixel < count {
                let y = top + pixel / width;
                let x = pixel % width;
                #[unroll]
                for n in 0..comptime!(channels * 2) {
                    let sums: &Array<V2<f32>> = acc.index(comptime!(i * channels * 2 + n));
                    let pair = sums[q];
                    #[unroll]
                    for e in 0..2usize {
                        let channel = block * 16 + lane % 4 * 2 + comptime!(n * 8 + e);
                        if channel < outputs {
                            let at =
                                place(channel, y, x, height, width, comptime!(form == DOUBLING));
                            to[to_at + at] = pair[e];
                        }
                    }
                }
            }
        }
    }
}
