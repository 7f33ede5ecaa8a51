//! The transposed convolution that doubles an image, as a convolution of stride 1.
//!
//! Pixel `(2 r + a, 2 c + b)` of a transposed convolution 4x4 of stride 2 and padding 1 sees only
//! the 3x3 neighbourhood of input pixel `(r, c)`, through two of the four rows and columns of the
//! kernel. So it is a 3x3 convolution with four output channels `(a, b)` for each channel, followed
//! by depth to space. Five of nine weights are zero: 2.25 times the operations, but of a layer with
//! few channels.

use rayon::prelude::*;

use super::conv::{Conv2d, ConvShape, Epilogue, Input};

/// A transposed convolution with kernel 4, stride 2 and padding 1, and its input gradient.
#[derive(Clone, Debug)]
pub struct Upsample {
    forward: Conv2d,
    backward: Conv2d,
}

/// Row or column `k` of the kernel, by phase `a` and neighbour: `2 r + a = 2 (r + d - 1) - 1 + k`.
const KERNEL: [[Option<usize>; 3]; 2] = [[Some(3), Some(1), None], [None, Some(2), Some(0)]];

impl Upsample {
    /// As PyTorch's `conv_transpose2d(x, weight, bias, stride=2, padding=1)`.
    ///
    /// - `weight`: `[input_channels, output_channels, 4, 4]`
    /// - `bias`: `[output_channels]`
    ///
    /// # Panics
    ///
    /// If a length does not fit, or there are no channels.
    pub fn new(
        weight: &[f32],
        bias: Option<&[f32]>,
        input_channels: usize,
        output_channels: usize,
    ) -> Self {
        assert_eq!(
            weight.len(),
            input_channels * output_channels * 16,
            "upsample: length of the weights"
        );
        let shape = ConvShape {
            input_channels,
            output_channels: 4 * output_channels,
            kernel: 3,
            padding: 1,
        };
        let mut spread = Vec::with_capacity(shape.output_channels * input_channels * 9);
        for o in 0..output_channels {
            for (rows, columns) in PHASES.map(|(a, b)| (KERNEL[a], KERNEL[b])) {
                for i in 0..input_channels {
                    for row in rows {
                        spread.extend(columns.map(|column| match (row, column) {
                            (Some(y), Some(x)) => {
                                weight[((i * output_channels + o) * 4 + y) * 4 + x]
                            }
                            _ => 0.0,
                        }));
                    }
                }
            }
        }
        let bias: Option<Vec<f32>> = bias.map(|b| b.iter().flat_map(|&b| [b; 4]).collect());
        Self {
            forward: Conv2d::new(&spread, bias.as_deref(), shape),
            backward: Conv2d::input_gradient(&spread, shape),
        }
    }

    /// Writes `[batch, output_channels, 2 height, 2 width]`.
    ///
    /// # Panics
    ///
    /// If the length of a slice does not fit.
    pub fn run(&self, input: Input<'_>, output: &mut [f32]) {
        let channels = self.forward.shape().output_channels;
        let mut deep = vec![0.0; input.batch * channels * input.height * input.width];
        self.forward.run(input, Epilogue::none(), &mut deep);
        depth_to_space(&deep, [input.height, input.width], output);
    }

    /// The gradient in the input from that in the output, `grad`: `[batch, output_channels, 2 height,
    /// 2 width]`; writes `[batch, input_channels, height, width]`; `dims` is `[batch, height, width]`
    /// of the input.
    ///
    /// # Panics
    ///
    /// If the length of a slice does not fit.
    pub fn input_gradient(
        &self,
        grad: &[f32],
        dims: [usize; 3],
        epilogue: Epilogue<'_>,
        output: &mut [f32],
    ) {
        let mut deep = vec![0.0; grad.len()];
        space_to_depth(grad, [dims[1], dims[2]], &mut deep);
        self.backward.run(Input::new(&deep, dims), epilogue, output);
    }

