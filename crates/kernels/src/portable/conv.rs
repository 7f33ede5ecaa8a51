//! Convolutions and linear layers with all that follows them, as one kernel.
//!
//! A product of matrices whose left side is gathered on the way to shared memory: rows are the pixels
//! of all images, the inner dimension counts the kernel's taps and within each the input channels.
//! A linear layer is the convolution of a map of one pixel by a kernel of one tap.

use cubecl::prelude::*;
use half::{bf16, f16};

use super::{
    gelu::gelu_with_slope,
    tile::{self, Operands, THREADS, Tile},
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
pub(super) fn chunks(inner: usize, parts: usize, tile: Tile) -> (usize, usize) {
    let chunk = inner.div_ceil(parts).next_multiple_of(tile.depth());
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
        let tile = operands.tile(self.outputs);
        let pixels = form.to * form.to;
        let rows = self.images * pixels;
        let (chunk, parts) = chunks(self.inner, self.parts.unwrap_or(1), tile);
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
            if form.transposed {
                self.inner
            } else {
                self.outputs
            },
            self.weights_group,
            self.bias_at,
            self.bias_group,
            y_stride,
            y_group,
            self.groups * self.images * image,
        );
        let cubes = CubeCount::Static(
            rows.div_ceil(tile.rows()) as u32,
            self.outputs.div_ceil(tile.columns()) as u32,
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
                tile,
                crate::SOURCES,
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
    #[comptime] tile: Tile,
    #[comptime] _sources: u64,
) {
    let depth = comptime!(tile.depth());
    let left_pitch = comptime!(tile.left_pitch());
    let right_pitch = comptime!(tile.right_pitch());
    let mut left = SharedMemory::<E>::new_aligned(comptime!(depth * left_pitch), 16usize);
    let mut right = SharedMemory::<E>::new_aligned(comptime!(depth * right_pitch), 16usize);
    let unit = UNIT_POS as usize;
    let group = CUBE_POS_Z as usize / places.parts;
    let part = CUBE_POS_Z as usize % places.parts;
    let start = part * places.chunk;
    let mut end = start + places.chunk;
    if end > places.inner {
        end = places.inner;
    }

    // The pixel that this thread gathers.
    let rows = comptime!(tile.rows());
    let pixels = comptime!(form.to * form.to);
    let row = CUBE_POS_X as usize * rows + unit % rows;
    let pixel = row % pixels;
    let top = pixel / comptime!(form.to) * comptime!(form.stride);
    let side = pixel % comptime!(form.to) * comptime!(form.stride);
    let image_at = places.x_at + group * places.x_group + row / pixels * places.x_stride;
    let row_inside = row < places.rows;
    let row_inner = unit / rows;

    // The weights that it fetches: neighbouring threads take what lies side by side.
    let columns = comptime!(tile.columns());
    let weights_at = places.weights_at + group * places.weights_group;
    let column = CUBE_POS_Y as usize * columns;
    let mut column_inner = unit / columns;
    let mut column_outer = unit % columns;
    if comptime!(form.transposed) {
        column_inner = unit % depth;
        column_outer = unit / depth;
    }
    let inner_step = comptime!(if form.transposed {
        0
    } else {
        THREADS / columns
    });
    let outer_step = comptime!(if form.transposed { THREADS / depth } else { 0 });

    let mut sums = tile::begin(tile);
    let pixel_loads = comptime!(rows * depth / THREADS);
    let weight_loads = comptime!(columns * depth / THREADS);
    let mut pixels_next = Array::<f32>::new(pixel_loads);
    let mut weights_next = Array::<f32>::new(weight_loads);
    let mut at = start;
    while at < end {
        // Where the taps are whole tiles, all values have one tap.
        let whole = comptime!(form.kernel > 1 && form.inputs.is_multiple_of(depth));
        if comptime!(whole) {
            let (first, inside) = tap(top, side, at, form);
            let map = comptime!(form.from * form.from);
            let first = image_at + first + row_inner * map;
            #[unroll]
            for i in 0..pixel_loads {
                let mut value = 0.0f32;
                if row_inside && inside {
                    value = x[first + comptime!(i * (THREADS / rows) * map)];
                }
                pixels_next[i] = value;
            }
        } else {
            #[unroll]
            for i in 0..pixel_loads {
                let inner = at + row_inner + comptime!(i * (THREADS / rows));
                let (place, inside) = tap(top, side, inner, form);
                let mut value = 0.0f32;
                if row_inside && inner < end && inside {
                    value = x[image_at + place];
                }
                pixels_next[i] = value;
            }
        }
        #[unroll]
        for i in 0..weight_loads {
            let inner = at + column_inner + comptime!(i * inner_step);
            let output = column + column_outer + comptime!(i * outer_step);
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
        for i in 0..pixel_loads {
            let inner = row_inner + comptime!(i * (THREADS / rows));
            left[inner * left_pitch + unit % rows] = E::cast_from(pixels_next[i]);
        }
        #[unroll]
        for i in 0..weight_loads {
            let inner = column_inner + comptime!(i * inner_step);
            let output = column_outer + comptime!(i * outer_step);
            right[inner * right_pitch + output] = E::cast_from(weights_next[i]);
        }
        sync_cube();
        tile::multiply::<E>(&left, &right, &mut sums, tile);
        at += depth;
    }
    tile::finish(&mut sums, tile);

    let apart = comptime!([tile.row_threads(), tile.column_threads()]);
    #[unroll]
    for i in 0..4usize {
        let of_row = unit % comptime!(apart[0]) + comptime!(apart[0] * i);
        let row = CUBE_POS_X as usize * rows + of_row;
        let pixel = row % pixels;
        let y_at = part * places.y_part + group * places.y_group + row / pixels * places.y_stride;
        #[unroll]
        for j in 0..4usize {
            let output = column + unit / comptime!(apart[0]) + comptime!(apart[1] * j);
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

/// Where in its image the value of an inner index lies, and whether it does: else it is 0, of the
/// padding.
#[cube]
fn tap(top: usize, side: usize, inner: usize, #[comptime] form: Form) -> (usize, bool) {
    let from = comptime!(form.from);
    let map = comptime!(from * from);
    let mut place = inner * map + top * from + side;
    let mut inside = true.runtime();
    if comptime!(form.kernel > 1) {
        let tap = inner / comptime!(form.inputs);
        let channel = inner % comptime!(form.inputs);
        let padding = comptime!(form.padding);
        let row = top + tap / comptime!(form.kernel);
        let column = side + tap % comptime!(form.kernel);
        let beyond = comptime!(padding + from);
        inside = row >= padding && row < beyond && column >= padding && column < beyond;
        // Below 0 is not read.
        place = channel * map + (row - padding) * from + column - padding;
    }
    (place, inside)
}
