//! Which products make up the gradient of every weight, and where each one lands.

use super::{
    op,
    pack::{head_blocks, padded_channels},
    plan::Plan,
    shape::{Affine, Residual, Shape},
    weights::{self, JOB},
};

/// How a gradient's parts lie in the sums: how many, how far apart, and in how many places (then the
/// weight's place is that of these in a list).
type Parts = [u32; 3];

// Kinds of parts.
const SINGLE: u32 = 0;
const CONV5: u32 = 1;
const CONV3: u32 = 2;
const BIAS5: u32 = 3;
const BIAS3: u32 = 4;
const PROJECTION: u32 = 5;
const OUTPUT: u32 = 6;
const OUTPUT_BIAS: u32 = 7;
/// Weights that meet in several products: from the convolutions 3x3 of two doublings.
const FINER: u32 = 8;
const FINER_BIAS: u32 = 9;
const FINER_IMAGE_BIAS: u32 = 10;
/// No weight: what lies between two tensors.
const GAP: u32 = 11;

/// Convolutions of one kernel.
#[derive(Debug, Default)]
pub(super) struct Convolutions {
    /// Words of all jobs.
    pub(super) jobs: Vec<u32>,
    pub(super) groups: usize,
    pub(super) to: u32,
    pub(super) bias_to: u32,
}

impl Convolutions {
    pub(super) fn count(&self) -> usize {
        self.jobs.len() / JOB
    }

    /// Where a job's sum for a tap and two channels is, and for its bias.
    fn weight(&self, taps: usize, job: usize, tap: usize, out: usize, input: usize) -> usize {
        self.to as usize + ((job * taps + tap) * 64 + out % 64) * 64 + input % 64
    }

    fn bias(&self, job: usize, out: usize) -> usize {
        self.bias_to as usize + job * 64 + out % 64
    }
}

/// The gradients of a shape's weights at a batch size.
#[derive(Debug)]
pub(super) struct Learning {
    pub(super) conv5: Convolutions,
    pub(super) conv3: Convolutions,
    pub(super) narrow_groups: usize,
    /// Of each layer: the transposed convolution, the linear part and its bias; of the first and of the
    /// output for each 64 features, one after the other.
    pub(super) projections: Vec<[u32; 3]>,
    /// The output and its bias.
    pub(super) output: [u32; 2],
    /// Of each layer but the top one: the heads' linear layers and biases.
    pub(super) heads: Vec<[u32; 2]>,
    /// Numbers in the sums.
    pub(super) sums: usize,
    /// For each weight: the place of its first part, and its kind of parts.
    pub(super) places: Vec<u32>,
    pub(super) kinds: Vec<u32>,
    pub(super) parts: Vec<u32>,
    /// Where the parts of weights with several places are.
    pub(super) several: Vec<u32>,
    /// Stored maps that a feature map takes.
    blocks: usize,
    /// The first of the convolutions 3x3 of two doublings: to the four maps, and from them.
    finer: [usize; 2],
}

/// In how many groups to take the images if each needs so many cubes, of which so many run at once: the least rounds
/// for what a cube has to do, and of such the fewest.
fn groups(cubes: usize, at_once: usize) -> usize {
    let most = at_once.div_ceil(cubes).max(4);
    let rounds = |groups: usize| (groups * cubes).div_ceil(at_once);
    (1..=most)
        .min_by(|a, b| (rounds(*a) * b).cmp(&(rounds(*b) * a)))
        .unwrap_or(1)
}

/// A weight's place and kind, by its number.
struct Places {
    places: Vec<u32>,
    kinds: Vec<u32>,
    several: Vec<u32>,
}

impl Places {
    fn set(&mut self, weight: usize, place: usize, kind: u32) {
        self.places[weight] = place as u32;
        self.kinds[weight] = kind;
    }

    /// A weight whose gradient is the sum of what lies at several places.
    fn set_several(&mut self, weight: usize, at: impl Iterator<Item = usize>, kind: u32) {
        self.set(weight, self.several.len(), kind);
        self.several.extend(at.map(|place| place as u32));
    }
}

