//! The form with vectors over output channels: leaves out what lies outside of the image.

use std::ops::Range;

use super::{ConvShape, epilogue::Sink};
use crate::cpu::simd::{Job, MAX_LANES, Simd};

/// Blocks of two vectors of output channels (the last may have one); in a block, for each row and
/// column of the kernel and each input channel, the weights of the block's channels side by side.
#[derive(Clone, Debug)]
pub(super) struct Weights {
    values: Vec<f32>,
    bias: Vec<f32>,
    /// Output channels in a full block.
    channels: usize,
    input_channels: usize,
    kernel: usize,
}

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
        let mut values = Vec::with_capacity(shape.weight_len());
        for start in (0..output_channels).step_by(channels) {
            let block = start..output_channels.min(start + channels);
            for y in 0..kernel {
                for x in 0..kernel {
                    for i in 0..input_channels {
                        values.extend(block.clone().map(|o| weight(o, i, y, x)));
                    }
                }
            }
        }
        Self {
            values,
            bias: bias.map_or_else(|| vec![0.0; output_channels], <[f32]>::to_vec),
            channels,
            input_channels,
            kernel,
        }
    }

    /// Number of blocks.
    pub(super) fn blocks(&self) -> usize {
        self.bias.len().div_ceil(self.channels)
    }

    fn block(&self, block: usize) -> Range<usize> {
        let start = block * self.channels;
        start..self.bias.len().min(start + self.channels)
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
        let len = image + self.weights.channels * pixels;
        // The scratch is moved out, so that `self` stays free to be borrowed.
        let mut scratch = std::mem::take(self.scratch);
        if scratch.len() < len {
            scratch.resize(len, 0.0);
        }
        let (padded, sums) = scratch.split_at_mut(image);
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
                for (sums, c) in sums.chunks_exact(pixels).zip(channels) {
                    self.sink
                        .write_run::<S>(sums, self.first + c * self.channel);
                }
            }
        }
        *self.scratch = scratch;
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

    /// All pixels of `Z` vectors of channels, to `sums`: `[channel, pixel]`.
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
        for row in self.rows.clone() {
            // SAFETY: promised by the caller.
            unsafe {
                match tile_width(self.columns, S::CHANNELS) {
                    1 => self.row::<S, 1, Z>(block, padded, rows, row, sums),
                    4 => self.row::<S, 4, Z>(block, padded, rows, row, sums),
                    6 => self.row::<S, 6, Z>(block, padded, rows, row, sums),
                    8 => self.row::<S, 8, Z>(block, padded, rows, row, sums),
                    10 => self.row::<S, 10, Z>(block, padded, rows, row, sums),
                    12 => self.row::<S, 12, Z>(block, padded, rows, row, sums),
                    _ => self.row::<S, 14, Z>(block, padded, rows, row, sums),
                }
            }
        }
    }

    /// One row of the output, in tiles of `P` pixels; the last may overlap the one before.
    ///
    /// # Safety
    /// As [`Task::block`].
    #[inline(always)]
    unsafe fn row<S: Simd, const P: usize, const Z: usize>(
        &self,
        block: usize,
        padded: &[f32],
        rows: &Range<usize>,
        row: usize,
        to: &mut [f32],
    ) {
        let channels = self.weights.block(block);
        let (ci, kernel) = (self.weights.input_channels, self.weights.kernel);
        let step = ci * Z * S::LANES;
        let weights = &self.weights.values[channels.start * ci * kernel * kernel..];
        let bias = &self.weights.bias[channels];
        let [height, width] = self.size;
        // Kernel rows that meet the image.
        let inside = self.padding.saturating_sub(row)
            ..kernel.min((height + self.padding).saturating_sub(row));
        let pixels = self.rows.len() * self.columns;
        for start in (0..self.columns).step_by(P) {
            let start = start.min(self.columns - P);
            // SAFETY: promised by the caller.
            let mut sums = unsafe {
                let mut b = [S::splat(0.0); Z];
                for (z, b) in b.iter_mut().enumerate() {
                    *b = S::load_slice(&bias[z * S::LANES..]);
                }
                [b; P]
            };
            for y in inside.clone() {
                let line = (row + y - self.padding - rows.start) * self.row_len();
                for x in 0..kernel {
                    let taps = Taps {
                        values: &padded[line + start + x..],
                        stride: self.stride(),
                        weights: &weights[(y * kernel + x) * step..][..step],
                        channels: ci,
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
            // From [pixel, channel] to [channel, pixel].
            let mut tile = [[0.0; 2 * MAX_LANES]; P];
            for (tile, sums) in tile.iter_mut().zip(&sums) {
                for (z, sum) in sums.iter().enumerate() {
                    sum.store_slice(&mut tile[z * S::LANES..]);
                }
            }
            let at = (row - self.rows.start) * self.columns + start;
            for (c, to) in to.chunks_exact_mut(pixels).enumerate() {
                if c == Z * S::LANES {
                    break;
                }
                let to = &mut to[at..at + P];
                for (to, tile) in to.iter_mut().zip(&tile) {
                    *to = tile[c];
                }
            }
        }
    }
}

/// One place of the kernel, for all input channels.
struct Taps<'a> {
    /// The input of the tile's first pixel, `stride` from one channel to the next.
    values: &'a [f32],
    stride: usize,
    /// `[input channel, output channel of the block]`
    weights: &'a [f32],
    channels: usize,
}

impl Taps<'_> {
    /// Adds the products to pixels `from..to` of the tile: each step loads `Z` vectors of weights
    /// and one value for each pixel. `from` and `to` are constants where this is called, so that
    /// the sums stay in registers.
    ///
    /// # Safety
    /// The processor has the instructions of `S`.
    #[inline(always)]
    unsafe fn add<S: Simd, const P: usize, const Z: usize>(
        &self,
        sums: &mut [[S; Z]; P],
        from: usize,
        to: usize,
    ) {
        assert!(self.values.len() >= (self.channels - 1) * self.stride + P);
        assert!(self.weights.len() == self.channels * Z * S::LANES);
        let (mut values, mut weights) = (self.values.as_ptr(), self.weights.as_ptr());
        for _ in 0..self.channels {
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

/// Pixels of a tile for rows of `columns`: the fewest steps, a tile counted with two more for the
/// weights that it loads. The sums of two vectors for each pixel must fit the registers.
fn tile_width(columns: usize, channels: usize) -> usize {
    let widths: &[usize] = if channels >= 8 {
        &[14, 12, 10, 8, 6, 4, 1]
    } else {
        &[6, 4, 1]
    };
    let cost = |&&width: &&usize| columns.div_ceil(width) * (width + 2);
    let fitting = widths.iter().filter(|&&width| width <= columns);
    fitting.min_by_key(cost).copied().unwrap_or(1)
}
