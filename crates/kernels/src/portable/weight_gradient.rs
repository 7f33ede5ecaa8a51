//! Gradients of weights: products of what a layer was given and the gradient of what it made, summed
//! over the pixels of all images.

use cubecl::prelude::*;
use half::{bf16, f16};

use super::{
    conv::{chunks, parts},
    cubes::cubes,
    sum::over_cube,
    tile::{self, Operands, THREADS, Tile},
    values::Values,
};

/// The maps on either side, beside their channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Form {
    pub(super) kernel: usize,
    /// Height and width of the left maps and of the right ones.
    pub(super) left: usize,
    pub(super) right: usize,
    pub(super) padding: usize,
    pub(super) stride: usize,
}

/// Maps of a batch.
#[derive(Clone, Copy)]
pub(super) struct Maps<'a> {
    pub(super) values: &'a Values,
    /// Where the first image lies, and values from one image to the next.
    pub(super) at: usize,
    pub(super) stride: usize,
    pub(super) channels: usize,
    /// From one group's values to the next's.
    pub(super) group: usize,
}

/// The gradient `[left channels][right channels][k][k]`: with q the pixels of the left maps,
/// `sum_q left[a][q] right[b][stride q + tap - padding]`.
pub(super) struct WeightGradient<'a> {
    pub(super) form: Form,
    pub(super) images: usize,
    pub(super) left: Maps<'a>,
    pub(super) right: Maps<'a>,
    pub(super) groups: usize,
    /// Where the gradient goes, and from one group's to the next's.
    pub(super) at: usize,
    pub(super) group: usize,
    /// What it is multiplied by.
    pub(super) factor: f32,
}

#[derive(CubeType, CubeLaunch)]
struct Places {
    rows: usize,
    columns: usize,
    inner: usize,
    parts: usize,
    chunk: usize,
    left_at: usize,
    left_stride: usize,
    left_group: usize,
    right_at: usize,
    right_stride: usize,
    right_group: usize,
    to_at: usize,
    to_group: usize,
    to_part: usize,
}

impl WeightGradient<'_> {
    /// Runs it.
    pub(super) fn run<R: Runtime>(
        &self,
        client: &ComputeClient<R>,
        operands: Operands,
        gradient: &Values,
    ) {
        match operands {
            Operands::Single => self.launch::<R, f32>(client, operands, gradient),
            Operands::Half => self.launch::<R, f16>(client, operands, gradient),
            Operands::Brain => self.launch::<R, bf16>(client, operands, gradient),
        }
    }

    fn launch<R: Runtime, E: Float + CubeElement>(
        &self,
        client: &ComputeClient<R>,
        operands: Operands,
        gradient: &Values,
    ) {
        let form = self.form;
        let (left, right) = (self.left, self.right);
        let [rows, columns] = [left.channels, right.channels * form.kernel * form.kernel];
        let count = rows * columns;
        let inner = self.images * form.left * form.left;
        // Narrow tiles are for few columns: gradients have many.
        let tile = operands.tile(columns.max(64));
        let tiles = [rows.div_ceil(tile.rows()), columns.div_ceil(tile.columns())];
        let wanted = parts(tiles[0] * tiles[1] * self.groups, inner);
        let (chunk, parts) = chunks(inner, wanted, tile);
        let direct = parts == 1;
        let sums = (!direct).then(|| Values::empty(client, parts * self.groups * count));
        let [to_at, to_group] = if direct {
            [self.at, self.group]
        } else {
            [0, count]
        };
        let places = PlacesLaunch::new(
            rows,
            columns,
            inner,
            parts,
            chunk,
            left.at,
            left.stride,
            left.group,
            right.at,
            right.stride,
            right.group,
            to_at,
            to_group,
            self.groups * count,
        );
        let grid = CubeCount::Static(
            tiles[0] as u32,
            tiles[1] as u32,
            (self.groups * parts) as u32,
        );
        // SAFETY: every place that the kernels touch lies in arrays of these sizes; rows, columns and
        // inner values beyond them are left out.
        unsafe {
            correlate::launch_unchecked::<E, R>(
                client,
                grid,
                CubeDim::new_1d(THREADS as u32),
                left.values.argument(),
                right.values.argument(),
                sums.as_ref().unwrap_or(gradient).argument(),
                places,
                if direct { self.factor } else { 1.0 },
                form,
                tile,
                crate::SOURCES,
            );
            if let Some(sums) = &sums {
                collect::launch_unchecked::<R>(
                    client,
                    cubes(self.groups * count, THREADS),
                    CubeDim::new_1d(THREADS as u32),
                    sums.argument(),
                    gradient.argument(),
                    parts,
                    self.groups,
                    count,
                    self.at,
                    self.group,
                    self.factor,
                    crate::SOURCES,
                );
            }
        }
    }
}

