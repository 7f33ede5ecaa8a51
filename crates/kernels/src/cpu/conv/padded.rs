//! The zero-padded copy of an image that the kernel reads.

use super::{
    super::simd::{MAX_LANES, Simd, VECTORS},
    ConvShape,
};

/// Some rows of a padded image, once for every column of the kernel: plane `(channel, column)` is
/// the channel shifted left by `column` and cut to the width of the output. Then pixel `q` of the
/// output (rows joined) needs element `q + row * columns` of each plane, so a vector of pixels is
/// one load at any width, and no lane is lost at the end of a row.
pub(in crate::cpu) struct Padded<'a> {
    values: &'a mut [f32],
    /// The part of `values` behind the planes, for one padded channel.
    line: usize,
    /// From one plane to the next.
    pub(in crate::cpu) plane: usize,
    pub(super) planes: usize,
    /// Width of the output.
    pub(in crate::cpu) columns: usize,
    pub(in crate::cpu) kernel: usize,
    padding: usize,
    height: usize,
    width: usize,
    /// First padded row, and how many.
    start: usize,
    rows: usize,
}

impl<'a> Padded<'a> {
    /// Room in `scratch` for what output rows `start..start + rows` need of an image of
    /// `height` by `width`.
    pub(in crate::cpu) fn new(
        shape: &ConvShape,
        [height, width]: [usize; 2],
        [start, rows]: [usize; 2],
        scratch: &'a mut Vec<f32>,
    ) -> Self {
        let rows = rows + shape.kernel - 1;
        let columns = shape.output_size(width);
        let plane = plane_len(rows, columns);
        let planes = shape.input_channels * shape.kernel;
        // A tile may start at the last pixel and read whole vectors.
        let line = planes * plane + VECTORS * MAX_LANES;
        let len = line + rows * (width + 2 * shape.padding) + MAX_LANES;
        if scratch.len() < len + MAX_LANES {
            scratch.resize(len + MAX_LANES, 0.0);
        }
        let aligned = scratch.as_ptr().align_offset(64).min(MAX_LANES);
        Self {
            values: &mut scratch[aligned..aligned + len],
            line,
            plane,
            planes,
            columns,
            kernel: shape.kernel,
            padding: shape.padding,
            height,
            width,
            start,
            rows,
        }
    }

    /// Floats of the planes for `rows` rows of the output.
    pub(in crate::cpu) fn len(shape: &ConvShape, rows: usize, columns: usize) -> usize {
        shape.input_channels * shape.kernel * plane_len(rows + shape.kernel - 1, columns)
    }

    /// The planes from pixel `pixel` on.
    pub(in crate::cpu) fn from(&self, pixel: usize) -> &[f32] {
        &self.values[pixel..self.line]
    }

    /// Copies the image `[channels, height, width]`, times `slope`.
    ///
    /// # Safety
    /// The processor has the instructions of `S`.
    #[inline(always)]
    pub(in crate::cpu) unsafe fn fill<S: Simd>(&mut self, values: &[f32], slope: Option<&[f32]>) {
        let area = self.height * self.width;
        let stride = self.width + 2 * self.padding;
        let (planes, line) = self.values.split_at_mut(self.line);
        line.fill(0.0);
        // The rows that lie in the image; the others, and the margins, stay zero.
        let inside =
            self.start.max(self.padding)..(self.start + self.rows).min(self.padding + self.height);
        for (c, image) in values.chunks_exact(area.max(1)).enumerate() {
            for row in inside.clone() {
                let from = (row - self.padding) * self.width;
                let to = (row - self.start) * stride + self.padding;
                let line = &mut line[to..to + self.width];
                let image = &image[from..from + self.width];
                match slope {
                    None => {
                        for x in (0..self.width).step_by(S::LANES) {
                            // SAFETY: the caller promises the instructions.
                            let v = unsafe { S::load_slice(&image[x..]) };
                            v.store_slice(&mut line[x..]);
                        }
                    }
                    Some(slope) => {
                        let slope = &slope[c * area + from..][..self.width];
                        for x in (0..self.width).step_by(S::LANES) {
                            // SAFETY: as above.
                            let (v, s) =
                                unsafe { (S::load_slice(&image[x..]), S::load_slice(&slope[x..])) };
                            v.mul(s).store_slice(&mut line[x..]);
                        }
                    }
                }
            }
            for column in 0..self.kernel {
                let plane = &mut planes[(c * self.kernel + column) * self.plane..];
                for row in 0..self.rows {
                    for x in (0..self.columns).step_by(S::LANES) {
                        // Whole vectors: what is written past a row or a plane is written again
                        // with the next, and the last plane has room behind it.
                        let from = &line[row * stride + column + x..][..S::LANES];
                        let to = &mut plane[row * self.columns + x..][..S::LANES];
                        // SAFETY: as above, and the slices have `LANES` values.
                        unsafe { S::load(from.as_ptr()).store(to.as_mut_ptr()) };
                    }
                }
            }
        }
    }
}

/// An odd number of cache lines: planes a multiple of 4 KiB apart would share few sets of the cache.
fn plane_len(rows: usize, columns: usize) -> usize {
    ((rows * columns).div_ceil(16) | 1) * 16
}
