//! Convolutions and linear layers with all that follows them, as one kernel.
//!
//! A product of matrices whose left side is gathered on the way to shared memory: rows are the pixels
//! of all images, the inner dimension counts the kernel's taps and within each the input channels.
//! A linear layer is the convolution of a map of one pixel by a kernel of one tap.

use cubecl::prelude::*;
use half::{bf16, f16};

use super::{
    gelu::gelu_with_slope,
    tile::{self, Operands, PITCH, THREADS, TILE},
    values::Values,
};

/// What a convolution does, beside its sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Form {
    /// Taps in a row of the kernel.
    pub(super) kernel: usize,
    /// Input channels, if the kernel has more than one tap.
    pub(super) inputs: usize,
    /// Height and width of the maps read and of those made.
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) padding: usize,
    pub(super) stride: usize,
    /// Channels come in fours that are the quarters of a map of twice the size.
    pub(super) quarters: bool,
    /// The weights are `[outputs][inner]`, not `[inner][outputs]`.
    pub(super) transposed: bool,
    pub(super) bias: bool,
    /// Ends in a GELU whose slope is kept.
    pub(super) gelu: bool,
    /// Maps added to the result.
    pub(super) adds: usize,
    pub(super) times: Times,
}

/// What is made of the product of the result and one more map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Times {
    /// There is none.
    No,
    /// The product is the result.
    Only,
    /// Both are results.
    Beside,
}

impl Form {
    /// A convolution of stride 1 and padding `padding` from maps of `from` pixels.
    pub(super) fn conv(kernel: usize, inputs: usize, from: usize, padding: usize) -> Self {
        Self {
            kernel,
            inputs,
            from,
            to: from + 2 * padding + 1 - kernel,
            padding,
            stride: 1,
            quarters: false,
            transposed: false,
            bias: false,
            gelu: false,
            adds: 0,
            times: Times::No,
        }
    }

    pub(super) fn linear() -> Self {
        Self::conv(1, 0, 1, 0)
    }

    pub(super) fn biased(self) -> Self {
        Self { bias: true, ..self }
    }

    pub(super) fn with_gelu(self) -> Self {
        Self { gelu: true, ..self }
    }
}

/// A convolution of a batch.
pub(super) struct Convolution<'a> {
    pub(super) form: Form,
    pub(super) images: usize,
    /// Where the first image lies, and values from one image to the next.
    pub(super) x: &'a Values,
    pub(super) x_at: usize,
    pub(super) x_stride: usize,
    pub(super) weights: &'a Values,
    pub(super) weights_at: usize,
    /// Output channels: of each group.
    pub(super) outputs: usize,
    /// Inner values: taps times input channels.
    pub(super) inner: usize,
    /// All weights of the generator, and where the bias lies in them.
    pub(super) parameters: &'a Values,
    pub(super) bias_at: usize,
    pub(super) bias_group: usize,
    /// Several at once, side by side in the maps; from the values and weights of one to the next.
    pub(super) groups: usize,
    pub(super) x_group: usize,
    pub(super) weights_group: usize,
    /// Sums over so many parts of the inner dimension, each by itself: `[part][group][image][outputs]`.
    pub(super) parts: Option<usize>,
    pub(super) add: [Option<&'a Values>; 2],
    pub(super) by: Option<&'a Values>,
    pub(super) y: &'a Values,
    /// The slope, or the product beside.
    pub(super) beside: Option<&'a Values>,
}

#[derive(CubeType, CubeLaunch)]
struct Places {
    rows: usize,
    outputs: usize,
    inner: usize,
    parts: usize,
    chunk: usize,
    x_at: usize,
    x_stride: usize,
    x_group: usize,
    weights_at: usize,
    weights_stride: usize,
    weights_group: usize,
    bias_at: usize,
    bias_group: usize,
    y_stride: usize,
    y_group: usize,
    y_part: usize,
}

/// Into how many parts to split an inner dimension so that there is work for a whole device.
pub(super) fn parts(tiles: usize, inner: usize) -> usize {
    (512 / tiles.max(1)).clamp(1, (inner / 64).max(1))
}

