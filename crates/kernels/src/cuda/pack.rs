//! Where each packed weight comes from.

use super::{
    gather::NOTHING,
    shape::{CHANNELS, Shape},
};

/// Rows of 256 weights in a packed convolution of 64 to 64 channels, 5x5 and 3x3; the ring takes a
/// twentieth or a twelfth at a time.
pub(super) const ROWS5: u32 = 400;
pub(super) const ROWS3: u32 = 144;
/// Vectors of 8 in a projection's transposed convolution to 64 channels, and back.
pub(super) const UP5: u32 = 10 * 4 * 32;
pub(super) const DOWN5: usize = 100 * 32;
/// Vectors of 8 in the output's from 64 channels, and back.
pub(super) const DOWN3: usize = 36 * 32;
pub(super) const UP3: u32 = 9 * 4 * 32;

/// The sources of all packed weights; places of kernels' operands are given in the units they use.
pub(super) struct Packing<'a> {
    shape: &'a Shape,
    /// For the ring: rows of 256.
    pub(super) ring: Vec<u32>,
    /// For direct reads: vectors of 8.
    pub(super) direct: Vec<u32>,
    /// Biases, in float32.
    pub(super) bias: Vec<u32>,
}

/// Padded channels of a head: a multiple of 16.
pub(super) fn padded_channels(channels: usize) -> usize {
    channels.next_multiple_of(16)
}

/// Blocks of 16 channels that both heads have together, a multiple of 4.
pub(super) fn head_blocks(channels: usize) -> usize {
    (padded_channels(channels) / 8).next_multiple_of(4)
}

/// A place in a map as the lanes hold it: which of 8 values of which lane.
fn place(lane: usize, j: usize) -> (usize, usize) {
    let x = lane / 4 + (j / 2) % 2 * 8;
    let channel = (j / 4) * 8 + lane % 4 * 2 + j % 2;
    (x, channel)
}

/// Channel and pixel of value `k` in a head's part of a map: blocks of 16 channels, 12 rows, lanes.
fn head_value(k: usize) -> (usize, usize, usize) {
    let (vector, j) = (k / 8, k % 8);
    let (fragment, lane) = (vector / 32, vector % 32);
    let (x, channel) = place(lane, j);
    (fragment / 12 * 16 + channel, fragment % 12, x)
}

impl<'a> Packing<'a> {
    pub(super) fn new(shape: &'a Shape) -> Self {
        Self {
            shape,
            ring: Vec::new(),
            direct: Vec::new(),
            bias: Vec::new(),
        }
    }

    /// A convolution of 64 to 64 channels for the ring; `source(out, in, dy, dx)`.
    fn ring_convolution(
        &mut self,
        kernel: usize,
        source: impl Fn(usize, usize, usize, usize) -> Option<usize>,
    ) {
        for dx in 0..kernel {
            for k in 0..4 {
                for dy in 0..kernel {
                    // Four blocks of 16 outputs; in each four matrices of 8 outputs, 8 inputs.
                    for i in 0..1024 {
                        let (block, matrix, r, c) = (i / 256, i / 64 % 4, i / 8 % 8, i % 8);
                        let out = block * 16 + matrix / 2 * 8 + r;
                        let input = k * 16 + matrix % 2 * 8 + c;
                        self.ring.push(index(source(out, input, dy, dx)));
                    }
                }
            }
        }
    }

    /// Convolutions between blocks of 64 channels, those to the same block one after the other.
    fn ring_convolutions(
        &mut self,
        kernel: usize,
        [to, from]: [usize; 2],
        source: impl Fn(usize, usize, usize, usize) -> Option<usize>,
    ) -> u32 {
        let row = (self.ring.len() / 256) as u32;
        for out in (0..to).map(|block| block * CHANNELS) {
            for input in (0..from).map(|block| block * CHANNELS) {
                self.ring_convolution(kernel, |o, i, dy, dx| source(out + o, input + i, dy, dx));
            }
        }
        row
    }

