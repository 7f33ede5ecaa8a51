//! Convolutions of stride 1, and with them their input gradients and transposed forms.

mod epilogue;
mod padded;
mod plan;
#[cfg(test)]
mod tests;
mod tile;
mod weights;

use std::cell::RefCell;

use rayon::prelude::*;

use self::{epilogue::Sink, plan::Plan, weights::Packed};
use super::simd::{Isa, Job, Simd};

pub use self::epilogue::{Activation, Epilogue};
pub(super) use self::padded::Padded;

/// Channels, kernel and padding of a convolution of stride 1 with a square kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Channels of the input.
    pub input_channels: usize,
    /// Channels of the output.
    pub output_channels: usize,
    /// Height and width of the kernel.
    pub kernel: usize,
    /// Zeros around the image on each side; in a transposed convolution, what is cut off.
    pub padding: usize,
}

impl ConvShape {
    /// The convolution that leads back: channels exchanged, padding `kernel - 1 - padding`.
    fn adjoint(self) -> Self {
        assert!(
            self.padding < self.kernel,
            "input gradient: padding {} must be below the kernel size {}",
            self.padding,
            self.kernel
        );
        Self {
            input_channels: self.output_channels,
            output_channels: self.input_channels,
            padding: self.kernel - 1 - self.padding,
            ..self
        }
    }

    /// Height or width after the convolution of an image of height or width `size`.
    ///
    /// # Panics
    ///
    /// If the padded image is smaller than the kernel.
    pub fn output_size(&self, size: usize) -> usize {
        let padded = size + 2 * self.padding;
        assert!(
            padded >= self.kernel,
            "convolution: kernel {} is larger than the padded image {padded}",
            self.kernel
        );
        padded + 1 - self.kernel
    }

    fn weight_len(&self) -> usize {
        self.input_channels * self.output_channels * self.kernel * self.kernel
    }
}

/// What a convolution reads.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// `[batch, input_channels, height, width]`.
    pub values: &'a [f32],
    /// Multiplies `values` elementwise while they are read: the backward pass through an activation
    /// is the input gradient of `values * slope`.
    pub slope: Option<&'a [f32]>,
    /// Images.
    pub batch: usize,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
}

impl<'a> Input<'a> {
    /// Images `[batch, channels, height, width]`; `dims` is `[batch, height, width]`.
    pub fn new(values: &'a [f32], [batch, height, width]: [usize; 3]) -> Self {
        Self {
            values,
            slope: None,
            batch,
            height,
            width,
        }
    }

    /// The same, multiplied elementwise by `slope`.
    pub fn times(self, slope: &'a [f32]) -> Self {
        Self {
            slope: Some(slope),
            ..self
        }
    }

    /// Panics if the lengths do not fit.
    pub(super) fn check(&self, channels: usize) {
        let &Self {
            batch,
            height,
            width,
            ..
        } = self;
        assert_eq!(
            self.values.len(),
            batch * channels * height * width,
            "convolution: length of the input for {batch}x{channels}x{height}x{width}"
        );
        if let Some(slope) = self.slope {
            assert_eq!(
                slope.len(),
                self.values.len(),
                "convolution: length of the input's slope"
            );
        }
    }
}

/// A convolution of stride 1 with its weights packed for the kernel of this processor.
///
/// The result has the same bits whatever the number of threads.
#[derive(Clone, Debug)]
pub struct Conv2d {
    shape: ConvShape,
    weights: Packed,
    isa: Isa,
}

impl Conv2d {
    /// `y[o] = bias[o] + sum_i weight[o, i] * x[i]`, as PyTorch's `conv2d`.
    ///
    /// - `weight`: `[output_channels, input_channels, kernel, kernel]`
    /// - `bias`: `[output_channels]`
    ///
    /// # Panics
    ///
    /// If a length does not fit `shape`, or a size in it is zero.
    pub fn new(weight: &[f32], bias: Option<&[f32]>, shape: ConvShape) -> Self {
        Self::plain(weight, bias, shape, Isa::best())
    }

    /// The gradient of `Conv2d::new(weight, _, shape)` in its input: run it on the gradient in the
    /// output.
    ///
    /// - `weight`: `[output_channels, input_channels, kernel, kernel]`
    ///
    /// # Panics
    ///
    /// As [`Conv2d::new`], or if the padding is not below the kernel size.
    pub fn input_gradient(weight: &[f32], shape: ConvShape) -> Self {
        Self::flipped(weight, None, shape.adjoint(), Isa::best())
    }

    /// A transposed convolution of stride 1, as PyTorch's `conv_transpose2d`.
    ///
    /// - `weight`: `[input_channels, output_channels, kernel, kernel]`
    /// - `bias`: `[output_channels]`
    ///
    /// # Panics
    ///
    /// As [`Conv2d::input_gradient`].
    pub fn transposed(weight: &[f32], bias: Option<&[f32]>, shape: ConvShape) -> Self {
        // Twice the adjoint: the channels are those of `shape`, the padding that of a convolution.
        let padding = shape.adjoint().padding;
        Self::flipped(weight, bias, ConvShape { padding, ..shape }, Isa::best())
    }

