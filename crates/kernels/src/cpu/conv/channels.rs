//! The form with vectors over output channels: leaves out what lies outside of the image.

use std::ops::Range;

use super::{ConvShape, epilogue::Sink};
use crate::cpu::simd::{Job, Simd};

/// Blocks of two vectors of output channels (the last may have one); in a block groups of input
/// channels; in a group, for each row and column of the kernel and each input channel, the weights
/// of the block's channels side by side.
#[derive(Clone, Debug)]
pub(super) struct Weights {
    values: Vec<f32>,
    bias: Vec<f32>,
    /// Output channels in a full block.
    channels: usize,
    /// Input channels in a full group: the weights of a group and a block fit the second-level
    /// cache, for they are read once for every tile.
    group: usize,
    input_channels: usize,
    kernel: usize,
}

/// Input channels in a group, at most.
const GROUP: usize = 64;

impl Weights {
    /// `weight(output channel, input channel, row, column)`; the output channels are a multiple of
    /// `lanes`.
    pub(super) fn new(
        shape: &ConvShape,
        lanes: usize,
        bias: Option<&[f32]>,
        weight: impl Fn(usize, usize, usize, usize) -> f32,
    ) -> Self {
        let &ConvShape {
            input_channels,
            output_channels,
            kernel,
            ..
        } = shape;
        let channels = 2 * lanes;
        let group = input_channels.div_ceil(input_channels.div_ceil(GROUP));
        let mut values = Vec::with_capacity(shape.weight_len());
        for start in (0..output_channels).step_by(channels) {
            let block = start..output_channels.min(start + channels);
            for first in (0..input_channels).step_by(group) {
                for y in 0..kernel {
                    for x in 0..kernel {
                        for i in first..input_channels.min(first + group) {
                            values.extend(block.clone().map(|o| weight(o, i, y, x)));
                        }
                    }
                }
            }
        }
        Self {
            values,
            bias: bias.map_or_else(|| vec![0.0; output_channels], <[f32]>::to_vec),
            channels,
            group,
            input_channels,
            kernel,
        }
    }

    /// Number of blocks.
    pub(super) fn blocks(&self) -> usize {
        self.bias.len().div_ceil(self.channels)
    }

    /// Floats that a task keeps for `rows` rows of the output, about.
    pub(super) fn scratch(&self, rows: usize, columns: usize) -> usize {
        let padded = (rows + self.kernel - 1) * (columns + self.kernel - 1);
        self.input_channels * padded + 2 * self.channels * rows * columns
    }

    /// Output channels of a block.
    fn block(&self, block: usize) -> Range<usize> {
        let start = block * self.channels;
        start..self.bias.len().min(start + self.channels)
    }

    /// Weights of a block for the group of input channels from `first` on.
    fn group(&self, block: usize, first: usize) -> &[f32] {
        let block = self.block(block);
        let area = self.kernel * self.kernel;
        let len = self.group.min(self.input_channels - first) * area * block.len();
        let start = (block.start * self.input_channels + first * block.len()) * area;
        &self.values[start..start + len]
    }
}

/// Some rows of one image for some blocks of channels.
pub(super) struct Task<'a> {
    pub(super) weights: &'a Weights,
    /// `[input_channels, height, width]`, and what multiplies it.
    pub(super) values: &'a [f32],
    pub(super) slope: Option<&'a [f32]>,
    pub(super) padding: usize,
    /// Height and width.
    pub(super) size: [usize; 2],
    /// Rows of the output, and its width.
    pub(super) rows: Range<usize>,
    pub(super) columns: usize,
    pub(super) blocks: Range<usize>,
    /// Where the first pixel of channel 0 goes in the output, and from one channel to the next.
    pub(super) first: usize,
    pub(super) channel: usize,
    pub(super) scratch: &'a mut Vec<f32>,
    pub(super) sink: &'a Sink<'a>,
}

