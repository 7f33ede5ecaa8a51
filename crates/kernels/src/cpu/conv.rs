//! Convolutions of stride 1, and with them their input gradients and transposed forms.

mod channels;
mod epilogue;
mod padded;
mod pixels;
mod plan;
#[cfg(test)]
mod tests;
mod tile;
mod weights;

use std::cell::RefCell;

use rayon::prelude::*;

use self::{epilogue::Sink, plan::Plan, weights::Packed};
use super::simd::Isa;

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
    form: Form,
    isa: Isa,
}

/// What the lanes of a vector are, and the weights in the order for it.
#[derive(Clone, Debug)]
enum Form {
    /// Pixels: no lane is lost with any number of channels.
    Pixels(Packed),
    /// Output channels, where they fill vectors: products with the zeros around the image are left
    /// out, 14% of a 5x5 convolution of 16x16 with padding 2 and 44% of one from 12x12 to 16x16.
    Channels(channels::Weights),
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
        let at = |o, i, y, x| weight[index(o, i, y, x)];
        let form = if shape.output_channels.is_multiple_of(isa.lanes()) {
            Form::Channels(channels::Weights::new(&shape, isa.lanes(), bias, at))
        } else {
            Form::Pixels(Packed::new(&shape, isa.channels(), bias, at))
        };
        Self { shape, form, isa }
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
        let step = match self.form {
            Form::Pixels(_) => self.isa.lanes() / gcd(self.isa.lanes(), columns),
            Form::Channels(_) => 1,
        };
        let plan = Plan::new(
            step,
            |rows| match &self.form {
                Form::Pixels(_) => Padded::len(&self.shape, rows, columns),
                Form::Channels(weights) => weights.scratch(rows, columns),
            },
            self.blocks(),
            [batch, rows],
            rayon::current_num_threads(),
        );
        plan.tasks().into_par_iter().with_max_len(1).for_each(|t| {
            let part = plan.part(t);
            let values = &input.values[part.image * image..][..image];
            let slope = input.slope.map(|s| &s[part.image * image..][..image]);
            let first = part.image * area + part.rows.start * columns;
            SCRATCH.with_borrow_mut(|scratch| match &self.form {
                Form::Pixels(weights) => self.isa.run(pixels::Task {
                    weights,
                    values,
                    slope,
                    padded: Padded::new(
                        &self.shape,
                        [height, width],
                        [part.rows.start, part.rows.len()],
                        scratch,
                    ),
                    blocks: part.blocks,
                    first,
                    pixels: part.rows.len() * columns,
                    channel: rows * columns,
                    sink: &sink,
                }),
                Form::Channels(weights) => self.isa.run(channels::Task {
                    weights,
                    values,
                    slope,
                    padding: self.shape.padding,
                    size: [height, width],
                    rows: part.rows,
                    columns,
                    blocks: part.blocks,
                    first,
                    channel: rows * columns,
                    scratch,
                    sink: &sink,
                }),
            });
        });
    }

    fn blocks(&self) -> usize {
        match &self.form {
            Form::Pixels(weights) => weights.blocks(),
            Form::Channels(weights) => weights.blocks(),
        }
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

thread_local! {
    /// The padded copy of an image, kept so that it stays in the cache of its core.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}
