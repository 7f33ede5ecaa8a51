//! The form with vectors over pixels: for any number of channels.

use std::ops::Range;

use super::{Padded, epilogue::Sink, tile, weights::Packed};
use crate::cpu::simd::{Job, Simd};

/// Some rows of one image for some blocks of channels.
pub(super) struct Task<'a> {
    pub(super) weights: &'a Packed,
    /// `[input_channels, height, width]`, and what multiplies it.
    pub(super) values: &'a [f32],
    pub(super) slope: Option<&'a [f32]>,
    pub(super) padded: Padded<'a>,
    pub(super) blocks: Range<usize>,
    /// Where the first pixel of channel 0 goes in the output, how many pixels, and from one channel
    /// to the next.
    pub(super) first: usize,
    pub(super) pixels: usize,
    pub(super) channel: usize,
    pub(super) sink: &'a Sink<'a>,
}

impl Job for Task<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        // SAFETY: the caller promises the instructions.
        unsafe {
            self.padded.fill::<S>(self.values, self.slope);
        }
        for block in self.blocks.clone() {
            let channels = self.weights.channels(block);
            // SAFETY: as above; `first`, `pixels` and `channel` describe a part of the output that
            // no other task writes (see `super::plan`).
            unsafe {
                match channels.len() {
                    1 => self.block::<S, 1>(block),
                    2 => self.block::<S, 2>(block),
                    3 => self.block::<S, 3>(block),
                    4 => self.block::<S, 4>(block),
                    5 => self.block::<S, 5>(block),
                    6 => self.block::<S, 6>(block),
                    7 => self.block::<S, 7>(block),
                    _ => self.block::<S, 8>(block),
                }
            }
        }
    }
}

impl Task<'_> {
    /// All pixels of `C` channels.
    ///
    /// # Safety
    /// The processor has the instructions, the block has `C` channels, and no one else writes them.
    #[inline(always)]
    unsafe fn block<S: Simd, const C: usize>(&self, block: usize) {
        let weights = self.weights.block(block);
        let bias = self.weights.bias(block);
        let first = self.first + self.weights.channels(block).start * self.channel;
        let mut pixel = 0;
        while pixel < self.pixels {
            let vectors = (self.pixels - pixel).div_ceil(S::LANES);
            // Four vectors go as two and two: a tile of one is slower than its share.
            let here = match vectors {
                1 => 1,
                2 | 4 => 2,
                _ => 3,
            };
            let len = (here * S::LANES).min(self.pixels - pixel);
            let to = first + pixel;
            // SAFETY: promised by the caller; the tile starts inside the padded copy.
            unsafe {
                match here {
                    1 => {
                        let sums = tile::sums::<S, C, 1>(&self.padded, weights, bias, pixel);
                        self.sink.write(&sums, to, self.channel, len);
                    }
                    2 => {
                        let sums = tile::sums::<S, C, 2>(&self.padded, weights, bias, pixel);
                        self.sink.write(&sums, to, self.channel, len);
                    }
                    _ => {
                        let sums = tile::sums::<S, C, 3>(&self.padded, weights, bias, pixel);
                        self.sink.write(&sums, to, self.channel, len);
                    }
                }
            }
            pixel += here * S::LANES;
        }
    }
}
