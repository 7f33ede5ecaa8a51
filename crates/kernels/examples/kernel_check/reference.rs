//! Energy and gradient of the generator in float64, as plainly as can be.

use shortrun_kernels::Shape;

use crate::parts::{
    Affine, Map, conv, conv_back, conv_weights, deconv, deconv_back, deconv_weights, gelu_map,
    linear, linear_back, linear_weights, plus, scale, sums, times,
};

/// Random numbers for tests (xorshift).
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    /// In (-1, 1).
    pub(crate) fn uniform(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 40) as f32 + 0.5) / (1u64 << 23) as f32 - 1.0
    }

    /// Roughly normal, of variance 1.
    pub(crate) fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.uniform() * 0.5).sum()
    }
}

#[derive(Clone)]
pub(crate) struct Generator {
    shape: Shape,
    /// All weights end to end, in the kernels' order; values that bf16 holds exactly.
    pub(crate) parameters: Vec<f64>,
}

struct Reader<'a>(&'a [f64]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> &'a [f64] {
        let (own, rest) = self.0.split_at(n);
        self.0 = rest;
        own
    }

    fn affine(&mut self, weight: usize, bias: usize) -> Affine<'a> {
        Affine {
            weight: self.take(weight),
            bias: self.take(bias),
        }
    }
}

/// Gradients of all weights.
struct Weights<'a> {
    parameters: &'a [f64],
    gradient: Vec<f64>,
}

impl Weights<'_> {
    fn put(&mut self, of: &[f64], values: &[f64]) {
        // Parts are slices of the parameters.
        let at = (of.as_ptr() as usize - self.parameters.as_ptr() as usize) / size_of::<f64>();
        for (sum, v) in self.gradient[at..at + of.len()].iter_mut().zip(values) {
            *sum += v;
        }
    }

    fn add(&mut self, of: &Affine<'_>, [weight, bias]: [Vec<f64>; 2]) {
        self.put(of.weight, &weight);
        self.put(of.bias, &bias);
    }
}

struct Block<'a> {
    conv1: Affine<'a>,
    conv2: Affine<'a>,
}

impl Block<'_> {
    /// The result; input, inner map and slopes for the way back.
    fn forward(&self, x: &[f64], size: usize, f: usize) -> (Map, [Map; 4]) {
        let (inner, slope1) = gelu_map(conv(x, &self.conv1, [size, f, f, 5, 2]));
        let (outer, slope2) = gelu_map(conv(&inner, &self.conv2, [size, f, f, 3, 1]));
        (plus(&outer, x), [x.to_vec(), inner, slope1, slope2])
    }

    fn back(
        &self,
        g: &[f64],
        [x, inner, slope1, slope2]: &[Map; 4],
        size: usize,
        f: usize,
        weights: Option<&mut Weights<'_>>,
    ) -> Map {
        let outer = times(g, slope2);
        let back = times(
            &conv_back(&outer, self.conv2.weight, [size, f, f, 3, 1]),
            slope1,
        );
        if let Some(weights) = weights {
            weights.add(&self.conv2, conv_weights(inner, &outer, [size, f, f, 3, 1]));
            weights.add(&self.conv1, conv_weights(x, &back, [size, f, f, 5, 2]));
        }
        plus(&conv_back(&back, self.conv1.weight, [size, f, f, 5, 2]), g)
    }
}