impl Learning {
    /// `None` if the plan keeps nothing.
    pub(super) fn new(
        shape: &Shape,
        plan: &Plan,
        batch: usize,
        multiprocessors: usize,
    ) -> Option<Self> {
        let kept = plan.kept.as_ref()?;
        let map = |at: u32, gradient: u32, offset: u32| -> [u32; JOB] {
            let mut job = [0; JOB];
            job[weights::X] = at;
            job[weights::X_STRIDE] = op::MAP as u32;
            job[weights::Y] = gradient;
            job[weights::Y_STRIDE] = op::MAP as u32;
            job[weights::ROW] = 4;
            job[weights::BLOCK] = 1;
            job[weights::ROWS] = 16;
            job[weights::OFFSET] = offset;
            job
        };
        let (mut conv5, mut conv3) = (Convolutions::default(), Convolutions::default());
        let (layers, blocks) = (shape.latents.len(), shape.blocks());
        let step = (batch * op::MAP) as u32;
        // Between every two of the stored maps of an input and of a gradient.
        let between = |jobs: &mut Vec<u32>, input: [u32; 2], gradient: [u32; 2], offset: u32| {
            for y in 0..gradient[1] {
                for x in 0..input[1] {
                    jobs.extend(map(input[0] + x * step, gradient[0] + y * step, offset));
                }
            }
        };
        let wide = |at: u32| [at, blocks as u32];
        for block in 0..kept.input1.len() {
            // A refining block works on what the block before it gave.
            let input = if block < layers {
                kept.input1[block]
            } else {
                kept.features[block - 1]
            };
            between(&mut conv5.jobs, wide(input), wide(kept.gradient1[block]), 0);
            let (input, gradient) = (kept.input2[block], kept.gradient2[block]);
            between(&mut conv3.jobs, wide(input), wide(gradient), 1);
        }
        let mut finer = [0; 2];
        if let (Some(planes), Some(features)) = (kept.planes, kept.features.last()) {
            let all = 4 * blocks as u32;
            finer[0] = conv3.count();
            between(&mut conv3.jobs, wide(*features), [planes.gradients, all], 1);
            finer[1] = conv3.count();
            between(&mut conv3.jobs, [planes.values, all], [kept.image, 1], 1);
        }
        let mut first_passes = Vec::new();
        for (layer, linears) in plan.linears.iter().enumerate() {
            first_passes.push(conv5.count());
            for pass in 0..head_blocks(shape.head_channels[layer]) / 4 {
                for block in 0..blocks as u32 {
                    let mut job = map(
                        kept.features[layer] + block * step,
                        linears.gradients_at + pass as u32 * 48 * 32,
                        2,
                    );
                    job[weights::Y_STRIDE] = linears.stride;
                    job[weights::ROW] = 1;
                    job[weights::BLOCK] = 12;
                    job[weights::ROWS] = 12;
                    conv5.jobs.extend(job);
                }
            }
        }

        let mut sums = 0;
        let mut take = |length: usize| {
            sums += length;
            (sums - length) as u32
        };
        let narrow_groups = multiprocessors.min(batch);
        for (conv, ks) in [(&mut conv5, 5), (&mut conv3, 3)] {
            let cubes = conv.count() * ks;
            conv.groups = groups(cubes, multiprocessors).min(batch);
            conv.to = take(conv.groups * conv.count() * ks * ks * 4096);
            conv.bias_to = take(conv.groups * conv.count() * 64);
        }
        let projections: Vec<[u32; 3]> = shape
            .latents
            .iter()
            .map(|d| {
                [
                    take(blocks * narrow_groups * 10 * 1024),
                    take(d.next_multiple_of(32) * 1024),
                    take(1024),
                ]
            })
            .collect();
        let output = [
            take(blocks * narrow_groups * 9 * 1024),
            take(blocks * narrow_groups * 16),
        ];
        let heads: Vec<[u32; 2]> = plan
            .linears
            .iter()
            .map(|linears| {
                let outputs = linears.outputs as usize;
                [
                    take(linears.stride as usize * outputs * 8),
                    take(outputs * 2),
                ]
            })
            .collect();

        let conv_parts = |conv: &Convolutions, ks: usize| -> [Parts; 2] {
            let (groups, count) = (conv.groups as u32, conv.count());
            [
                [groups, (count * ks * ks * 4096) as u32, 1],
                [groups, (count * 64) as u32, 1],
            ]
        };
        let [five, bias5] = conv_parts(&conv5, 5);
        let [three, bias3] = conv_parts(&conv3, 3);
        let narrow = narrow_groups as u32;
        let several = |[groups, stride, _]: Parts, places: u32| [groups, stride, places];
        let parts: [Parts; 12] = [
            [1, 0, 1],
            five,
            three,
            bias5,
            bias3,
            [narrow, 10 * 1024, 1],
            [narrow, 9 * 1024, 1],
            // The four pixels that a pixel becomes have their own columns.
            [narrow * 4, 4, 1],
            several(three, 4),
            several(bias3, 4),
            several(bias3, 16),
            [0, 0, 1],
        ];

        let count = shape.parameters().layout.length;
        let mut places = Places {
            places: vec![0; count],
            kinds: vec![GAP; count],
            several: vec![0],
        };
        let mut learning = Self {
            conv5,
            conv3,
            narrow_groups,
            projections,
            output,
            heads,
            sums,
            places: Vec::new(),
            kinds: Vec::new(),
            parts: parts.concat(),
            several: Vec::new(),
            blocks,
            finer,
        };
        learning.place(shape, plan, &first_passes, &mut places);
        learning.places = places.places;
        learning.kinds = places.kinds;
        learning.several = places.several;
        Some(learning)
    }