    /// The gradient of `Conv2d::transposed(weight, _, shape)` in its input.
    ///
    /// - `weight`: `[input_channels, output_channels, kernel, kernel]`
    ///
    /// # Panics
    ///
    /// As [`Conv2d::new`].
    pub fn transposed_input_gradient(weight: &[f32], shape: ConvShape) -> Self {
        let shape = ConvShape {
            input_channels: shape.output_channels,
            output_channels: shape.input_channels,
            ..shape
        };
        Self::plain(weight, None, shape, Isa::best())
    }

    /// Weights in the order of the convolution itself.
    pub(super) fn plain(weight: &[f32], bias: Option<&[f32]>, shape: ConvShape, isa: Isa) -> Self {
        let (ci, k) = (shape.input_channels, shape.kernel);
        Self::pack(weight, bias, shape, isa, |o, i, y, x| {
            ((o * ci + i) * k + y) * k + x
        })
    }

    /// Weights with the channels exchanged and the kernel turned by half a turn.
    pub(super) fn flipped(
        weight: &[f32],
        bias: Option<&[f32]>,
        shape: ConvShape,
        isa: Isa,
    ) -> Self {
        let (co, k) = (shape.output_channels, shape.kernel);
        Self::pack(weight, bias, shape, isa, |o, i, y, x| {
            ((i * co + o) * k + k - 1 - y) * k + k - 1 - x
        })
    }

    fn pack(
        weight: &[f32],
        bias: Option<&[f32]>,
        shape: ConvShape,
        isa: Isa,
        index: impl Fn(usize, usize, usize, usize) -> usize,
    ) -> Self {
        assert!(
            shape.weight_len() > 0,
            "convolution: {shape:?} has a size of zero"
        );
        assert_eq!(
            weight.len(),
            shape.weight_len(),
            "convolution: length of the weights for {shape:?}"
        );
        if let Some(bias) = bias {
            assert_eq!(
                bias.len(),
                shape.output_channels,
                "convolution: length of the bias for {shape:?}"
            );
        }
        let weights = Packed::new(&shape, isa.channels(), bias, |o, i, y, x| {
            weight[index(o, i, y, x)]
        });
        Self {
            shape,
            weights,
            isa,
        }
    }

    /// The convolution that [`Conv2d::run`] computes (an input gradient is one too).
    pub fn shape(&self) -> ConvShape {
        self.shape
    }

    /// Writes the convolution of `input`, taken through `epilogue`, to `output`:
    /// `[batch, output_channels, output_size(height), output_size(width)]`.
    ///
    /// Parallel over rayon's current pool.
    ///
    /// # Panics
    ///
    /// If the length of a slice does not fit, or the kernel is larger than the padded image.
    pub fn run(&self, input: Input<'_>, epilogue: Epilogue<'_>, output: &mut [f32]) {
        let Input {
            batch,
            height,
            width,
            ..
        } = input;
        let image = self.shape.input_channels * height * width;
        input.check(self.shape.input_channels);
        let rows = self.shape.output_size(height);
        let columns = self.shape.output_size(width);
        let area = self.shape.output_channels * rows * columns;
        assert_eq!(
            output.len(),
            batch * area,
            "convolution: length of the output for {batch}x{rows}x{columns}, {:?}",
            self.shape
        );
        let sink = Sink::new(epilogue, output);
        let plan = Plan::new(
            &self.shape,
            self.isa.lanes(),
            self.weights.blocks(),
            [batch, rows, columns],
            rayon::current_num_threads(),
        );
        plan.tasks().into_par_iter().with_max_len(1).for_each(|t| {
            let part = plan.part(t);
            SCRATCH.with_borrow_mut(|scratch| {
                let padded = Padded::new(
                    &self.shape,
                    [height, width],
                    [part.rows.start, part.rows.len()],
                    scratch,
                );
                let task = Task {
                    conv: self,
                    values: &input.values[part.image * image..][..image],
                    slope: input.slope.map(|s| &s[part.image * image..][..image]),
                    padded,
                    blocks: part.blocks,
                    first: part.image * area + part.rows.start * columns,
                    pixels: part.rows.len() * columns,
                    channel: rows * columns,
                    sink: &sink,
                };
                self.isa.run(task);
            });
        });
    }
}

thread_local! {
    /// The padded copy of an image, kept so that it stays in the cache of its core.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Some rows of one image for some blocks of channels.
struct Task<'a> {
    conv: &'a Conv2d,
    values: &'a [f32],
    slope: Option<&'a [f32]>,
    padded: Padded<'a>,
    blocks: std::ops::Range<usize>,
    /// Where the first pixel of channel 0 goes in the output, how many pixels, and from one channel
    /// to the next.
    first: usize,
    pixels: usize,
    channel: usize,
    sink: &'a Sink<'a>,
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
            let channels = self.conv.weights.channels(block);
            // SAFETY: as above; `first`, `pixels` and `channel` describe a part of the output that
            // no other task writes (see `Plan`).
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
        let weights = self.conv.weights.block(block);
        let bias = self.conv.weights.bias(block);
        let first = self.first + self.conv.weights.channels(block).start * self.channel;
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