#[cube(launch_unchecked)]
fn correlate<E: Float>(
    left: &Array<f32>,
    right: &Array<f32>,
    to: &mut Array<f32>,
    places: Places,
    factor: f32,
    #[comptime] form: Form,
    #[comptime] tile: Tile,
    #[comptime] _sources: u64,
) {
    let depth = comptime!(tile.depth());
    let left_pitch = comptime!(tile.left_pitch());
    let right_pitch = comptime!(tile.right_pitch());
    let left_loads = comptime!(tile.rows() * depth / THREADS);
    let right_loads = comptime!(tile.columns() * depth / THREADS);
    let mut left_tile = SharedMemory::<E>::new_aligned(comptime!(depth * left_pitch), 16usize);
    let mut right_tile = SharedMemory::<E>::new_aligned(comptime!(depth * right_pitch), 16usize);
    let unit = UNIT_POS as usize;
    let group = CUBE_POS_Z as usize / places.parts;
    let part = CUBE_POS_Z as usize % places.parts;
    let start = part * places.chunk;
    let mut end = start + places.chunk;
    if end > places.inner {
        end = places.inner;
    }
    // Neighbouring threads take neighbouring pixels.
    let inner = unit % depth;
    let outer = unit / depth;
    let first_row = CUBE_POS_X as usize * comptime!(tile.rows());
    let first_column = CUBE_POS_Y as usize * comptime!(tile.columns());
    let pixels = comptime!(form.left * form.left);
    let right_pixels = comptime!(form.right * form.right);
    let taps = comptime!(form.kernel * form.kernel);
    let padding = comptime!(form.padding);
    let beyond = comptime!(form.padding + form.right);

    let mut sums = tile::begin(tile);
    let mut left_next = Array::<f32>::new(left_loads);
    let mut right_next = Array::<f32>::new(right_loads);
    let mut at = start;
    while at < end {
        let place = at + inner;
        let inside = place < end;
        let image = place / pixels;
        let pixel = place % pixels;
        let left_at =
            places.left_at + group * places.left_group + image * places.left_stride + pixel;
        let right_at = places.right_at + group * places.right_group + image * places.right_stride;
        let top = pixel / comptime!(form.left) * comptime!(form.stride);
        let side = pixel % comptime!(form.left) * comptime!(form.stride);
        #[unroll]
        for i in 0..left_loads {
            let row = first_row + outer + comptime!(i * (THREADS / depth));
            let mut value = 0.0f32;
            if inside && row < places.rows {
                value = left[left_at + row * pixels];
            }
            left_next[i] = value;
        }
        #[unroll]
        for i in 0..right_loads {
            let column = first_column + outer + comptime!(i * (THREADS / depth));
            let tap = column % taps;
            let y = top + tap / comptime!(form.kernel);
            let x = side + tap % comptime!(form.kernel);
            let mut value = 0.0f32;
            if inside
                && column < places.columns
                && y >= padding
                && y < beyond
                && x >= padding
                && x < beyond
            {
                let map = right_at + column / taps * right_pixels;
                value = right[map + (y - padding) * comptime!(form.right) + x - padding];
            }
            right_next[i] = value;
        }
        // The last product has been read.
        sync_cube();
        #[unroll]
        for i in 0..left_loads {
            let row = outer + comptime!(i * (THREADS / depth));
            left_tile[inner * left_pitch + row] = E::cast_from(left_next[i]);
        }
        #[unroll]
        for i in 0..right_loads {
            let column = outer + comptime!(i * (THREADS / depth));
            right_tile[inner * right_pitch + column] = E::cast_from(right_next[i]);
        }
        sync_cube();
        tile::multiply::<E>(&left_tile, &right_tile, &mut sums, tile);
        at += depth;
    }
    tile::finish(&mut sums, tile);

    let to_at = places.to_at + group * places.to_group + part * places.to_part;
    let apart = comptime!([tile.row_threads(), tile.column_threads()]);
    #[unroll]
    for i in 0..4usize {
        let row = first_row + unit % comptime!(apart[0]) + comptime!(apart[0] * i);
        #[unroll]
        for j in 0..4usize {
            let column = first_column + unit / comptime!(apart[0]) + comptime!(apart[1] * j);
            if row < places.rows && column < places.columns {
                let value = sums.values[comptime!(4 * i + j)];
                to[to_at + row * places.columns + column] = value * factor;
            }
        }
    }
}

/// The sums of all parts, to the gradients of the groups.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn collect(
    sums: &Array<f32>,
    gradient: &mut Array<f32>,
    parts: usize,
    groups: usize,
    count: usize,
    at: usize,
    to_group: usize,
    factor: f32,
    #[comptime] _sources: u64,
) {
    let i = ABSOLUTE_POS;
    if i < groups * count {
        let mut sum = 0.0f32;
        for part in 0..parts {
            sum += sums[part * groups * count + i];
        }
        gradient[at + i / count * to_group + i % count] = sum * factor;
    }
}

/// To `gradient` from `at` on: the sum of each channel over the pixels of all images, times `factor`.
pub(super) fn bias_gradient<R: Runtime>(
    client: &ComputeClient<R>,
    maps: Maps<'_>,
    pixels: usize,
    images: usize,
    gradient: &Values,
    at: usize,
    factor: f32,
) {
    // SAFETY: the maps have as many images, channels and pixels.
    unsafe {
        sum_channels::launch_unchecked::<R>(
            client,
            CubeCount::Static(maps.channels as u32, 1, 1),
            CubeDim::new_1d(THREADS as u32),
            maps.values.argument(),
            gradient.argument(),
            maps.at,
            maps.stride,
            pixels,
            images,
            at,
            factor,
            crate::SOURCES,
        );
    }
}

#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn sum_channels(
    maps: &Array<f32>,
    gradient: &mut Array<f32>,
    at: usize,
    stride: usize,
    pixels: usize,
    images: usize,
    to: usize,
    factor: f32,
    #[comptime] _sources: u64,
) {
    let channel = CUBE_POS_X as usize;
    let mut sum = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < images * pixels {
        sum += maps[at + i / pixels * stride + channel * pixels + i % pixels];
        i += THREADS;
    }
    let total = over_cube(sum);
    if UNIT_POS == 0 {
        gradient[to + channel] = total * factor;
    }
}