    /// Projections' sums for each 64 features, and the output's.
    pub(super) fn block_sums(&self) -> [usize; 2] {
        [
            self.narrow_groups * 10 * 1024,
            self.narrow_groups * 9 * 1024,
        ]
    }

    fn place(&self, shape: &Shape, plan: &Plan, first_passes: &[usize], places: &mut Places) {
        let parameters = shape.parameters();
        let (f, size) = (shape.features, shape.size);
        let [up_sums, _] = self.block_sums();
        let layers = shape.latents.len();
        for (i, layer) in parameters.layers.iter().enumerate() {
            self.place_block(shape, &layer.block, i, places);
            let [deconv, linear, bias] = self.projections[i].map(|at| at as usize);
            for seed in 0..shape.seed_channels {
                for feature in 0..f {
                    for tap in 0..25 {
                        let (dy, dx) = (4 - tap / 5, 4 - tap % 5);
                        let column = dx % 4 * 4 + seed;
                        let at = ((dy * 2 + dx / 4) * 64 + feature % 64) * 16 + column;
                        let weight = layer.deconv + (seed * f + feature) * 25 + tap;
                        places.set(weight, deconv + feature / 64 * up_sums + at, PROJECTION);
                    }
                }
                for pixel in 0..size * size {
                    let column = (pixel / size * 16 + pixel % size) * 4 + seed;
                    let own = seed * size * size + pixel;
                    let width = shape.seed_channels * size * size;
                    places.set(layer.linear.bias + own, bias + column, SINGLE);
                    for latent in 0..shape.latents[i] {
                        let weight = layer.linear.weight + latent * width + own;
                        places.set(weight, linear + latent * 1024 + column, SINGLE);
                    }
                }
            }
        }
        for (i, block) in parameters.refine.iter().enumerate() {
            self.place_block(shape, block, layers + i, places);
        }
        for (i, heads) in parameters.heads.iter().enumerate() {
            let channels = shape.head_channels[i];
            let padded = padded_channels(channels);
            let (d, outputs) = (shape.latents[i + 1], plan.linears[i].outputs as usize);
            let [to, bias_to] = self.heads[i].map(|at| at as usize);
            let side = size - 4;
            for (h, head) in heads.iter().enumerate() {
                for c in 0..channels {
                    let channel = h * padded + c;
                    let job = first_passes[i] + channel / 64 * self.blocks;
                    places.set(head.conv.bias + c, self.conv5.bias(job, channel), BIAS5);
                    for feature in 0..f {
                        for tap in 0..25 {
                            places.set(
                                head.conv.weight + (c * f + feature) * 25 + tap,
                                self.conv5
                                    .weight(25, job + feature / 64, tap, channel, feature),
                                CONV5,
                            );
                        }
                    }
                    for pixel in 0..side * side {
                        let (y, x) = (pixel / side, pixel % side);
                        let lane = x % 8 * 4 + c % 8 / 2;
                        let u = c % 16 / 8 * 4 + x / 8 * 2 + c % 2;
                        let vector = ((channel / 16) * 12 + y) * 32 + lane;
                        for j in 0..d {
                            let weight = head.linear.weight + (c * side * side + pixel) * d + j;
                            places.set(weight, to + (vector * outputs + j) * 8 + u, SINGLE);
                        }
                    }
                }
                for j in 0..d {
                    places.set(head.linear.bias + j, bias_to + h * outputs + j, SINGLE);
                }
            }
        }
        match &parameters.doubling {
            Some(doubling) => self.place_finer(shape, doubling, &parameters.output, places),
            None => self.place_output(shape, &parameters.output, places),
        }
    }

