//! On a CUDA GPU: products, convolutions and sums of tensors against float64 references on random
//! data, twice and bit by bit, and how fast they are at the sizes of the step-size objective.
//!
//! ```sh
//! cargo run --release -p shortrun-kernels --features cuda --example tensor_check
//! ```
#![allow(clippy::print_stdout)]

use std::time::Instant;

use cubecl::{
    cuda::{CudaDevice, CudaRuntime},
    prelude::*,
    server::Handle,
};
use shortrun_kernels::{
    AdamStep, AdamTensor, adam,
    cuda::tensors::{
        Convolution, Correlation, Form, Matrices, column_products, combine, convolve, correlate,
        gelu_bends, gelu_with_slope, multiply,
    },
    gradient_sums,
};

type Client = ComputeClient<CudaRuntime>;

/// Of the largest value: two bf16 parts hold a float32 to 2^-17.
const TOLERANCE: f64 = 2e-5;

/// Uniform in [-1, 1]: the high bits of a 64-bit congruential generator.
struct Rng(u64);

impl Rng {
    fn values(&mut self, count: usize) -> Vec<f32> {
        let mut next = || {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (self.0 >> 40) as f32 / (1u32 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }
}

/// Of the standard normal.
fn density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

fn upload(client: &Client, values: &[f32]) -> Handle {
    client.create_from_slice(bytemuck::cast_slice(values))
}

fn read(client: &Client, handle: Handle) -> Vec<f32> {
    bytemuck::cast_slice::<u8, f32>(&client.read_one_unchecked(handle)).to_vec()
}

struct Checks {
    client: Client,
    failed: usize,
}

impl Checks {
    /// Whether what `run` makes twice is the reference.
    fn check(&mut self, name: &str, expected: &[f64], run: impl Fn() -> Option<Handle>) {
        let (Some(first), Some(second)) = (run(), run()) else {
            println!("FAILED {name}: the kernel does not know it");
            self.failed += 1;
            return;
        };
        let [found, again] = [first, second].map(|handle| read(&self.client, handle));
        let scale = expected.iter().fold(0.0f64, |a, b| a.max(b.abs()));
        let errors = found.iter().zip(expected);
        let error = errors.fold(0.0f64, |worst, (found, expected)| {
            // Also where the result is not a number.
            match (f64::from(*found) - expected).abs() / scale {
                error if error <= worst => worst,
                error => error,
            }
        });
        let same = found
            .iter()
            .zip(&again)
            .all(|(a, b)| a.to_bits() == b.to_bits());
        let good = error <= TOLERANCE && same && found.len() == expected.len();
        println!(
            "{} {name}: error {error:.1e}{}",
            if good { "ok    " } else { "FAILED" },
            if same { "" } else { ", twice not the same" }
        );
        self.failed += usize::from(!good);
    }

    fn products(&mut self, rng: &mut Rng) {
        let shapes = [
            ([2, 70, 100, 36], false, false),
            ([1, 416, 1000, 416], false, true),
            ([3, 65, 33, 129], true, false),
            ([2, 64, 64, 64], true, true),
            ([2, 5, 9216, 64], false, false),
        ];
        for ([n, rows, inner, columns], a_turned, b_turned) in shapes {
            let a = rng.values(n * rows * inner);
            // One right operand for all.
            let b = rng.values(inner * columns);
            let strides = |[rows, columns]: [usize; 2], turned| {
                if turned {
                    [rows * columns, 1, rows]
                } else {
                    [rows * columns, columns, 1]
                }
            };
            let (to_a, to_b) = (
                strides([rows, inner], a_turned),
                strides([inner, columns], b_turned),
            );
            let mut expected = Vec::with_capacity(n * rows * columns);
            for i in 0..n {
                for row in 0..rows {
                    for column in 0..columns {
                        let terms = (0..inner).map(|k| {
                            let left = a[i * to_a[0] + row * to_a[1] + k * to_a[2]];
                            f64::from(left) * f64::from(b[k * to_b[1] + column * to_b[2]])
                        });
                        expected.push(terms.sum::<f64>());
                    }
                }
            }
            let a = Matrices {
                handle: upload(&self.client, &a),
                shape: [n, rows, inner],
                strides: to_a,
            };
            let b = Matrices {
                handle: upload(&self.client, &b),
                shape: [1, inner, columns],
                strides: to_b,
            };
            let client = self.client.clone();
            let name = format!("product {n} x {rows} x {inner} x {columns} {a_turned} {b_turned}");
            self.check(&name, &expected, || multiply(&client, &a, &b));
        }
    }

    fn sums(&mut self, rng: &mut Rng) {
        let [n, rows, units] = [2, 23, 300];
        let [a, b] = [(); 2].map(|()| rng.values(n * rows * units));
        let expected: Vec<f64> = (0..n * units)
            .map(|i| {
                let terms = (0..rows).map(|row| {
                    let at = (i / units * rows + row) * units + i % units;
                    f64::from(a[at]) * f64::from(b[at])
                });
                terms.sum()
            })
            .collect();
        let client = self.client.clone();
        let [a, b] = [a, b].map(|values| upload(&client, &values));
        self.check("sums of products", &expected, || {
            Some(column_products(
                &client,
                a.clone(),
                b.clone(),
                [n, rows, units],
            ))
        });
    }

    fn elementwise(&mut self, rng: &mut Rng) {
        let x: Vec<f32> = rng.values(1000).iter().map(|x| 4.0 * x).collect();
        let of = |f: fn(f64) -> f64| -> Vec<f64> { x.iter().map(|x| f(f64::from(*x))).collect() };
        let client = self.client.clone();
        let at = upload(&client, &x);
        let gelu = of(|x| x * 0.5 * (1.0 + libm::erf(x / 2f64.sqrt())));
        let slope = of(|x| 0.5 * (1.0 + libm::erf(x / 2f64.sqrt())) + x * density(x));
        let second = of(|x| density(x) * (2.0 - x * x));
        let third = of(|x| density(x) * (x.powi(3) - 4.0 * x));
        let count = x.len();
        for (name, expected, which) in [("GELU", gelu, 0), ("its slope", slope, 1)] {
            self.check(name, &expected, || {
                Some(gelu_with_slope(&client, at.clone(), count)[which].clone())
            });
        }
        for (name, expected, which) in [
            ("its second derivative", second, 0),
            ("its third", third, 1),
        ] {
            self.check(name, &expected, || {
                Some(gelu_bends(&client, at.clone(), count)[which].clone())
            });
        }
        let [n, m, units] = [2, 3, 36];
        let [a, b] = [(); 2].map(|()| rng.values(n * m * units));
        let [by_a, by_b] = [(); 2].map(|()| rng.values(n * units));
        for both in [false, true] {
            let expected: Vec<f64> = (0..n * m * units)
                .map(|i| {
                    let own = i / (m * units) * units + i % units;
                    let part = |rows: &[f32], by: &[f32]| f64::from(rows[i]) * f64::from(by[own]);
                    part(&a, &by_a) + if both { part(&b, &by_b) } else { 0.0 }
                })
                .collect();
            let up = |values: &[f32]| upload(&client, values);
            let (a, b) = ([up(&a), up(&by_a)], [up(&b), up(&by_b)]);
            self.check("rows times factors", &expected, || {
                combine(&client, [n, m, units], a.clone(), both.then(|| b.clone()))
            });
        }
    }

    /// Adam of more tensors than a launch takes, every third of which had no update before.
    fn updates(&mut self, rng: &mut Rng) {
        let step = AdamStep {
            rate: 3e-3,
            beta1: 0.5,
            beta2: 0.999,
            epsilon: 1e-4,
        };
        let [beta1, beta2] = [step.beta1, step.beta2].map(f64::from);
        let client = self.client.clone();
        let counts: Vec<usize> = (0..75)
            .map(|i| [1, 1_000, 129, 70_001][i % 4] + i)
            .collect();
        let mut tensors = Vec::new();
        let mut expected = [(); 4].map(|()| Vec::new());
        for (number, count) in counts.iter().enumerate() {
            let [weights, gradient, m, v] = [(); 4].map(|()| rng.values(*count));
            let v: Vec<f32> = v.iter().map(|v| v.abs()).collect();
            let with_moments = number % 3 > 0;
            let before = f64::from(u8::from(with_moments));
            for i in 0..*count {
                let g = f64::from(gradient[i]);
                let mean = before * beta1 * f64::from(m[i]) + (1.0 - beta1) * g;
                let square = before * beta2 * f64::from(v[i]) + (1.0 - beta2) * g * g;
                let moved = f64::from(step.rate) * mean / (square.sqrt() + f64::from(step.epsilon));
                let values = [f64::from(weights[i]) - moved, mean, square, -moved];
                for (list, value) in expected.iter_mut().zip(values) {
                    list.push(value);
                }
            }
            tensors.push((weights, gradient, with_moments.then_some([m, v]), *count));
        }
        // Weights of 0 keep the digits of what they are moved by.
        let all = |which: usize, from_0: bool| {
            let tensors: Vec<AdamTensor> = tensors
                .iter()
                .map(|(weights, gradient, moments, count)| AdamTensor {
                    weights: if from_0 {
                        upload(&client, &vec![0.0; *count])
                    } else {
                        upload(&client, weights)
                    },
                    gradient: upload(&client, gradient),
                    moments: moments
                        .as_ref()
                        .map(|[m, v]| [upload(&client, m), upload(&client, v)]),
                    count: *count,
                })
                .collect();
            let made = adam(&client, &tensors, step);
            let values = made
                .iter()
                .flat_map(|made| read(&client, made[which].clone()));
            Some(upload(&client, &values.collect::<Vec<_>>()))
        };
        for (name, which, from_0, expected) in [
            ("weights", 0, false, &expected[0]),
            ("first moment", 1, false, &expected[1]),
            ("second moment", 2, false, &expected[2]),
            ("the move", 0, true, &expected[3]),
        ] {
            self.check(&format!("Adam of 75 tensors: {name}"), expected, || {
                all(which, from_0)
            });
        }
    }

    /// Sums that tell whether a gradient is finite.
    fn finite(&mut self, rng: &mut Rng) {
        // More than a launch takes.
        let mut gradients: Vec<Vec<f32>> = (0..75)
            .map(|i| rng.values([1, 1_000, 100_000][i % 3]))
            .collect();
        let sums = |client: &Client, gradients: &[Vec<f32>]| {
            let handles = gradients.iter().map(|g| (upload(client, g), g.len()));
            gradient_sums(client, &handles.collect::<Vec<_>>())
        };
        let mut good = true;
        for ([sum, squares], gradient) in sums(&self.client, &gradients).iter().zip(&gradients) {
            let all = || gradient.iter().map(|g| f64::from(*g));
            let size: f64 = all().map(f64::abs).sum();
            let wanted: f64 = all().map(|g| g * g).sum();
            good &= (sum - all().sum::<f64>()).abs() < TOLERANCE * size;
            good &= (squares - wanted).abs() < TOLERANCE * wanted;
        }
        for bad in [f32::NAN, f32::INFINITY] {
            if let Some(last) = gradients[1].last_mut() {
                *last = bad;
            }
            let found = sums(&self.client, &gradients);
            let finite: Vec<bool> = found.iter().map(|of| of[1].is_finite()).collect();
            good &= finite
                .iter()
                .enumerate()
                .all(|(i, finite)| *finite != (i == 1));
        }
        let said = if good { "ok    " } else { "FAILED" };
        println!("{said} sums of gradients, and of one that is not finite");
        self.failed += usize::from(!good);
    }

    /// Gradients of convolutions' weights.
    fn correlations(&mut self, rng: &mut Rng) {
        let of =
            |[rows, channels]: [usize; 2], places, size, kernel, stride, padding| Correlation {
                maps: 3,
                rows,
                channels,
                places: [places; 2],
                size: [size; 2],
                kernel,
                stride,
                padding,
            };
        for of in [
            of([24, 40], 16, 16, 5, 1, 2),
            of([70, 4], 14, 14, 3, 1, 1),
            of([16, 64], 12, 16, 5, 1, 0),
            of([64, 3], 16, 32, 4, 2, 1),
            of([20, 33], 32, 64, 4, 2, 1),
        ] {
            let ([h, w], [height, width], k) = (of.places, of.size, of.kernel);
            let a = rng.values(of.maps * of.rows * h * w);
            let x = rng.values(of.maps * of.channels * height * width);
            let mut expected = Vec::new();
            for place in 0..of.rows * of.channels * k * k {
                let (row, channel) = (place / (of.channels * k * k), place / (k * k) % of.channels);
                let (ky, kx) = (place / k % k, place % k);
                let mut sum = 0.0;
                for map in 0..of.maps {
                    for p in 0..h * w {
                        let at = |p: usize, tap: usize, size: usize| {
                            let at = (of.stride * p + tap).checked_sub(of.padding);
                            at.filter(|at| *at < size)
                        };
                        let met = (at(p / w, ky, height), at(p % w, kx, width));
                        if let (Some(y), Some(x_at)) = met {
                            let from = (map * of.channels + channel) * height + y;
                            let left = a[(map * of.rows + row) * h * w + p];
                            sum += f64::from(left) * f64::from(x[from * width + x_at]);
                        }
                    }
                }
                expected.push(sum);
            }
            let client = self.client.clone();
            let [a, x] = [a, x].map(|values| upload(&client, &values));
            let name = format!(
                "weights of {} by {} channels, {h} of {height} pixels, kernel {k}",
                of.rows, of.channels
            );
            self.check(&name, &expected, || {
                correlate(&client, a.clone(), x.clone(), &of)
            });
        }
    }

    fn convolutions(&mut self, rng: &mut Rng) {
        let plain = |maps, inputs, outputs, size, kernel, padding| Convolution {
            form: Form::Plain,
            maps,
            inputs,
            outputs,
            size,
            kernel,
            padding,
        };
        let grid = |form, inputs, outputs, size| Convolution {
            form,
            ..plain(3, inputs, outputs, size, 3, 1)
        };
        let cases = [
            plain(3, 64, 64, [16, 16], 5, 2),
            plain(2, 64, 64, [14, 14], 3, 1),
            plain(2, 64, 256, [16, 16], 5, 0),
            plain(2, 128, 64, [12, 12], 5, 4),
            plain(3, 4, 64, [16, 16], 5, 2),
            plain(3, 64, 4, [16, 16], 5, 2),
            plain(2, 24, 40, [16, 16], 5, 2),
            plain(2, 16, 64, [32, 32], 3, 1),
            grid(Form::Doubling, 64, 12, [16, 16]),
            grid(Form::Doubling, 64, 4, [14, 14]),
            grid(Form::Doubling, 64, 256, [16, 16]),
            grid(Form::Halving, 12, 64, [16, 16]),
            grid(Form::Halving, 4, 64, [14, 14]),
            grid(Form::Doubling, 64, 12, [32, 32]),
        ];
        for of in cases {
            let taps = if of.form == Form::Plain {
                of.kernel * of.kernel
            } else {
                4
            };
            let x = rng.values(of.maps * of.inputs * of.size[0] * of.size[1]);
            let w = rng.values(of.inputs * of.outputs * taps);
            let expected = reference(&of, &x, &w);
            let client = self.client.clone();
            let [x, w] = [x, w].map(|values| upload(&client, &values));
            let name = format!(
                "{:?} {} to {} channels, {} pixels, kernel {}",
                of.form, of.inputs, of.outputs, of.size[0], of.kernel
            );
            self.check(&name, &expected, || {
                convolve(&client, x.clone(), w.clone(), &of)
            });
        }
    }
}

/// Each input value to the outputs that it reaches.
fn reference(of: &Convolution, x: &[f32], w: &[f32]) -> Vec<f64> {
    let [height, width] = of.size;
    let (fine, coarse) = (of.outputs / 4, of.inputs / 4);
    // Channels, height and width of what is read and made; stride of the finer grid.
    let (read, made) = match of.form {
        Form::Plain => {
            let made = of.size.map(|size| size + 2 * of.padding + 1 - of.kernel);
            ([of.inputs, height, width], [of.outputs, made[0], made[1]])
        }
        Form::Doubling => ([of.inputs, height, width], [fine, 2 * height, 2 * width]),
        Form::Halving => ([coarse, 2 * height, 2 * width], [of.outputs, height, width]),
    };
    let kernel = if of.form == Form::Plain { of.kernel } else { 4 };
    let mut out = vec![0.0; of.maps * made.iter().product::<usize>()];
    for map in 0..of.maps {
        for o in 0..made[0] {
            for c in 0..read[0] {
                for tap in 0..kernel * kernel {
                    let (ky, kx) = (tap / kernel, tap % kernel);
                    let weight = match of.form {
                        Form::Plain | Form::Halving => (o * read[0] + c) * kernel * kernel + tap,
                        Form::Doubling => (c * made[0] + o) * kernel * kernel + tap,
                    };
                    let weight = f64::from(w[weight]);
                    for y in 0..made[1] {
                        for x_at in 0..made[2] {
                            let from = |at: usize, tap: usize, size: usize| {
                                match of.form {
                                    Form::Plain => (at + tap).checked_sub(of.padding),
                                    Form::Halving => (2 * at + tap).checked_sub(1),
                                    Form::Doubling => (at + 1)
                                        .checked_sub(tap)
                                        .filter(|at| at.is_multiple_of(2))
                                        .map(|at| at / 2),
                                }
                                .filter(|at| *at < size)
                            };
                            let (Some(from_y), Some(from_x)) =
                                (from(y, ky, read[1]), from(x_at, kx, read[2]))
                            else {
                                continue;
                            };
                            let at = ((map * read[0] + c) * read[1] + from_y) * read[2] + from_x;
                            let to = ((map * made[0] + o) * made[1] + y) * made[2] + x_at;
                            out[to] += weight * f64::from(x[at]);
                        }
                    }
                }
            }
        }
    }
    out
}

fn wait(client: &Client) {
    if let Err(error) = cubecl::future::block_on(client.sync()) {
        println!("sync failed: {error:?}");
        std::process::exit(1);
    }
}

/// Median of 7, after 2.
fn time(client: &Client, name: &str, flop: usize, run: impl Fn() -> Option<Handle>) {
    let mut times: Vec<f64> = (0..9)
        .map(|_| {
            let begun = Instant::now();
            for _ in 0..5 {
                std::hint::black_box(run());
            }
            wait(client);
            begun.elapsed().as_secs_f64() / 5.0
        })
        .skip(2)
        .collect();
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    let rate = flop as f64 / median / 1e12;
    println!("{name}: {:.0} us, {rate:.0} TFLOP/s", median * 1e6);
}

fn times(client: &Client) {
    let maps = 832;
    for (inputs, outputs, size, kernel, padding) in [
        (64, 64, 16, 5, 2),
        (64, 64, 16, 3, 1),
        (64, 256, 16, 5, 0),
        (128, 64, 12, 5, 4),
        (4, 64, 16, 5, 2),
        (64, 4, 16, 5, 2),
    ] {
        let of = Convolution {
            form: Form::Plain,
            maps,
            inputs,
            outputs,
            size: [size; 2],
            kernel,
            padding,
        };
        let made = size + 2 * padding + 1 - kernel;
        let x = client.empty(maps * inputs * size * size * 4);
        let w = client.empty(inputs * outputs * kernel * kernel * 4);
        let flop = 2 * maps * inputs * outputs * kernel * kernel * made * made;
        let name = format!("conv {inputs} to {outputs}, kernel {kernel}, {maps} maps of {size}");
        time(client, &name, flop, || {
            convolve(client, x.clone(), w.clone(), &of)
        });
    }
    for ([n, rows, inner, columns], turned) in [
        ([2, 416, 16384, 416], true),
        ([8, 224, 16384, 224], true),
        ([2, 416, 416, 16384], false),
        ([1, 832, 9216, 64], false),
    ] {
        let a = Matrices {
            handle: client.empty(n * rows * inner * 4),
            shape: [n, rows, inner],
            strides: [rows * inner, inner, 1],
        };
        let b = Matrices {
            handle: client.empty(n * columns * inner * 4),
            shape: [n, inner, columns],
            strides: if turned {
                [columns * inner, 1, inner]
            } else {
                [columns * inner, columns, 1]
            },
        };
        let name = format!("product {n} x {rows} x {inner} x {columns}, turned {turned}");
        time(client, &name, 2 * n * rows * inner * columns, || {
            multiply(client, &a, &b)
        });
    }
}

fn main() {
    let client = CudaRuntime::client(&CudaDevice::default());
    let mut rng = Rng(1);
    let mut checks = Checks {
        client: client.clone(),
        failed: 0,
    };
    checks.products(&mut rng);
    checks.sums(&mut rng);
    checks.elementwise(&mut rng);
    checks.convolutions(&mut rng);
    checks.correlations(&mut rng);
    checks.updates(&mut rng);
    checks.finite(&mut rng);
    times(&client);
    println!("{} checks failed", checks.failed);
    std::process::exit(i32::from(checks.failed > 0));
}