    /// `[features, features, k, k]`, and the same for gradients.
    pub(super) fn convolution(&mut self, weight: usize, kernel: usize) -> [u32; 2] {
        let (f, both) = (self.shape.features, [self.shape.blocks(); 2]);
        let at = |out: usize, input: usize, dy: usize, dx: usize| {
            (out < f && input < f)
                .then_some(weight + ((out * f + input) * kernel + dy) * kernel + dx)
        };
        let forward = self.ring_convolutions(kernel, both, at);
        let last = kernel - 1;
        let back = self.ring_convolutions(kernel, both, |out, input, dy, dx| {
            at(input, out, last - dy, last - dx)
        });
        [forward, back]
    }

    /// Both heads' convolutions, side by side: 64 channels after the other, forward then for gradients.
    pub(super) fn head_convolutions(&mut self, weights: [usize; 2], channels: usize) -> [u32; 2] {
        let f = self.shape.features;
        let padded = padded_channels(channels);
        let at = |channel: usize, feature: usize, dy: usize, dx: usize| {
            let (head, c) = (channel / padded, channel % padded);
            (head < 2 && c < channels && feature < f)
                .then(|| weights[head] + ((c * f + feature) * 5 + dy) * 5 + dx)
        };
        let (passes, blocks) = (head_blocks(channels) / 4, self.shape.blocks());
        let forward = self.ring_convolutions(5, [passes, blocks], at);
        let back = self.ring_convolutions(5, [blocks, passes], |out, input, dy, dx| {
            at(input, out, 4 - dy, 4 - dx)
        });
        [forward, back]
    }

    /// The first of two transposed convolutions `[features, features, 4, 4]`: to the four pixels that
    /// each pixel becomes (four maps), and for gradients.
    pub(super) fn doubling(&mut self, weight: usize) -> [u32; 2] {
        let (f, blocks) = (self.shape.features, self.shape.blocks());
        let width = blocks * CHANNELS;
        let at = |input: usize, out: usize, ky: Option<usize>, kx: Option<usize>| {
            let (ky, kx) = (ky?, kx?);
            (input < f && out < f && ky < 4 && kx < 4)
                .then(|| weight + ((input * f + out) * 4 + ky) * 4 + kx)
        };
        let forward = self.ring_convolutions(3, [4 * blocks, blocks], |out, input, dy, dx| {
            let [ky, kx] = [(out / width / 2, dy), (out / width % 2, dx)]
                .map(|(a, d)| (a + 3).checked_sub(2 * d));
            at(input, out % width, ky, kx)
        });
        let back = self.ring_convolutions(3, [blocks, 4 * blocks], |out, input, dy, dx| {
            let [ky, kx] = [(input / width / 2, dy), (input / width % 2, dx)]
                .map(|(a, d)| (2 * d + a).checked_sub(1));
            at(out, input % width, ky, kx)
        });
        [forward, back]
    }

    /// The second of two, `[features, channels, 4, 4]`: from the four maps of the first to the four by
    /// four pixels that each pixel becomes (16 times four channels), and for gradients.
    pub(super) fn image(&mut self, weight: usize) -> [u32; 2] {
        let (f, channels) = (self.shape.features, self.shape.image_channels);
        let blocks = self.shape.blocks();
        let width = blocks * CHANNELS;
        let at = |feature: usize, column: usize, ky: Option<usize>, kx: Option<usize>| {
            let (c, ky, kx) = (column % 4, ky?, kx?);
            (feature < f && c < channels && ky < 4 && kx < 4)
                .then(|| weight + ((feature * channels + c) * 4 + ky) * 4 + kx)
        };
        let forward = self.ring_convolutions(3, [1, 4 * blocks], |column, input, dy, dx| {
            let (fine, of) = ([column / 16, column / 4 % 4], input / width);
            let ky = (fine[0] + 5).checked_sub(4 * dy + of / 2 * 2);
            let kx = (fine[1] + 5).checked_sub(4 * dx + of % 2 * 2);
            at(input % width, column, ky, kx)
        });
        let back = self.ring_convolutions(3, [4 * blocks, 1], |out, column, dy, dx| {
            let (fine, of) = ([column / 16, column / 4 % 4], out / width);
            let ky = (fine[0] + 4 * dy).checked_sub(3 + of / 2 * 2);
            let kx = (fine[1] + 4 * dx).checked_sub(3 + of % 2 * 2);
            at(out % width, column, ky, kx)
        });
        [forward, back]
    }

