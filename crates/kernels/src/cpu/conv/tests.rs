//! Against plain loops in double precision.

use super::*;
use crate::cpu::{
    gelu_with_slope,
    test_data::{Grid, close, values},
};

fn shape(ci: usize, co: usize, kernel: usize, padding: usize) -> ConvShape {
    ConvShape {
        input_channels: ci,
        output_channels: co,
        kernel,
        padding,
    }
}

/// `[batch, co, oh, ow]` from `[batch, ci, h, w]` and `[co, ci, k, k]`.
fn naive(
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    s: ConvShape,
    [n, h, wd]: [usize; 3],
) -> Vec<f64> {
    let (ci, co, k, p) = (s.input_channels, s.output_channels, s.kernel, s.padding);
    let (x, w) = (Grid::new(x, [n, ci, h, wd]), Grid::new(w, [co, ci, k, k]));
    let mut y = Vec::new();
    for b in 0..n {
        for o in 0..co {
            for r in 0..s.output_size(h) {
                for c in 0..s.output_size(wd) {
                    let mut sum = bias.map_or(0.0, |v| f64::from(v[o]));
                    for i in 0..ci {
                        for ky in 0..k {
                            for kx in 0..k {
                                let (yy, xx) = ((r + ky).wrapping_sub(p), (c + kx).wrapping_sub(p));
                                sum += x.at([b, i, yy, xx]) * w.at([o, i, ky, kx]);
                            }
                        }
                    }
                    y.push(sum);
                }
            }
        }
    }
    y
}

/// `(shape, [batch, height, width])`: those of the generator, with fewer images, and odd ones.
fn cases() -> Vec<(ConvShape, [usize; 3])> {
    let mut all = vec![
        (shape(64, 64, 5, 2), [1, 16, 16]),
        (shape(64, 64, 3, 1), [1, 16, 16]),
        (shape(64, 96, 5, 0), [1, 16, 16]),
        (shape(128, 64, 5, 4), [1, 12, 12]),
        (shape(4, 64, 5, 2), [2, 16, 16]),
        (shape(64, 4, 5, 2), [2, 16, 16]),
        (shape(24, 24, 3, 1), [2, 14, 14]),
        (shape(16, 12, 5, 2), [1, 28, 28]),
        (shape(3, 5, 5, 2), [1, 32, 32]),
        (shape(2, 9, 3, 1), [1, 64, 64]),
        (shape(5, 17, 3, 0), [3, 7, 4]),
        (shape(1, 1, 3, 1), [1, 1, 1]),
        (shape(2, 3, 5, 2), [0, 5, 5]),
    ];
    for kernel in [1, 3, 4, 5] {
        for padding in 0..=4 {
            for (n, co) in [(1, 3), (3, 17), (3, 1)] {
                all.push((shape(3, co, kernel, padding), [n, 5, 5]));
            }
        }
    }
    all
}

fn weight(s: ConvShape) -> Vec<f32> {
    values(s.weight_len(), 1)
}

#[test]
fn every_instruction_set_agrees_with_the_loop() {
    for (s, dims @ [n, h, w]) in cases() {
        let x = values(n * s.input_channels * h * w, 2);
        let (weight, bias) = (weight(s), values(s.output_channels, 3));
        let expected = naive(&x, &weight, Some(&bias), s, dims);
        for isa in Isa::available() {
            let conv = Conv2d::plain(&weight, Some(&bias), s, isa);
            let mut y = vec![f32::NAN; expected.len()];
            conv.run(Input::new(&x, dims), Epilogue::none(), &mut y);
            close(&y, &expected, 1e-5, &format!("{isa:?} {s:?} {dims:?}"));
        }
    }
}

#[test]
fn input_gradient_is_the_adjoint() {
    for (s, dims @ [n, h, w]) in cases() {
        if s.padding >= s.kernel {
            continue;
        }
        let out = [n, s.output_size(h), s.output_size(w)];
        let x = values(n * s.input_channels * h * w, 2);
        let g = values(n * s.output_channels * out[1] * out[2], 3);
        let weight = weight(s);
        let (mut y, mut back) = (vec![0.0; g.len()], vec![0.0; x.len()]);
        Conv2d::new(&weight, None, s).run(Input::new(&x, dims), Epilogue::none(), &mut y);
        Conv2d::input_gradient(&weight, s).run(Input::new(&g, out), Epilogue::none(), &mut back);
        let dot = |a: &[f32], b: &[f32]| -> (f64, f64) {
            let terms = || a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
            (terms().sum(), terms().map(|v| v * v).sum::<f64>().sqrt())
        };
        let ((forward, scale), (backward, _)) = (dot(&y, &g), dot(&x, &back));
        assert!(
            (forward - backward).abs() <= 1e-5 * scale,
            "{s:?} {dims:?}: {forward} and {backward}"
        );
    }
}