impl Job for Task<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let pixels = self.rows.len() * self.columns;
        let rows = self.input_rows();
        let image = rows.len() * self.row_len();
        let block = self.weights.channels * pixels;
        let len = image + 2 * block;
        // The scratch is moved out, so that `self` stays free to be borrowed.
        let mut scratch = std::mem::take(self.scratch);
        if scratch.len() < len {
            scratch.resize(len, 0.0);
        }
        let (padded, sums) = scratch[..len].split_at_mut(image);
        let (sums, turned) = sums.split_at_mut(block);
        // SAFETY: the caller promises the instructions.
        unsafe { self.fill::<S>(&rows, padded) };
        for block in self.blocks.clone() {
            let channels = self.weights.block(block);
            // SAFETY: as above; the rows and blocks of different tasks do not overlap.
            unsafe {
                match channels.len() / S::LANES {
                    1 => self.block::<S, 1>(block, padded, &rows, sums),
                    _ => self.block::<S, 2>(block, padded, &rows, sums),
                }
                turn(sums, channels.len(), pixels, turned);
                for (turned, c) in turned.chunks_exact(pixels).zip(channels) {
                    self.sink
                        .write_run::<S>(turned, self.first + c * self.channel);
                }
            }
        }
        *self.scratch = scratch;
    }
}

/// From `[pixel, channel]` to `[channel, pixel]`.
fn turn(from: &[f32], channels: usize, pixels: usize, to: &mut [f32]) {
    // Squares of four by four, which compilers turn into shuffles.
    let squares = pixels / 4 * 4;
    for (c, to) in to
        .chunks_exact_mut(4 * pixels)
        .take(channels / 4)
        .enumerate()
    {
        for q in (0..squares).step_by(4) {
            let row = |i| -> [f32; 4] {
                let at = (q + i) * channels + 4 * c;
                std::array::from_fn(|j| from[at..at + 4][j])
            };
            let rows = [row(0), row(1), row(2), row(3)];
            for (j, to) in to.chunks_exact_mut(pixels).enumerate() {
                to[q..q + 4].copy_from_slice(&[rows[0][j], rows[1][j], rows[2][j], rows[3][j]]);
            }
        }
        for (j, to) in to.chunks_exact_mut(pixels).enumerate() {
            for q in squares..pixels {
                to[q] = from[q * channels + 4 * c + j];
            }
        }
    }
}