    /// Operands of `taps` taps, 16 inputs and `blocks` blocks of 16 outputs; `source(tap, in, out)`.
    fn operands(
        &mut self,
        taps: usize,
        blocks: usize,
        source: impl Fn(usize, usize, usize) -> Option<usize>,
    ) -> u32 {
        let vector = (self.direct.len() / 8) as u32;
        for tap in 0..taps {
            for block in 0..blocks {
                for lane in 0..32 {
                    for v in 0..8 {
                        let out = block * 16 + v / 4 * 8 + lane / 4;
                        let input = v / 2 % 2 * 8 + lane % 4 * 2 + v % 2;
                        self.direct.push(index(source(tap, input, out)));
                    }
                }
            }
        }
        vector
    }

    /// Packs something for every 64 feature channels, told the first of them.
    fn each_block(&mut self, pack: impl Fn(&mut Self, usize) -> u32) -> u32 {
        let first = (self.direct.len() / 8) as u32;
        for block in 0..self.shape.blocks() {
            pack(self, block * CHANNELS);
        }
        first
    }

    /// A projection's transposed convolution `[seeds, features, 5, 5]`: forward, where four
    /// neighbouring pixels' seeds make 16 inputs, and for gradients.
    pub(super) fn projection(&mut self, weight: usize) -> [u32; 2] {
        let (f, seeds) = (self.shape.features, self.shape.seed_channels);
        let at = |seed: usize, feature: usize, y: usize, x: usize| {
            (seed < seeds && feature < f && x < 5)
                .then(|| weight + ((seed * f + feature) * 5 + y) * 5 + x)
        };
        let forward = self.each_block(|packing, first| {
            packing.operands(10, 4, |tap, input, out| {
                let dx = tap % 2 * 4 + input / 4;
                let x = 4usize.checked_sub(dx)?;
                at(input % 4, first + out, 4 - tap / 2, x)
            })
        });
        let back = self.each_block(|packing, first| {
            packing.operands(100, 1, |step, input, out| {
                let (dx, k, dy) = (step / 20, step / 5 % 4, step % 5);
                at(out, first + k * 16 + input, dy, dx)
            })
        });
        [forward, back]
    }

    /// The transposed convolution to the image `[features, channels, 4, 4]`: to the four pixels that
    /// each pixel becomes, and for gradients.
    pub(super) fn output(&mut self, weight: usize) -> [u32; 2] {
        let (f, channels) = (self.shape.features, self.shape.image_channels);
        let at = |feature: usize, column: usize, ky: Option<usize>, kx: Option<usize>| {
            let (c, ky, kx) = (column % 4, ky?, kx?);
            (feature < f && c < channels && ky < 4 && kx < 4)
                .then(|| weight + ((feature * channels + c) * 4 + ky) * 4 + kx)
        };
        let forward = self.each_block(|packing, first| {
            packing.operands(36, 1, |step, input, out| {
                let (dx, k, dy) = (step / 12, step / 3 % 4, step % 3);
                let (a, b) = (out / 8, out / 4 % 2);
                at(
                    first + k * 16 + input,
                    out,
                    (a + 3).checked_sub(2 * dy),
                    (b + 3).checked_sub(2 * dx),
                )
            })
        });
        let back = self.each_block(|packing, first| {
            packing.operands(9, 4, |tap, input, out| {
                let (dy, dx) = (tap / 3, tap % 3);
                let (a, b) = (input / 8, input / 4 % 2);
                at(
                    first + out,
                    input,
                    (2 * dy + a).checked_sub(1),
                    (2 * dx + b).checked_sub(1),
                )
            })
        });
        [forward, back]
    }

