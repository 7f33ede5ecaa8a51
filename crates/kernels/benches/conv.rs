//! The convolutions of the built-in generator, their gradients, and one Langevin step's worth of
//! them. `scripts/torch_peer.py` times the same in PyTorch; run both with two threads:
//!
//! ```text
//! RAYON_NUM_THREADS=2 cargo bench -p shortrun-kernels
//! python3 crates/kernels/scripts/torch_peer.py 2
//! ```

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use shortrun_kernels::cpu::{
    Conv2d, ConvShape, Epilogue, Input, Upsample, gelu_with_slope, weight_gradient,
};

/// `(batch, input channels, output channels, height and width, kernel, padding)`
type Case = (usize, usize, usize, usize, usize, usize);

const CASES: [Case; 18] = [
    (8, 64, 64, 16, 5, 2),
    (8, 64, 64, 16, 3, 1),
    (8, 64, 128, 16, 5, 0),
    (8, 64, 256, 16, 5, 0),
    (8, 128, 64, 12, 5, 4),
    (8, 256, 64, 12, 5, 4),
    (8, 4, 64, 16, 5, 2),
    (8, 64, 4, 16, 5, 2),
    (8, 64, 12, 16, 3, 1),
    (1, 64, 64, 16, 5, 2),
    (2, 64, 64, 16, 5, 2),
    (100, 64, 64, 16, 5, 2),
    (200, 64, 64, 16, 5, 2),
    (32, 16, 16, 16, 5, 2),
    (32, 24, 24, 16, 3, 1),
    (8, 64, 64, 14, 5, 2),
    (8, 64, 64, 28, 3, 1),
    (8, 64, 64, 32, 5, 2),
];

fn shape(
    input_channels: usize,
    output_channels: usize,
    kernel: usize,
    padding: usize,
) -> ConvShape {
    ConvShape {
        input_channels,
        output_channels,
        kernel,
        padding,
    }
}

/// Values of about the size of activations; the time does not depend on them.
fn values(len: usize) -> Vec<f32> {
    (0..len)
        .map(|i| (i * 7919 % 1013) as f32 / 1013.0 - 0.5)
        .collect()
}

fn weights(s: ConvShape) -> Vec<f32> {
    let scale = 1.0 / (s.input_channels as f32).sqrt() / s.kernel as f32;
    values(s.input_channels * s.output_channels * s.kernel * s.kernel)
        .into_iter()
        .map(|v| v * scale)
        .collect()
}

fn convolutions(c: &mut Criterion) {
    for case @ (n, ci, co, size, k, p) in CASES {
        let s = shape(ci, co, k, p);
        let out = s.output_size(size);
        let x = values(n * ci * size * size);
        let g = values(n * co * out * out);
        let (mut y, mut slope) = (g.clone(), g.clone());
        let conv = Conv2d::new(&weights(s), None, s);
        let dims = [n, size, size];
        // Multiply-adds; `elem/s` times two is FLOP/s. Zeros around the image count.
        let work = Throughput::Elements((n * ci * co * k * k * out * out) as u64);
        let name = format!("{case:?}");

        let mut group = c.benchmark_group("convolution");
        group.throughput(work.clone());
        group.bench_function(BenchmarkId::new("plain", &name), |b| {
            b.iter(|| conv.run(Input::new(&x, dims), Epilogue::none(), black_box(&mut y)));
        });
        group.bench_function(BenchmarkId::new("gelu and slope", &name), |b| {
            b.iter(|| {
                let epilogue = Epilogue::gelu_with_slope(&mut slope);
                conv.run(Input::new(&x, dims), epilogue, black_box(&mut y));
            });
        });
        group.bench_function(BenchmarkId::new("input times slope", &name), |b| {
            let input = Input::new(&x, dims).times(&x);
            b.iter(|| conv.run(input, Epilogue::none(), black_box(&mut y)));
        });
        let mut w = weights(s);
        group.bench_function(BenchmarkId::new("weight gradient", &name), |b| {
            let grad = Input::new(&g, [n, out, out]);
            b.iter(|| weight_gradient(s, Input::new(&x, dims), grad, black_box(&mut w), None));
        });
    }
}

fn pointwise(c: &mut Criterion) {
    let x = values(8 * 64 * 256);
    let (mut y, mut slope) = (x.clone(), x.clone());
    let mut group = c.benchmark_group("gelu");
    group.throughput(Throughput::Elements(x.len() as u64));
    group.bench_function("with slope", |b| {
        b.iter(|| gelu_with_slope(&x, &mut y, black_box(&mut slope)));
    });
}

/// A layer with what its backward pass needs.
struct Layer {
    shape: ConvShape,
    size: usize,
    forward: Conv2d,
    backward: Conv2d,
    slope: Vec<f32>,
    output: Vec<f32>,
}

impl Layer {
    fn new(s: ConvShape, n: usize, size: usize) -> Self {
        let w = weights(s);
        let len = n * s.output_channels * s.output_size(size).pow(2);
        Self {
            shape: s,
            size,
            forward: Conv2d::new(&w, Some(&values(s.output_channels)), s),
            backward: Conv2d::input_gradient(&w, s),
            slope: vec![0.0; len],
            output: vec![0.0; len],
        }
    }
}

/// All convolutions of one Langevin step of the five-layer generator, forward and in the latents
/// (12.3 GFLOP for 8 images), with GELU; without the linear layers.
fn step(c: &mut Criterion) {
    let n = 8;
    let dims = [64, 64, 64, 96, 128];
    let mut layers = Vec::new();
    for level in 0..=dims.len() {
        if level < dims.len() {
            layers.push(Layer::new(shape(4, 64, 5, 2), n, 16));
        }
        layers.push(Layer::new(shape(64, 64, 5, 2), n, 16));
        layers.push(Layer::new(shape(64, 64, 3, 1), n, 16));
        if let Some(next) = dims.get(level + 1) {
            layers.push(Layer::new(shape(64, 2 * next, 5, 0), n, 16));
        }
    }
    let upsample = Upsample::new(&values(64 * 3 * 16), None, 64, 3);
    let x = values(n * 64 * 256);
    let mut image = vec![0.0; n * 3 * 1024];
    let mut back = vec![0.0; n * 64 * 256];
    c.bench_function("convolutions of a step, batch 8", |b| {
        b.iter(|| {
            for layer in &mut layers {
                let input = &x[..n * layer.shape.input_channels * 256];
                let epilogue = Epilogue::gelu_with_slope(&mut layer.slope);
                let dims = [n, layer.size, layer.size];
                layer
                    .forward
                    .run(Input::new(input, dims), epilogue, &mut layer.output);
            }
            upsample.run(Input::new(&x, [n, 16, 16]), &mut image);
            upsample.input_gradient(&image, [n, 16, 16], Epilogue::none(), &mut back);
            for layer in layers.iter().rev() {
                let size = layer.shape.output_size(layer.size);
                let grad = Input::new(&layer.output, [n, size, size]).times(&layer.slope);
                let back = &mut back[..n * layer.shape.input_channels * 256];
                layer.backward.run(grad, Epilogue::none(), black_box(back));
            }
        });
    });
}

criterion_group!(benches, convolutions, pointwise, step);
criterion_main!(benches);