#[test]
fn transposed_is_the_input_gradient_of_the_exchanged_convolution() {
    let s = shape(4, 7, 5, 2);
    let (dims, weight) = ([2, 9, 6], weight(s));
    let x = values(2 * 4 * 9 * 6, 2);
    let bias = values(7, 3);
    // A convolution from 7 to 4 channels has weights [4, 7, k, k], those of the transposed one.
    let exchanged = shape(7, 4, 5, 2);
    let (mut y, mut expected) = (vec![0.0; 2 * 7 * 9 * 6], vec![0.0; 2 * 7 * 9 * 6]);
    Conv2d::transposed(&weight, Some(&bias), s).run(Input::new(&x, dims), Epilogue::none(), &mut y);
    let plane: Vec<f32> = (0..y.len()).map(|i| bias[i / 54 % 7]).collect();
    Conv2d::input_gradient(&weight, exchanged).run(
        Input::new(&x, dims),
        Epilogue::none().plus(&[&plane]),
        &mut expected,
    );
    close(
        &y,
        &expected.iter().map(|&v| f64::from(v)).collect::<Vec<_>>(),
        1e-6,
        "transposed",
    );

    // Its gradient is the plain convolution with the same weights.
    let g = y;
    let mut back = vec![0.0; x.len()];
    Conv2d::transposed_input_gradient(&weight, s).run(
        Input::new(&g, dims),
        Epilogue::none(),
        &mut back,
    );
    close(
        &back,
        &naive(&g, &weight, None, exchanged, dims),
        1e-5,
        "gradient of transposed",
    );
}

#[test]
fn prologue_and_epilogue_are_the_separate_passes() {
    for isa in Isa::available() {
        for (s, dims) in [
            (shape(6, 9, 3, 1), [2, 7, 9]),
            (shape(8, 16, 5, 2), [1, 16, 16]),
        ] {
            let [n, h, w] = dims;
            let x = values(n * s.input_channels * h * w, 2);
            let slope = values(x.len(), 3);
            let conv = Conv2d::plain(&weight(s), None, s, isa);
            let len = n * s.output_channels * h * w;
            let (a, b) = (values(len, 4), values(len, 5));

            let product: Vec<f32> = x.iter().zip(&slope).map(|(x, s)| x * s).collect();
            let mut plain = vec![0.0; len];
            conv.run(Input::new(&product, dims), Epilogue::none(), &mut plain);
            let mut y = vec![0.0; len];
            conv.run(Input::new(&x, dims).times(&slope), Epilogue::none(), &mut y);
            assert_eq!(y, plain);

            let (mut expected, mut expected_slope) = (vec![0.0; len], vec![0.0; len]);
            gelu_with_slope(&plain, &mut expected, &mut expected_slope);
            let expected: Vec<f64> = (0..len)
                .map(|i| f64::from(expected[i]) + f64::from(a[i]) + f64::from(b[i]))
                .collect();
            let mut out_slope = vec![0.0; len];
            let input = Input::new(&x, dims).times(&slope);
            conv.run(
                input,
                Epilogue::gelu_with_slope(&mut out_slope).plus(&[&a, &b]),
                &mut y,
            );
            close(&y, &expected, 1e-6, "value");
            let expected_slope: Vec<f64> = expected_slope.iter().map(|&v| f64::from(v)).collect();
            close(&out_slope, &expected_slope, 1e-6, "slope");

            let with_slope = y.clone();
            conv.run(input, Epilogue::gelu().plus(&[&a, &b]), &mut y);
            assert_eq!(y, with_slope);
        }
    }
}

#[test]
fn same_bits_on_any_number_of_threads() {
    for (s, dims) in [
        (shape(16, 20, 5, 2), [1, 16, 16]),
        (shape(7, 24, 3, 1), [3, 33, 13]),
    ] {
        let [n, h, w] = dims;
        let x = values(n * s.input_channels * h * w, 2);
        let conv = Conv2d::new(&weight(s), None, s);
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .expect("pool");
            let mut y = vec![0.0; n * s.output_channels * h * w];
            pool.install(|| conv.run(Input::new(&x, dims), Epilogue::gelu(), &mut y));
            y
        };
        let one = on(1);
        for threads in [2, 3, 7, 64] {
            assert_eq!(on(threads), one, "{threads} threads");
        }
    }
}

#[test]
fn a_diverged_chain_is_seen() {
    let s = shape(3, 9, 3, 1);
    let mut x = values(3 * 8 * 8, 2);
    x[70] = f32::NAN;
    let mut y = vec![0.0; 9 * 8 * 8];
    Conv2d::new(&weight(s), None, s).run(Input::new(&x, [1, 8, 8]), Epilogue::gelu(), &mut y);
    assert!(y.iter().filter(|v| v.is_nan()).count() == 9 * 6);
}

#[test]
#[should_panic(expected = "length of the input")]
fn wrong_input_length() {
    let s = shape(1, 1, 3, 1);
    Conv2d::new(&[0.0; 9], None, s).run(
        Input::new(&[0.0; 9], [1, 4, 4]),
        Epilogue::none(),
        &mut [],
    );
}
