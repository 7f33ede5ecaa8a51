//! The gradient of a convolution in its weights and bias.
//!
//! `dW[o, i, y, x] = sum over images and pixels q of grad[o, q] * input[i, q shifted by (y, x)]`: a
//! matrix product over pixels. Vectors run over output channels of a transposed copy of `grad`;
//! the shifted input comes from the same padded planes as in the convolution, one value at a time.

use rayon::prelude::*;

use super::{
    conv::{ConvShape, Input, Padded},
    simd::{Isa, Job, Simd},
};

/// Writes the gradient of `Conv2d::new(weight, bias, shape)` in `weight` and `bias`, summed over
/// the batch. For a transposed convolution exchange the two: `shape` with its channels exchanged,
/// the output's gradient as `input`, the input as `grad` (without `bias`).
///
/// - `input`: `[batch, input_channels, height, width]`, what the convolution read
/// - `grad`: the gradient in its output, `[batch, output_channels, rows, columns]`, of the size
///   that `shape` gives for `input`, with its own optional slope
/// - `weight`: `[output_channels, input_channels, kernel, kernel]`
/// - `bias`: `[output_channels]`
///
/// The result has the same bits whatever the number of threads.
///
/// # Panics
///
/// If the length of a slice does not fit, or the kernel is larger than the padded image.
pub fn weight_gradient(
    shape: ConvShape,
    input: Input<'_>,
    grad: Input<'_>,
    weight: &mut [f32],
    bias: Option<&mut [f32]>,
) {
    on(Isa::best(), shape, input, grad, weight, bias);
}

pub(super) fn on(
    isa: Isa,
    shape: ConvShape,
    input: Input<'_>,
    grad: Input<'_>,
    weight: &mut [f32],
    bias: Option<&mut [f32]>,
) {
    let (ci, co) = (shape.input_channels, shape.output_channels);
    let taps = shape.kernel * shape.kernel;
    assert_eq!(
        [grad.batch, grad.height, grad.width],
        [
            input.batch,
            shape.output_size(input.height),
            shape.output_size(input.width)
        ],
        "weight gradient: batch, height and width of the gradient"
    );
    input.check(ci);
    grad.check(co);
    assert_eq!(
        weight.len(),
        ci * co * taps,
        "weight gradient: length of the weights"
    );

    let transposed = Transposed::new(grad, co, co.next_multiple_of(isa.lanes()));
    if let Some(bias) = bias {
        assert_eq!(bias.len(), co, "weight gradient: length of the bias");
        transposed.sum_pixels(bias);
    }
    // Few channels to a task: its planes stay in the first-level cache.
    let group = (ci / (4 * rayon::current_num_threads())).clamp(1, 4);
    let parts: Vec<Vec<f32>> = (0..ci.div_ceil(group))
        .into_par_iter()
        .with_max_len(1)
        .map(|t| {
            isa.run(Part {
                shape: ConvShape {
                    input_channels: group.min(ci - t * group),
                    ..shape
                },
                first: t * group,
                input,
                grad: &transposed,
            })
        })
        .collect();
    // From [input channel, column, row, output channel] to the order of the weights.
    let stride = transposed.stride;
    weight
        .par_chunks_mut(ci * taps)
        .enumerate()
        .for_each(|(o, weight)| {
            for (i, weight) in weight.chunks_exact_mut(taps).enumerate() {
                let part = &parts[i / group][i % group * taps * stride..];
                for (tap, w) in weight.iter_mut().enumerate() {
                    let (y, x) = (tap / shape.kernel, tap % shape.kernel);
                    *w = part[(x * shape.kernel + y) * stride + o];
                }
            }
        });
}

/// A gradient `[batch, channels, pixels]`, times its slope, as `[batch, pixels, stride]`; the
/// channels past the last are zero.
struct Transposed {
    values: Vec<f32>,
    stride: usize,
    pixels: usize,
}

impl Transposed {
    fn new(grad: Input<'_>, channels: usize, stride: usize) -> Self {
        let pixels = grad.height * grad.width;
        let mut values = vec![0.0; grad.batch * pixels * stride];
        values
            .par_chunks_mut(pixels * stride)
            .enumerate()
            .for_each(|(image, to)| {
                let from = image * channels * pixels;
                // A few pixels at a time: the rows written stay in the cache.
                for start in (0..pixels).step_by(16) {
                    let end = pixels.min(start + 16);
                    for c in 0..channels {
                        let here = from + c * pixels + start..from + c * pixels + end;
                        let to = to[start * stride + c..].iter_mut().step_by(stride);
                        match grad.slope {
                            None => {
                                for (to, &g) in to.zip(&grad.values[here]) {
                                    *to = g;
                                }
                            }
                            Some(slope) => {
                                let products = grad.values[here.clone()].iter().zip(&slope[here]);
                                for (to, (&g, &s)) in to.zip(products) {
                                    *to = g * s;
                                }
                            }
                        }
                    }
                }
            });
        Self {
            values,
            stride,
            pixels,
        }
    }