    /// The gradient in the weights, `[input_channels, output_channels, 4, 4]`, and the bias,
    /// `[output_channels]`, from what `run` read and the gradient in its output.
    ///
    /// # Panics
    ///
    /// If the length of a slice does not fit.
    pub fn weight_gradient(
        &self,
        input: Input<'_>,
        grad: &[f32],
        weight: &mut [f32],
        bias: Option<&mut [f32]>,
    ) {
        let shape = self.forward.shape();
        let (ci, co) = (shape.input_channels, shape.output_channels / 4);
        assert_eq!(
            weight.len(),
            ci * co * 16,
            "upsample: length of the weights"
        );
        let mut deep = vec![0.0; grad.len()];
        space_to_depth(grad, [input.height, input.width], &mut deep);
        let mut spread = vec![0.0; 4 * co * ci * 9];
        let mut spread_bias = vec![0.0; 4 * co];
        let dims = [input.batch, input.height, input.width];
        super::weight_gradient(
            shape,
            input,
            Input::new(&deep, dims),
            &mut spread,
            Some(&mut spread_bias),
        );
        for o in 0..co {
            for (phase, (a, b)) in PHASES.into_iter().enumerate() {
                for i in 0..ci {
                    for (dy, y) in KERNEL[a].into_iter().enumerate() {
                        for (dx, x) in KERNEL[b].into_iter().enumerate() {
                            if let (Some(y), Some(x)) = (y, x) {
                                weight[((i * co + o) * 4 + y) * 4 + x] =
                                    spread[(((o * 4 + phase) * ci + i) * 3 + dy) * 3 + dx];
                            }
                        }
                    }
                }
            }
        }
        if let Some(bias) = bias {
            assert_eq!(bias.len(), co, "upsample: length of the bias");
            for (b, phases) in bias.iter_mut().zip(spread_bias.chunks_exact(4)) {
                *b = phases.iter().sum();
            }
        }
    }
}

/// The phases `(a, b)` in the order of their channels.
const PHASES: [(usize, usize); 4] = [(0, 0), (0, 1), (1, 0), (1, 1)];

/// Four channels `[4, height, width]` become one `[2 height, 2 width]`: channel `2 a + b` gives the
/// pixels `(2 r + a, 2 c + b)`, as PyTorch's `pixel_shuffle(_, 2)`. `from` and `to` may hold any
/// number of such groups.
///
/// # Panics
///
/// If the lengths differ or are no multiple of four images.
pub fn depth_to_space(from: &[f32], [height, width]: [usize; 2], to: &mut [f32]) {
    let area = check(from, [height, width], to);
    to.par_chunks_mut(4 * area)
        .zip(from.par_chunks(4 * area))
        .for_each(|(to, from)| {
            for (phase, (a, b)) in PHASES.into_iter().enumerate() {
                let from = from[phase * area..][..area].chunks_exact(width);
                for (r, from) in from.enumerate() {
                    let to = &mut to[(2 * r + a) * 2 * width..][..2 * width];
                    for (to, &v) in to.iter_mut().skip(b).step_by(2).zip(from) {
                        *to = v;
                    }
                }
            }
        });
}

/// The inverse of [`depth_to_space`], with the same `height` and `width` (those of the deep form).
///
/// # Panics
///
/// As [`depth_to_space`].
pub fn space_to_depth(from: &[f32], [height, width]: [usize; 2], to: &mut [f32]) {
    let area = check(from, [height, width], to);
    to.par_chunks_mut(4 * area)
        .zip(from.par_chunks(4 * area))
        .for_each(|(to, from)| {
            for (phase, (a, b)) in PHASES.into_iter().enumerate() {
                let to = to[phase * area..][..area].chunks_exact_mut(width);
                for (r, to) in to.enumerate() {
                    let from = &from[(2 * r + a) * 2 * width..][..2 * width];
                    for (to, &v) in to.iter_mut().zip(from.iter().skip(b).step_by(2)) {
                        *to = v;
                    }
                }
            }
        });
}