    /// A projection's linear part `[d, seeds * size * size]`: by pairs of latents, pixels and
    /// channels; then by latents, for gradients. And its bias.
    pub(super) fn projection_linear(
        &mut self,
        weight: usize,
        bias: usize,
        d: usize,
    ) -> ([u32; 2], u32) {
        let (size, seeds) = (self.shape.size, self.shape.seed_channels);
        let column = |pixel: usize, channel: usize| {
            let (y, x) = (pixel / 16, pixel % 16);
            (y < size && x < size && channel < seeds).then_some((channel * size + y) * size + x)
        };
        let width = seeds * size * size;
        let at = |latent: usize, pixel: usize, channel: usize| {
            let column = column(pixel, channel)?;
            (latent < d).then_some(weight + latent * width + column)
        };
        let forward = (self.direct.len() / 8) as u32;
        for pair in 0..d.next_multiple_of(32) / 2 {
            for pixel in 0..256 {
                for v in 0..8 {
                    self.direct.push(index(at(pair * 2 + v / 4, pixel, v % 4)));
                }
            }
        }
        let back = (self.direct.len() / 8) as u32;
        for latent in 0..d {
            for i in 0..1024 {
                self.direct.push(index(at(latent, i / 4, i % 4)));
            }
        }
        let first = self.bias.len() as u32;
        self.bias
            .extend((0..1024).map(|i| index(column(i / 4, i % 4).map(|c| bias + c))));
        ([forward, back], first)
    }

    /// Both heads' linear layers `[channels * (size - 4)², d]`, forward and for gradients.
    pub(super) fn head_linears(
        &mut self,
        weights: [usize; 2],
        channels: usize,
        d: usize,
    ) -> [u32; 2] {
        let side = self.shape.size - 4;
        let outputs = d.next_multiple_of(32);
        let at = |head: usize, value: usize, output: usize| {
            let (c, y, x) = head_value(value);
            (head < 2 && c < channels && y < side && x < side && output < d)
                .then(|| weights[head] + ((c * side + y) * side + x) * d + output)
        };
        let values = padded_channels(channels) / 16 * 3072;
        let forward = (self.direct.len() / 8) as u32;
        for head in 0..2 {
            for block in 0..outputs / 32 {
                for step in 0..values / 32 {
                    for i in 0..1024 {
                        let (n, lane, v) = (i / 256, i / 8 % 32, i % 8);
                        let output = block * 32 + n * 8 + lane / 4;
                        let value = step * 32 + lane % 4 * 8 + v;
                        self.direct.push(index(at(head, value, output)));
                    }
                }
            }
        }
        let back = (self.direct.len() / 8) as u32;
        for block in 0..head_blocks(channels) * 96 {
            let (head, block) = (block * 32 / values, block % (values / 32));
            for step in 0..outputs / 32 {
                for i in 0..1024 {
                    let (n, lane, v) = (i / 256, i / 8 % 32, i % 8);
                    let column = lane / 4;
                    let value = block * 32 + column / 2 * 8 + n * 2 + column % 2;
                    let output = step * 32 + lane % 4 * 8 + v;
                    self.direct.push(index(at(head, value, output)));
                }
            }
        }
        [forward, back]
    }

    /// `count` biases from `source`, filled up to `padded`.
    pub(super) fn biases(&mut self, source: usize, count: usize, padded: usize) -> u32 {
        let first = self.bias.len() as u32;
        self.bias
            .extend((0..padded).map(|i| index((i < count).then_some(source + i))));
        first
    }

    /// As many as a map has channels.
    pub(super) fn feature_biases(&mut self, source: usize) -> u32 {
        self.biases(source, self.shape.features, self.shape.blocks() * CHANNELS)
    }

    /// Of the image's channels: four for each of the pixels that one becomes.
    pub(super) fn image_biases(&mut self, source: usize) -> u32 {
        let first = self.bias.len() as u32;
        for _ in 0..16 {
            self.biases(source, self.shape.image_channels, 4);
        }
        first
    }

    /// Biases of both heads' convolutions, 64 for each pass.
    pub(super) fn head_biases(&mut self, sources: [usize; 2], channels: usize) -> u32 {
        let padded = padded_channels(channels);
        let first = self.bias.len() as u32;
        self.bias
            .extend((0..head_blocks(channels) * 16).map(|channel| {
                let (head, c) = (channel / padded, channel % padded);
                index((head < 2 && c < channels).then(|| sources[head] + c))
            }));
        first
    }
}

fn index(source: Option<usize>) -> u32 {
    source.map_or(NOTHING, |source| source as u32)
}