    /// The sum over images and pixels of each channel.
    fn sum_pixels(&self, sums: &mut [f32]) {
        // In double precision: there are many, and they are read once.
        let mut wide = vec![0.0f64; sums.len()];
        for pixel in self.values.chunks_exact(self.stride) {
            for (sum, &v) in wide.iter_mut().zip(pixel) {
                *sum += f64::from(v);
            }
        }
        for (sum, wide) in sums.iter_mut().zip(wide) {
            *sum = wide as f32;
        }
    }
}

/// The gradient for the input channels of `shape`, a few from `first` on.
struct Part<'a> {
    shape: ConvShape,
    first: usize,
    input: Input<'a>,
    grad: &'a Transposed,
}

impl Job for Part<'_> {
    /// `[input channel, column, row, stride]`
    type Output = Vec<f32>;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> Vec<f32> {
        let &Transposed {
            ref values,
            stride,
            pixels,
        } = self.grad;
        let Input {
            batch,
            height,
            width,
            ..
        } = self.input;
        let channels = self.shape.input_channels;
        let area = height * width;
        let all = self.input.values.len() / batch.max(1);
        let taps = channels * self.shape.kernel * self.shape.kernel;
        let mut sums = vec![0.0; taps * stride];
        let mut scratch = Vec::new();
        let rows = [0, self.shape.output_size(height)];
        for image in 0..batch {
            let from = image * all + self.first * area;
            let mut padded = Padded::new(&self.shape, [height, width], rows, &mut scratch);
            let slope = self.input.slope.map(|s| &s[from..from + channels * area]);
            // SAFETY: the caller promises the instructions.
            unsafe { padded.fill::<S>(&self.input.values[from..from + channels * area], slope) };
            let grad = &values[image * pixels * stride..][..pixels * stride];
            let tile = Tile {
                padded: &padded,
                grad,
                stride,
                pixels,
                taps,
            };
            // SAFETY: as above.
            unsafe {
                match (S::CHANNELS >= 8, taps) {
                    (true, ..12) | (true, 25..28) => tile.all::<S, 9>(&mut sums),
                    (true, _) => tile.all::<S, 12>(&mut sums),
                    (false, _) => tile.all::<S, 5>(&mut sums),
                }
            }
        }
        sums
    }
}

struct Tile<'a> {
    padded: &'a Padded<'a>,
    grad: &'a [f32],
    stride: usize,
    pixels: usize,
    taps: usize,
}