fn check(from: &[f32], [height, width]: [usize; 2], to: &[f32]) -> usize {
    let area = height * width;
    assert!(area > 0, "depth to space: empty image");
    assert!(
        from.len() == to.len() && from.len().is_multiple_of(4 * area),
        "depth to space: lengths {} and {} for images of {height}x{width}",
        from.len(),
        to.len()
    );
    area
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::test_data::{close, values};

    /// Calls `f(input index, output index, weight index)` for every product of the layer.
    fn products([n, ci, co, h, w]: [usize; 5], mut f: impl FnMut(usize, usize, usize)) {
        for (b, i, o) in
            (0..n).flat_map(|b| (0..ci).flat_map(move |i| (0..co).map(move |o| (b, i, o))))
        {
            for (y, x) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
                for (ky, kx) in (0..4).flat_map(|y| (0..4).map(move |x| (y, x))) {
                    let (r, c) = ((2 * y + ky).wrapping_sub(1), (2 * x + kx).wrapping_sub(1));
                    if r < 2 * h && c < 2 * w {
                        f(
                            ((b * ci + i) * h + y) * w + x,
                            ((b * co + o) * 2 * h + r) * 2 * w + c,
                            ((i * co + o) * 4 + ky) * 4 + kx,
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn against_the_loop() {
        for dims @ [n, ci, co, h, w] in [[2, 64, 3, 16, 16], [3, 5, 2, 3, 4], [1, 1, 1, 1, 1]] {
            let (weight, bias) = (values(ci * co * 16, 1), values(co, 2));
            let (x, g) = (values(n * ci * h * w, 3), values(n * co * 4 * h * w, 4));
            let layer = Upsample::new(&weight, Some(&bias), ci, co);
            let input = Input::new(&x, [n, h, w]);

            let mut y = vec![0.0; g.len()];
            layer.run(input, &mut y);
            let area = 4 * h * w;
            let mut expected: Vec<f64> = (0..g.len())
                .map(|q| f64::from(bias[q / area % co]))
                .collect();
            let mut back = vec![0.0; x.len()];
            let mut learn = vec![0.0; weight.len()];
            products(dims, |i, o, k| {
                expected[o] += f64::from(x[i]) * f64::from(weight[k]);
                back[i] += f64::from(g[o]) * f64::from(weight[k]);
                learn[k] += f64::from(g[o]) * f64::from(x[i]);
            });
            close(&y, &expected, 1e-5, "forward");

            let mut found = vec![0.0; x.len()];
            layer.input_gradient(&g, [n, h, w], Epilogue::none(), &mut found);
            close(&found, &back, 1e-5, "input gradient");

            let (mut found, mut found_bias) = (vec![f32::NAN; weight.len()], vec![0.0; co]);
            layer.weight_gradient(input, &g, &mut found, Some(&mut found_bias));
            close(&found, &learn, 1e-5, "weight gradient");
            let sums: Vec<f64> = (0..co)
                .map(|o| {
                    (0..g.len())
                        .filter(|q| q / area % co == o)
                        .map(|q| f64::from(g[q]))
                        .sum()
                })
                .collect();
            close(&found_bias, &sums, 1e-5, "bias gradient");
        }
    }

    #[test]
    fn depth_and_space_are_inverse() {
        let x = values(3 * 4 * 5 * 7, 1);
        let (mut y, mut z) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        depth_to_space(&x, [5, 7], &mut y);
        space_to_depth(&y, [5, 7], &mut z);
        assert_eq!(x, z);
        // Pixel (2 r + 1, 2 c) of the first image is pixel (r, c) of channel 2.
        assert_eq!(y[(2 * 3 + 1) * 14 + 2 * 4], x[2 * 35 + 3 * 7 + 4]);
    }
}