    fn place_output(&self, shape: &Shape, output: &Affine, places: &mut Places) {
        let (f, channels) = (shape.features, shape.image_channels);
        let [to, bias_to] = self.output.map(|at| at as usize);
        let [_, block_sums] = self.block_sums();
        for c in 0..channels {
            places.set(output.bias + c, bias_to + c, OUTPUT_BIAS);
            for feature in 0..f {
                for tap in 0..16 {
                    let [ky, kx] = [tap / 4, tap % 4];
                    let [a, b] = [ky, kx].map(|k| (k + 1) % 2);
                    let (dy, dx) = ((ky + 1 - a) / 2, (kx + 1 - b) / 2);
                    let at = ((dy * 3 + dx) * 64 + feature % 64) * 16 + a * 8 + b * 4 + c;
                    let weight = output.weight + (feature * channels + c) * 16 + tap;
                    places.set(weight, to + feature / 64 * block_sums + at, OUTPUT);
                }
            }
        }
    }

    /// Of two doublings, which are convolutions 3x3 to four maps and from them.
    fn place_finer(&self, shape: &Shape, doubling: &Affine, output: &Affine, places: &mut Places) {
        let (f, channels, blocks) = (shape.features, shape.image_channels, self.blocks);
        let [first, image] = self.finer;
        for out in 0..f {
            let job = |map: usize| first + (map * blocks + out / 64) * blocks;
            let bias = (0..4).map(|map| self.conv3.bias(job(map), out));
            places.set_several(doubling.bias + out, bias, FINER_BIAS);
            for input in 0..f {
                for k in 0..16 {
                    // Output 2 y + a takes input y + dy - 1 by tap a + 3 - 2 dy.
                    let [a, b] = [k / 4, k % 4].map(|k| (k + 1) % 2);
                    let (dy, dx) = ((a + 3 - k / 4) / 2, (b + 3 - k % 4) / 2);
                    let job = job(a * 2 + b) + input / 64;
                    places.set(
                        doubling.weight + (input * f + out) * 16 + k,
                        self.conv3.weight(9, job, dy * 3 + dx, out, input),
                        CONV3,
                    );
                }
            }
        }
        for c in 0..channels {
            let bias = (0..16).map(|pixel| self.conv3.bias(image, pixel * 4 + c));
            places.set_several(output.bias + c, bias, FINER_IMAGE_BIAS);
            for feature in 0..f {
                for k in 0..16 {
                    // Pixel 4 y + fine takes map a's pixel y + d - 1 by tap fine + 5 - 4 d - 2 a.
                    let of = |a: usize, k: usize| {
                        let fine = (k + 2 * a + 3) % 4;
                        (fine, (fine + 5 - 2 * a - k) / 4)
                    };
                    let at = (0..4).map(|map| {
                        let ((y, dy), (x, dx)) = (of(map / 2, k / 4), of(map % 2, k % 4));
                        let job = image + map * blocks + feature / 64;
                        let column = (y * 4 + x) * 4 + c;
                        self.conv3.weight(9, job, dy * 3 + dx, column, feature)
                    });
                    let weight = output.weight + (feature * channels + c) * 16 + k;
                    places.set_several(weight, at, FINER);
                }
            }
        }
    }

    fn place_block(&self, shape: &Shape, block: &Residual, number: usize, places: &mut Places) {
        let (f, blocks) = (shape.features, self.blocks);
        let mut place = |of: &Affine, conv: &Convolutions, ks: usize, kinds: [u32; 2]| {
            let taps = ks * ks;
            for out in 0..f {
                let job = (number * blocks + out / 64) * blocks;
                places.set(of.bias + out, conv.bias(job, out), kinds[1]);
                for input in 0..f {
                    for tap in 0..taps {
                        places.set(
                            of.weight + (out * f + input) * taps + tap,
                            conv.weight(taps, job + input / 64, tap, out, input),
                            kinds[0],
                        );
                    }
                }
            }
        };
        place(&block.conv1, &self.conv5, 5, [CONV5, BIAS5]);
        place(&block.conv2, &self.conv3, 3, [CONV3, BIAS3]);
    }
}