impl Task<'_> {
    /// The rows of the image that the rows of the output need.
    fn input_rows(&self) -> Range<usize> {
        let start = self.rows.start.saturating_sub(self.padding);
        let end = (self.rows.end - 1 + self.weights.kernel).saturating_sub(self.padding);
        start.min(self.size[0])..end.min(self.size[0]).max(start)
    }

    /// Columns of a padded row.
    fn stride(&self) -> usize {
        self.size[1] + 2 * self.padding
    }

    /// A padded row of all channels.
    fn row_len(&self) -> usize {
        self.weights.input_channels * self.stride()
    }

    /// Copies the image, times the slope, to `[row, channel, padded column]`.
    ///
    /// # Safety
    /// The processor has the instructions of `S`.
    #[inline(always)]
    unsafe fn fill<S: Simd>(&self, rows: &Range<usize>, padded: &mut [f32]) {
        let [height, width] = self.size;
        let lines = padded.chunks_exact_mut(self.stride());
        for (index, line) in lines.enumerate() {
            let (row, c) = (
                index / self.weights.input_channels,
                index % self.weights.input_channels,
            );
            let (left, line) = line.split_at_mut(self.padding);
            let (line, right) = line.split_at_mut(width);
            left.fill(0.0);
            right.fill(0.0);
            let from = (c * height + rows.start + row) * width;
            let values = &self.values[from..from + width];
            for x in (0..width).step_by(S::LANES) {
                // SAFETY: the caller promises the instructions.
                let mut v = unsafe { S::load_slice(&values[x..]) };
                if let Some(slope) = self.slope {
                    // SAFETY: as above.
                    v = v.mul(unsafe { S::load_slice(&slope[from..from + width][x..]) });
                }
                v.store_slice(&mut line[x..]);
            }
        }
    }

    /// All pixels of `Z` vectors of channels, to `sums`: `[pixel, channel]`.
    ///
    /// # Safety
    /// The processor has the instructions of `S`, and the block has `Z` vectors.
    #[inline(always)]
    unsafe fn block<S: Simd, const Z: usize>(
        &self,
        block: usize,
        padded: &[f32],
        rows: &Range<usize>,
        sums: &mut [f32],
    ) {
        let bias = &self.weights.bias[self.weights.block(block)];
        for pixel in sums.chunks_exact_mut(bias.len()) {
            pixel.copy_from_slice(bias);
        }
        for first in (0..self.weights.input_channels).step_by(self.weights.group) {
            for row in self.rows.clone() {
                let at = (row - self.rows.start) * self.columns * Z * S::LANES;
                let line = Line {
                    weights: self.weights.group(block, first),
                    padded: &padded[first * self.stride()..],
                    rows: rows.clone(),
                    row,
                    sums: &mut sums[at..][..self.columns * Z * S::LANES],
                };
                // SAFETY: promised by the caller.
                unsafe {
                    match tile_width(self.columns, S::PIXELS) {
                        1 => self.row::<S, 1, Z>(line),
                        4 => self.row::<S, 4, Z>(line),
                        6 => self.row::<S, 6, Z>(line),
                        8 => self.row::<S, 8, Z>(line),
                        10 => self.row::<S, 10, Z>(line),
                        12 => self.row::<S, 12, Z>(line),
                        _ => self.row::<S, 14, Z>(line),
                    }
                }
            }
        }
    }

    /// Adds a group of input channels to one row of the output, in tiles of `P` pixels and, at the
    /// end, of one.
    ///
    /// # Safety
    /// As [`Task::block`].
    #[inline(always)]
    unsafe fn row<S: Simd, const P: usize, const Z: usize>(&self, mut line: Line<'_>) {
        let whole = self.columns - self.columns % P;
        for start in (0..whole).step_by(P) {
            // SAFETY: promised by the caller.
            unsafe { self.tile::<S, P, Z>(&mut line, start) };
        }
        for start in whole..self.columns {
            // SAFETY: promised by the caller.
            unsafe { self.tile::<S, 1, Z>(&mut line, start) };
        }
    }

    /// Adds a group of input channels to `P` pixels from column `start` on.
    ///
    /// # Safety
    /// As [`Task::block`].
    #[inline(always)]
    #[expect(
        clippy::needless_range_loop,
        reason = "counted loops over constants unroll"
    )]
    unsafe fn tile<S: Simd, const P: usize, const Z: usize>(
        &self,
        line: &mut Line<'_>,
        start: usize,
    ) {
        let kernel = self.weights.kernel;
        let [height, width] = self.size;
        let row = line.row;
        // Kernel rows that meet the image.
        let inside = self.padding.saturating_sub(row)
            ..kernel.min((height + self.padding).saturating_sub(row));
        let step = line.weights.len() / (kernel * kernel);
        let to = &mut line.sums[start * Z * S::LANES..][..P * Z * S::LANES];
        // SAFETY: promised by the caller; `to` has as many values as the tile.
        let mut sums = unsafe {
            let mut sums = [[S::splat(0.0); Z]; P];
            for p in 0..P {
                for z in 0..Z {
                    sums[p][z] = S::load(to.as_ptr().add((p * Z + z) * S::LANES));
                }
            }
            sums
        };
        for y in inside {
            let from = (row + y - self.padding - line.rows.start) * self.row_len();
            for x in 0..kernel {
                let taps = Taps {
                    values: &line.padded[from + start + x..],
                    stride: self.stride(),
                    weights: &line.weights[(y * kernel + x) * step..][..step],
                };
                // Pixels at either end for which this column lies outside of the image.
                let left = self.padding.saturating_sub(start + x);
                let right = (start + P + x).saturating_sub(self.padding + width);
                if left >= P || right >= P {
                    continue;
                }
                // SAFETY: promised by the caller.
                unsafe {
                    match (left, right) {
                        (0, 0) => taps.add(&mut sums, 0, P),
                        (1, _) => taps.add(&mut sums, 1, P),
                        (2, _) => taps.add(&mut sums, 2, P),
                        (3, _) => taps.add(&mut sums, 3, P),
                        (4.., _) => taps.add(&mut sums, 4, P),
                        (0, 1) => taps.add(&mut sums, 0, P - 1),
                        (0, 2) => taps.add(&mut sums, 0, P.saturating_sub(2)),
                        (0, 3) => taps.add(&mut sums, 0, P.saturating_sub(3)),
                        (0, 4..) => taps.add(&mut sums, 0, P.saturating_sub(4)),
                    }
                }
            }
        }
        for p in 0..P {
            for z in 0..Z {
                // SAFETY: as for the loads.
                unsafe { sums[p][z].store(to.as_mut_ptr().add((p * Z + z) * S::LANES)) };
            }
        }
    }
}