impl Tile<'_> {
    /// Adds one image, `T` taps at a time.
    ///
    /// # Safety
    /// The processor has the instructions of `S`.
    #[inline(always)]
    unsafe fn all<S: Simd, const T: usize>(&self, sums: &mut [f32]) {
        for first in (0..self.taps).step_by(T) {
            let mut lane = 0;
            while lane < self.stride {
                // SAFETY: promised by the caller.
                unsafe {
                    if lane + 2 * S::LANES <= self.stride {
                        self.add::<S, T, 2>(first, lane, sums);
                        lane += 2 * S::LANES;
                    } else {
                        self.add::<S, T, 1>(first, lane, sums);
                        lane += S::LANES;
                    }
                }
            }
        }
    }

    /// Adds one image to the sums of taps `first..first + T` and `Z` vectors of channels.
    ///
    /// # Safety
    /// The processor has the instructions of `S`.
    #[inline(always)]
    #[expect(
        clippy::needless_range_loop,
        reason = "counted loops over constants unroll"
    )]
    unsafe fn add<S: Simd, const T: usize, const Z: usize>(
        &self,
        first: usize,
        lane: usize,
        sums: &mut [f32],
    ) {
        let (planes, kernel) = (self.padded.from(0), self.padded.kernel);
        assert!(lane + Z * S::LANES <= self.stride);
        assert!(self.grad.len() == self.pixels * self.stride);
        assert!(sums.len() == self.taps * self.stride);
        // Past the last tap the last is computed again and dropped.
        let mut taps = [planes.as_ptr(); T];
        for (t, tap) in taps.iter_mut().enumerate() {
            let t = (first + t).min(self.taps - 1);
            let start = t / kernel * self.padded.plane + t % kernel * self.padded.columns;
            *tap = planes[start..start + self.pixels].as_ptr();
        }
        // SAFETY: the caller promises the instructions; the asserts, and the slices of `pixels`
        // values above, are the bounds of the loops.
        unsafe {
            let mut sum = [[S::splat(0.0); Z]; T];
            let mut grad = self.grad.as_ptr().add(lane);
            for q in 0..self.pixels {
                let mut g = [S::splat(0.0); Z];
                for z in 0..Z {
                    g[z] = S::load(grad.add(z * S::LANES));
                }
                for t in 0..T {
                    let x = S::splat(*taps[t].add(q));
                    for z in 0..Z {
                        sum[t][z] = g[z].mul_add(x, sum[t][z]);
                    }
                }
                grad = grad.wrapping_add(self.stride);
            }
            for (t, sum) in sum.iter().enumerate().take(self.taps - first) {
                for (z, &sum) in sum.iter().enumerate() {
                    let to = &mut sums[(first + t) * self.stride + lane + z * S::LANES..];
                    S::load_slice(to).add(sum).store_slice(to);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::test_data::{Grid, close, values};

    #[test]
    #[expect(clippy::needless_range_loop, reason = "the loops are the definition")]
    fn against_the_loop() {
        for (ci, co, k, p, [n, h, w]) in [
            (64, 64, 3, 1, [1, 16, 16]),
            (16, 24, 5, 2, [3, 16, 16]),
            (8, 48, 5, 0, [2, 16, 16]),
            (4, 64, 5, 2, [2, 16, 16]),
            (6, 4, 5, 2, [2, 14, 14]),
            (3, 17, 3, 1, [3, 5, 7]),
            (2, 1, 1, 0, [1, 5, 5]),
            (5, 3, 4, 4, [2, 5, 5]),
            (5, 3, 4, 1, [0, 5, 5]),
        ] {
            let s = ConvShape {
                input_channels: ci,
                output_channels: co,
                kernel: k,
                padding: p,
            };
            let (oh, ow) = (s.output_size(h), s.output_size(w));
            let x = values(n * ci * h * w, 1);
            let (g, slope) = (values(n * co * oh * ow, 2), values(n * co * oh * ow, 3));
            let (xs, gs) = (Grid::new(&x, [n, ci, h, w]), Grid::new(&g, [n, co, oh, ow]));
            let slopes = Grid::new(&slope, [n, co, oh, ow]);
            let mut expected = Vec::new();
            let mut expected_bias = vec![0.0; co];
            for o in 0..co {
                for i in 0..ci {
                    for ky in 0..k {
                        for kx in 0..k {
                            let mut sum = 0.0;
                            for b in 0..n {
                                for r in 0..oh {
                                    for c in 0..ow {
                                        let (y, x) =
                                            ((r + ky).wrapping_sub(p), (c + kx).wrapping_sub(p));
                                        let g = gs.at([b, o, r, c]) * slopes.at([b, o, r, c]);
                                        sum += g * xs.at([b, i, y, x]);
                                        if i + ky + kx == 0 {
                                            expected_bias[o] += g;
                                        }
                                    }
                                }
                            }
                            expected.push(sum);
                        }
                    }
                }
            }
            for isa in Isa::available() {
                for threads in [1, 3] {
                    let pool = rayon::ThreadPoolBuilder::new()
                        .num_threads(threads)
                        .build()
                        .expect("pool");
                    let (mut weight, mut bias) = (vec![f32::NAN; expected.len()], vec![0.0; co]);
                    pool.install(|| {
                        let input = Input::new(&x, [n, h, w]);
                        let grad = Input::new(&g, [n, oh, ow]).times(&slope);
                        on(isa, s, input, grad, &mut weight, Some(&mut bias));
                    });
                    close(&weight, &expected, 1e-5, &format!("{isa:?} {s:?}"));
                    close(&bias, &expected_bias, 1e-5, &format!("{isa:?} {s:?} bias"));
                }
            }
        }
    }

    #[test]
    fn same_bits_on_any_number_of_threads() {
        let s = ConvShape {
            input_channels: 13,
            output_channels: 20,
            kernel: 3,
            padding: 1,
        };
        let (x, g) = (values(2 * 13 * 99, 1), values(2 * 20 * 99, 2));
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .expect("pool");
            let mut weight = vec![0.0; 13 * 20 * 9];
            let (x, g) = (Input::new(&x, [2, 9, 11]), Input::new(&g, [2, 9, 11]));
            pool.install(|| weight_gradient(s, x, g, &mut weight, None));
            weight
        };
        for threads in [2, 5] {
            assert_eq!(on(threads), on(1));
        }
    }
}