/// The inner values of each of `parts` parts, and how many parts that makes.
pub(super) fn chunks(inner: usize, parts: usize, operands: Operands) -> (usize, usize) {
    let depth = tile::depth(operands.cooperative());
    let chunk = inner.div_ceil(parts).next_multiple_of(depth);
    (chunk, inner.div_ceil(chunk))
}

impl Convolution<'_> {
    /// Runs it, and says of how many parts the sums are.
    pub(super) fn run<R: Runtime>(&self, client: &ComputeClient<R>, operands: Operands) -> usize {
        match operands {
            Operands::Single => self.launch::<R, f32>(client, operands),
            Operands::Half => self.launch::<R, f16>(client, operands),
            Operands::Brain => self.launch::<R, bf16>(client, operands),
        }
    }

    fn launch<R: Runtime, E: Float + CubeElement>(
        &self,
        client: &ComputeClient<R>,
        operands: Operands,
    ) -> usize {
        let form = self.form;
        let pixels = form.to * form.to;
        let rows = self.images * pixels;
        let (chunk, parts) = chunks(self.inner, self.parts.unwrap_or(1), operands);
        let image = self.outputs * pixels;
        let [y_stride, y_group] = match self.parts {
            None => [self.groups * image, image],
            Some(_) => [image, self.images * image],
        };
        let places = PlacesLaunch::new(
            rows,
            self.outputs,
            self.inner,
            parts,
            chunk,
            self.x_at,
            self.x_stride,
            self.x_group,
            self.weights_at,
            if form.transposed { self.inner } else { self.outputs },
            self.weights_group,
            self.bias_at,
            self.bias_group,
            y_stride,
            y_group,
            self.groups * self.images * image,
        );
        let cubes = CubeCount::Static(
            rows.div_ceil(TILE) as u32,
            self.outputs.div_ceil(TILE) as u32,
            (self.groups * parts) as u32,
        );
        let some = |values: Option<&Values>| values.unwrap_or(self.x).argument();
        // SAFETY: every place that the kernel touches lies in arrays of these sizes; rows, outputs and
        // inner values beyond them are left out, and so are arrays that the form does not name.
        unsafe {
            convolve::launch_unchecked::<E, R>(
                client,
                cubes,
                CubeDim::new_1d(THREADS as u32),
                self.x.argument(),
                self.weights.argument(),
                self.parameters.argument(),
                some(self.add[0]),
                some(self.add[1]),
                some(self.by),
                self.y.argument(),
                self.beside.unwrap_or(self.y).argument(),
                places,
                form,
                operands.cooperative(),
            );
        }
        parts
    }
}