/// One row of the output, a block of its channels and a group of input channels.
struct Line<'a> {
    /// `[kernel, kernel, group, block]`
    weights: &'a [f32],
    /// The padded copy from the group's first channel on, and the rows of the image it holds.
    padded: &'a [f32],
    rows: Range<usize>,
    row: usize,
    /// `[column, channel]`
    sums: &'a mut [f32],
}

/// One place of the kernel, for a group of input channels.
struct Taps<'a> {
    /// The input of the tile's first pixel, `stride` from one channel to the next.
    values: &'a [f32],
    stride: usize,
    /// `[input channel, output channel of the block]`
    weights: &'a [f32],
}

impl Taps<'_> {
    /// Adds the products to pixels `from..to` of the tile: each step loads `Z` vectors of weights
    /// and one value for each pixel. `from` and `to` are constants where this is called, so that
    /// the sums stay in registers.
    ///
    /// # Safety
    /// The processor has the instructions of `S`.
    #[inline(always)]
    #[expect(
        clippy::needless_range_loop,
        reason = "counted loops over constants unroll"
    )]
    unsafe fn add<S: Simd, const P: usize, const Z: usize>(
        &self,
        sums: &mut [[S; Z]; P],
        from: usize,
        to: usize,
    ) {
        let channels = self.weights.len() / (Z * S::LANES);
        assert!(channels > 0 && self.values.len() >= (channels - 1) * self.stride + P);
        let (mut values, mut weights) = (self.values.as_ptr(), self.weights.as_ptr());
        for _ in 0..channels {
            // SAFETY: the caller promises the instructions; the asserts are the bounds.
            unsafe {
                let mut w = [S::splat(0.0); Z];
                for z in 0..Z {
                    w[z] = S::load(weights.add(z * S::LANES));
                }
                for p in from..to {
                    let x = S::splat(*values.add(p));
                    for z in 0..Z {
                        sums[p][z] = w[z].mul_add(x, sums[p][z]);
                    }
                }
            }
            values = values.wrapping_add(self.stride);
            weights = weights.wrapping_add(Z * S::LANES);
        }
    }
}

/// Pixels of a tile for rows of `columns`, what remains going one by one: the fewest steps, a tile
/// counted with two more for the weights that it loads.
fn tile_width(columns: usize, most: usize) -> usize {
    let cost = |&width: &usize| columns / width * (width + 2) + columns % width * 3;
    let fitting = [14, 12, 10, 8, 6, 4, 1]
        .into_iter()
        .filter(|&width| width <= columns.min(most));
    fitting.min_by_key(cost).unwrap_or(1)
}