impl Generator {
    /// Weights of a size that keeps activations near 1.
    pub(crate) fn new(shape: Shape, seed: u64) -> Self {
        let mut rng = Rng(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) | 1);
        let mut parameters = Vec::with_capacity(shape.parameter_count());
        let mut draw = |count: usize, fan_in: usize| {
            let bound = 1.6 / (fan_in as f32).sqrt();
            parameters.extend(
                (0..count).map(|_| f64::from(half::bf16::from_f32(rng.uniform() * bound).to_f32())),
            );
        };
        let (f, s) = (shape.features, shape.size);
        let seeds = shape.seed_channels * s * s;
        let block = |draw: &mut dyn FnMut(usize, usize)| {
            draw(f * f * 25, f * 25);
            draw(f, f * 25);
            draw(f * f * 9, f * 9);
            draw(f, f * 9);
        };
        for d in &shape.latents {
            draw(d * seeds, *d);
            draw(seeds, *d);
            draw(shape.seed_channels * f * 25, shape.seed_channels * 25);
            block(&mut draw);
        }
        for (d, c) in shape.latents[1..].iter().zip(&shape.head_channels) {
            let values = c * (s - 4) * (s - 4);
            for _ in 0..2 {
                draw(c * f * 25, f * 25);
                draw(*c, f * 25);
                draw(values * d, values);
                draw(*d, values);
            }
        }
        for _ in 0..shape.refine_blocks {
            block(&mut draw);
        }
        if shape.doublings == 2 {
            draw(f * f * 16, f * 4);
            draw(f, f * 4);
        }
        draw(f * shape.image_channels * 16, f * 4);
        draw(shape.image_channels, f * 4);
        Self { shape, parameters }
    }

    /// Names and places of the parameters' parts.
    pub(crate) fn parts(&self) -> Vec<(String, std::ops::Range<usize>)> {
        let shape = &self.shape;
        let (f, s) = (shape.features, shape.size);
        let seeds = shape.seed_channels * s * s;
        let mut parts = Vec::new();
        let mut at = 0;
        let mut add = |name: String, count: usize| {
            parts.push((name, at..at + count));
            at += count;
        };
        let block = |name: &str, add: &mut dyn FnMut(String, usize)| {
            add(format!("{name} 5x5"), f * f * 25);
            add(format!("{name} 5x5 bias"), f);
            add(format!("{name} 3x3"), f * f * 9);
            add(format!("{name} 3x3 bias"), f);
        };
        for (i, d) in shape.latents.iter().enumerate() {
            add(format!("layer {i} linear"), d * seeds);
            add(format!("layer {i} linear bias"), seeds);
            add(
                format!("layer {i} transposed"),
                shape.seed_channels * f * 25,
            );
            block(&format!("layer {i}"), &mut add);
        }
        for (i, (d, c)) in shape.latents[1..]
            .iter()
            .zip(&shape.head_channels)
            .enumerate()
        {
            for head in ["mean", "scale"] {
                add(format!("{head} {i} convolution"), c * f * 25);
                add(format!("{head} {i} convolution bias"), *c);
                add(format!("{head} {i} linear"), c * (s - 4) * (s - 4) * d);
                add(format!("{head} {i} linear bias"), *d);
            }
        }
        for i in 0..shape.refine_blocks {
            block(&format!("refine {i}"), &mut add);
        }
        if shape.doublings == 2 {
            add("doubling".to_owned(), f * f * 16);
            add("doubling bias".to_owned(), f);
        }
        add("output".to_owned(), f * shape.image_channels * 16);
        add("output bias".to_owned(), shape.image_channels);
        parts
    }

    pub(crate) fn energy_and_gradient(
        &self,
        latents: &[f64],
        image: &[f64],
        mask: &[f64],
        precision: f64,
    ) -> (f64, Vec<f64>) {
        self.pass(latents, image, mask, precision, None)
    }

    /// The gradient of the energy in all weights.
    pub(crate) fn weight_gradient(
        &self,
        latents: &[f64],
        image: &[f64],
        mask: &[f64],
        precision: f64,
    ) -> Vec<f64> {
        let mut weights = Weights {
            parameters: &self.parameters,
            gradient: vec![0.0; self.parameters.len()],
        };
        self.pass(latents, image, mask, precision, Some(&mut weights));
        weights.gradient
    }

    fn pass(
        &self,
        latents: &[f64],
        image: &[f64],
        mask: &[f64],
        precision: f64,
        mut weights: Option<&mut Weights<'_>>,
    ) -> (f64, Vec<f64>) {
        let shape = &self.shape;
        let (f, s, q) = (shape.features, shape.size, shape.seed_channels);
        let seeds = q * s * s;
        let mut reader = Reader(&self.parameters);
        let layers: Vec<_> = shape
            .latents
            .iter()
            .map(|d| {
                let linear = reader.affine(d * seeds, seeds);
                let up = reader.take(q * f * 25);
                let block = Block {
                    conv1: reader.affine(f * f * 25, f),
                    conv2: reader.affine(f * f * 9, f),
                };
                (linear, up, block)
            })
            .collect();
        let side = s - 4;
        let heads: Vec<_> = shape.latents[1..]
            .iter()
            .zip(&shape.head_channels)
            .map(|(d, c)| {
                [(); 2].map(|()| {
                    (
                        reader.affine(c * f * 25, *c),
                        reader.affine(c * side * side * d, *d),
                    )
                })
            })
            .collect();
        let refine: Vec<_> = (0..shape.refine_blocks)
            .map(|_| Block {
                conv1: reader.affine(f * f * 25, f),
                conv2: reader.affine(f * f * 9, f),
            })
            .collect();
        let doubling = (shape.doublings == 2).then(|| reader.affine(f * f * 16, f));
        let output = reader.affine(f * shape.image_channels * 16, shape.image_channels);

        let mut features = vec![0.0; f * s * s];
        let mut saved = Vec::new();
        let mut column = 0;
        for (i, d) in shape.latents.iter().enumerate() {
            let e = &latents[column..column + d];
            column += d;
            let mut z = e.to_vec();
            let mut given = None;
            if i > 0 {
                let c = shape.head_channels[i - 1];
                let both = heads[i - 1].each_ref().map(|(conv1, dense)| {
                    let (map, slope) = gelu_map(conv(&features, conv1, [s, f, c, 5, 0]));
                    (linear(&map, dense, *d), slope, map)
                });
                let scales: Vec<_> = both[1].0.iter().map(|v| scale(shape.scale, *v)).collect();
                for j in 0..*d {
                    z[j] = both[0].0[j] + scales[j].0 * e[j];
                }
                let above = features.clone();
                given = Some((scales, both.map(|(_, slope, map)| (slope, map)), above));
            }
            let (dense, up, block) = &layers[i];
            let (seed, seed_slope) = gelu_map(linear(&z, dense, seeds));
            let (map, map_slope) = gelu_map(deconv(&seed, up, [s, q, f, 5, 2, 1]));
            let (own, slopes) = block.forward(&map, s, f);
            features = plus(&own, &features);
            saved.push((given, (z, seed, seed_slope), map_slope, slopes));
        }
        let mut refined = Vec::new();
        for block in &refine {
            let (next, slopes) = block.forward(&features, s, f);
            features = next;
            refined.push(slopes);
        }
        let coarse = [s, f, f, 4, 1, 2];
        let doubled = doubling.as_ref().map(|of| {
            let map = deconv(&features, of.weight, coarse);
            let biased = map.iter().enumerate();
            gelu_map(biased.map(|(j, v)| v + of.bias[j / (4 * s * s)]).collect())
        });
        let (last, side) = match &doubled {
            Some((map, _)) => (map, 2 * s),
            None => (&features, s),
        };
        let shape_out = [side, f, shape.image_channels, 4, 1, 2];
        let before = deconv(last, output.weight, shape_out);
        let pixels = 4 * side * side;
        let mut gradient = vec![0.0; before.len()];
        let mut energy: f64 = latents.iter().map(|e| e * e / 2.0).sum();
        for (j, v) in before.iter().enumerate() {
            let value = (v + output.bias[j / pixels]).tanh();
            let residual = (value - image[j]) * mask[j];
            energy += residual * residual * precision / 2.0;
            gradient[j] = residual * precision * (1.0 - value * value);
        }
        if let Some(weights) = &mut weights {
            let own = deconv_weights(last, &gradient, shape_out);
            weights.add(&output, [own, sums(&gradient, shape.image_channels)]);
        }
        let mut g = deconv_back(&gradient, output.weight, shape_out);
        if let (Some(of), Some((_, slope))) = (&doubling, &doubled) {
            let finer = times(&g, slope);
            if let Some(weights) = &mut weights {
                let own = deconv_weights(&features, &finer, coarse);
                weights.add(of, [own, sums(&finer, f)]);
            }
            g = deconv_back(&finer, of.weight, coarse);
        }
        for (block, slopes) in refine.iter().zip(&refined).rev() {
            g = block.back(&g, slopes, s, f, weights.as_deref_mut());
        }
        let mut result = vec![0.0; latents.len()];
        for (i, d) in shape.latents.iter().enumerate().rev() {
            column -= d;
            let (dense, up, block) = &layers[i];
            let (given, (z, seed, seed_slope), map_slope, slopes) = &saved[i];
            let map = block.back(&g, slopes, s, f, weights.as_deref_mut());
            let map = times(&map, map_slope);
            let pulled_seed = times(&deconv_back(&map, up, [s, q, f, 5, 2, 1]), seed_slope);
            if let Some(weights) = &mut weights {
                weights.put(up, &deconv_weights(seed, &map, [s, q, f, 5, 2, 1]));
                weights.add(
                    dense,
                    [linear_weights(z, &pulled_seed), pulled_seed.clone()],
                );
            }
            let pulled = linear_back(&pulled_seed, dense.weight);
            let e = &latents[column..column + d];
            match given {
                None => {
                    for j in 0..*d {
                        result[column + j] = pulled[j] + e[j];
                    }
                }
                Some((scales, head_maps, above)) => {
                    let mut pulls = [pulled.clone(), pulled.clone()];
                    for j in 0..*d {
                        result[column + j] = pulled[j] * scales[j].0 + e[j];
                        pulls[1][j] *= e[j] * scales[j].1;
                    }
                    let c = shape.head_channels[i - 1];
                    for ((head, (slope, hidden)), pull) in
                        heads[i - 1].iter().zip(head_maps).zip(&pulls)
                    {
                        let map = times(&linear_back(pull, head.1.weight), slope);
                        if let Some(weights) = &mut weights {
                            weights.add(&head.1, [linear_weights(hidden, pull), pull.clone()]);
                            weights.add(&head.0, conv_weights(above, &map, [s, f, c, 5, 0]));
                        }
                        g = plus(&g, &conv_back(&map, head.0.weight, [s, f, c, 5, 0]));
                    }
                }
            }
        }
        (energy, result)
    }
}