#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn convolve<E: Float>(
    x: &Array<f32>,
    weights: &Array<f32>,
    parameters: &Array<f32>,
    first: &Array<f32>,
    second: &Array<f32>,
    by: &Array<f32>,
    y: &mut Array<f32>,
    beside: &mut Array<f32>,
    places: Places,
    #[comptime] form: Form,
    #[comptime] cooperative: bool,
) {
    let depth = comptime!(tile::depth(cooperative));
    let loads = comptime!(TILE * depth / THREADS);
    let mut left = SharedMemory::<E>::new_aligned(comptime!(depth * PITCH), 16usize);
    let mut right = SharedMemory::<E>::new_aligned(comptime!(depth * PITCH), 16usize);
    let unit = UNIT_POS as usize;
    let group = CUBE_POS_Z as usize / places.parts;
    let part = CUBE_POS_Z as usize % places.parts;
    let start = part * places.chunk;
    let mut end = start + places.chunk;
    if end > places.inner {
        end = places.inner;
    }

    // The pixel that this thread gathers.
    let pixels = comptime!(form.to * form.to);
    let row = CUBE_POS_X as usize * TILE + unit % TILE;
    let pixel = row % pixels;
    let top = pixel / comptime!(form.to) * comptime!(form.stride);
    let side = pixel % comptime!(form.to) * comptime!(form.stride);
    let image_at = places.x_at + group * places.x_group + row / pixels * places.x_stride;
    let row_inside = row < places.rows;
    let row_inner = unit / TILE;

    // The weights that it fetches: neighbouring threads take what lies side by side.
    let weights_at = places.weights_at + group * places.weights_group;
    let column = CUBE_POS_Y as usize * TILE;
    let mut column_inner = unit / TILE;
    let mut column_outer = unit % TILE;
    let mut inner_step = comptime!(THREADS / TILE).runtime();
    let mut outer_step = 0usize.runtime();
    if comptime!(form.transposed) {
        column_inner = unit % depth;
        column_outer = unit / depth;
        inner_step = 0usize;
        outer_step = comptime!(THREADS / depth).runtime();
    }

    let mut sums = tile::begin(cooperative);
    let mut pixels_next = Array::<f32>::new(loads);
    let mut weights_next = Array::<f32>::new(loads);
    let mut at = start;
    while at < end {
        #[unroll]
        for i in 0..loads {
            let inner = at + row_inner + comptime!(i * THREADS / TILE);
            let mut value = 0.0f32;
            if row_inside && inner < end {
                value = gathered(x, image_at, top, side, inner, form);
            }
            pixels_next[i] = value;
            let inner = at + column_inner + i * inner_step;
            let output = column + column_outer + i * outer_step;
            let mut value = 0.0f32;
            if inner < end && output < places.outputs {
                if comptime!(form.transposed) {
                    value = weights[weights_at + output * places.weights_stride + inner];
                } else {
                    value = weights[weights_at + inner * places.weights_stride + output];
                }
            }
            weights_next[i] = value;
        }
        // The last product has been read.
        sync_cube();
        #[unroll]
        for i in 0..loads {
            let inner = row_inner + comptime!(i * THREADS / TILE);
            left[inner * PITCH + unit % TILE] = E::cast_from(pixels_next[i]);
            let inner = column_inner + i * inner_step;
            let output = column_outer + i * outer_step;
            right[inner * PITCH + output] = E::cast_from(weights_next[i]);
        }
        sync_cube();
        tile::multiply::<E>(&left, &right, &mut sums, cooperative);
        at += depth;
    }
    tile::finish(&mut sums, cooperative);

    #[unroll]
    for i in 0..4usize {
        let row = CUBE_POS_X as usize * TILE + unit % 16 + comptime!(16 * i);
        let pixel = row % pixels;
        let y_at = part * places.y_part + group * places.y_group + row / pixels * places.y_stride;
        #[unroll]
        for j in 0..4usize {
            let output = column + unit / 16 + comptime!(16 * j);
            if row < places.rows && output < places.outputs {
                let mut channel = output;
                let mut place = y_at + output * pixels + pixel;
                if comptime!(form.quarters) {
                    channel = output / 4;
                    let wide = comptime!(2 * form.to);
                    let top = pixel / comptime!(form.to) * 2 + output % 4 / 2;
                    let side = pixel % comptime!(form.to) * 2 + output % 2;
                    place = y_at + channel * comptime!(4 * pixels) + top * wide + side;
                }
                let mut value = sums.values[comptime!(4 * i + j)];
                if comptime!(form.bias) {
                    value += parameters[places.bias_at + group * places.bias_group + channel];
                }
                if comptime!(form.gelu) {
                    let (activation, slope) = gelu_with_slope(value);
                    beside[place] = slope;
                    value = activation;
                }
                if comptime!(form.adds > 0) {
                    value += first[place];
                }
                if comptime!(form.adds > 1) {
                    value += second[place];
                }
                if comptime!(form.times == Times::Only) {
                    value *= by[place];
                }
                if comptime!(form.times == Times::Beside) {
                    beside[place] = value * by[place];
                }
                y[place] = value;
            }
        }
    }
}

/// The value at one tap and channel, 0 in the padding.
#[cube]
fn gathered(
    x: &Array<f32>,
    image_at: usize,
    top: usize,
    side: usize,
    inner: usize,
    #[comptime] form: Form,
) -> f32 {
    let from = comptime!(form.from);
    let mut value = 0.0f32;
    if comptime!(form.kernel == 1) {
        value = x[image_at + inner * comptime!(from * from) + top * from + side];
    } else {
        let tap = inner / comptime!(form.inputs);
        let channel = inner % comptime!(form.inputs);
        let padding = comptime!(form.padding);
        let row = top + tap / comptime!(form.kernel);
        let column = side + tap % comptime!(form.kernel);
        let beyond = comptime!(padding + from);
        if row >= padding && row < beyond && column >= padding && column < beyond {
            let place = channel * comptime!(from * from) + (row - padding) * from;
            value = x[image_at + place + column - padding];
        }
    }
    value
}
