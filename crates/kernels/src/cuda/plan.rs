//! A Langevin step as programs: which operations in which launch, and where everything lies.

use super::{
    conv::WARPS,
    linear::IMAGES,
    op,
    pack::{Packing, ROWS5, head_blocks, padded_channels},
    shape::{Scale, Shape},
};

/// An operation's words.
type Op = [u32; op::WORDS];

/// Some operations, run by one launch on every image.
#[derive(Clone, Debug, Default)]
pub(super) struct Program {
    pub(super) begin: u32,
    pub(super) end: u32,
    /// The first convolution through the ring: its kernel (0: none) and weights.
    pub(super) first: [u32; 2],
}

/// The linear layers of a layer's heads.
#[derive(Clone, Debug)]
pub(super) struct HeadLinears {
    pub(super) maps_at: u32,
    pub(super) slopes_at: u32,
    pub(super) gradients_at: u32,
    /// Vectors of 8 from one image's map to the next.
    pub(super) stride: u32,
    pub(super) forward_weights: u32,
    pub(super) back_weights: u32,
    pub(super) parts_at: u32,
    pub(super) parts: u32,
    pub(super) pull_at: u32,
    /// Dimensions of the layer, rounded up to 32.
    pub(super) outputs: u32,
    /// Blocks of 32 values in a head's part of a map, and in the map.
    pub(super) head_blocks: u32,
    pub(super) map_blocks: u32,
}

/// One launch of a step.
#[derive(Clone, Debug)]
pub(super) enum Launch {
    Images(Program),
    HeadsForward(usize),
    HeadsBack(usize),
}

/// Everything about a shape at a batch size.
#[derive(Debug)]
pub(super) struct Plan {
    /// All programs, one after the other.
    pub(super) program: Vec<u32>,
    /// Before the first step.
    pub(super) start: Vec<Launch>,
    /// From the first features to the gradients, without the last launch.
    pub(super) step: Vec<Launch>,
    /// Ends a step, and ends a step and begins the next.
    pub(super) last: Program,
    pub(super) last_and_first: Program,
    pub(super) linears: Vec<HeadLinears>,
    /// Vectors of 8 in the store.
    pub(super) store: usize,
    /// Numbers in the state.
    pub(super) state: usize,
    /// Numbers in the heads' gradients.
    pub(super) pull: usize,
    /// Present if the programs keep what the gradients of the weights need.
    pub(super) kept: Option<Kept>,
}

/// Maps and numbers that the gradients of the weights need. Blocks: the layers', then the refining.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// Inputs of each block's convolutions, and its result.
    pub(super) input1: Vec<u32>,
    pub(super) input2: Vec<u32>,
    pub(super) features: Vec<u32>,
    /// Gradients of each block's convolutions.
    pub(super) gradient1: Vec<u32>,
    pub(super) gradient2: Vec<u32>,
    /// Of the projections' transposed convolutions, and of the image.
    pub(super) projection: Vec<u32>,
    pub(super) image: u32,
    /// In the state: each layer's latents, seeds, and the gradients of these.
    pub(super) latents: Vec<u32>,
    pub(super) seeds: Vec<u32>,
    pub(super) seed_gradients: Vec<u32>,
}

/// Where the packed weights of a part lie.
#[derive(Debug)]
struct LayerWeights {
    linear: [u32; 2],
    linear_bias: u32,
    deconv: [u32; 2],
    block: BlockWeights,
}

#[derive(Debug)]
struct BlockWeights {
    conv1: [u32; 2],
    conv2: [u32; 2],
    bias1: u32,
    bias2: u32,
}

#[derive(Debug)]
struct HeadWeights {
    convs: [Vec<u32>; 2],
    conv_bias: u32,
    linears: [u32; 2],
    bias: u32,
}

/// The packed weights of a shape: where each comes from, and where it lies.
#[derive(Debug)]
pub(super) struct Weights {
    layers: Vec<LayerWeights>,
    heads: Vec<HeadWeights>,
    refine: Vec<BlockWeights>,
    output: [u32; 2],
    output_bias: u32,
}

impl Weights {
    pub(super) fn pack<'a>(shape: &'a Shape) -> (Self, Packing<'a>) {
        let parameters = shape.parameters();
        let mut packing = Packing::new(shape);
        let block = |packing: &mut Packing<'_>, of: &super::shape::Residual| BlockWeights {
            conv1: packing.convolution(of.conv1.weight, 5),
            conv2: packing.convolution(of.conv2.weight, 3),
            bias1: packing.feature_biases(of.conv1.bias),
            bias2: packing.feature_biases(of.conv2.bias),
        };
        let layers = parameters
            .layers
            .iter()
            .zip(&shape.latents)
            .map(|(layer, d)| {
                let (linear, linear_bias) =
                    packing.projection_linear(layer.linear.weight, layer.linear.bias, *d);
                LayerWeights {
                    linear,
                    linear_bias,
                    deconv: packing.projection(layer.deconv),
                    block: block(&mut packing, &layer.block),
                }
            })
            .collect();
        let heads = parameters
            .heads
            .iter()
            .zip(shape.latents[1..].iter().zip(&shape.head_channels))
            .map(|(heads, (d, channels))| {
                let both = |of: fn(&super::shape::Head) -> usize| [of(&heads[0]), of(&heads[1])];
                let outputs = d.next_multiple_of(32);
                let [mean, scale] = both(|head| head.linear.bias);
                let bias = packing.biases(mean, *d, outputs);
                packing.biases(scale, *d, outputs);
                HeadWeights {
                    convs: packing.head_convolutions(both(|head| head.conv.weight), *channels),
                    conv_bias: packing.head_biases(both(|head| head.conv.bias), *channels),
                    linears: packing.head_linears(both(|head| head.linear.weight), *channels, *d),
                    bias,
                }
            })
            .collect();
        let refine = parameters
            .refine
            .iter()
            .map(|of| block(&mut packing, of))
            .collect();
        let output = packing.output(parameters.output.weight);
        let output_bias = packing.biases(parameters.output.bias, shape.image_channels, 4);
        let weights = Self {
            layers,
            heads,
            refine,
            output,
            output_bias,
        };
        (weights, packing)
    }
}

/// Slopes of a residual block's two convolutions.
type Slopes = [u32; 2];

/// Where the maps of each layer lie.
struct Maps {
    project: Vec<u32>,
    block: Vec<Slopes>,
    refine: Vec<Slopes>,
    /// Features of each layer, for the next one; their gradient on the way back.
    features: Vec<u32>,
    gradient: u32,
}

/// Where a layer's numbers lie in the state.
struct Numbers {
    seed_slope: u32,
    scale: u32,
    bend: u32,
}

struct Builder<'a> {
    shape: &'a Shape,
    weights: &'a Weights,
    maps: Maps,
    numbers: Vec<Numbers>,
    linears: Vec<HeadLinears>,
    kept: Option<Kept>,
    program: Vec<u32>,
}

const A: u32 = 0;
const B: u32 = 1;

impl Plan {
    /// With `keep` the programs keep what the gradients of the weights need.
    pub(super) fn new(
        shape: &Shape,
        weights: &Weights,
        batch: usize,
        multiprocessors: usize,
        keep: bool,
    ) -> Self {
        let layers = shape.latents.len();
        let mut store = Extent::default();
        let mut map = || store.take(batch * op::MAP);
        let project = (0..layers).map(|_| map()).collect();
        let block = (0..layers).map(|_| [map(), map()]).collect();
        let refine = (0..shape.refine_blocks).map(|_| [map(), map()]).collect();
        let gradient = map();
        let mut state = Extent::default();
        let kept = keep.then(|| {
            let blocks = layers + shape.refine_blocks;
            let mut maps = |count: usize| (0..count).map(|_| map()).collect::<Vec<_>>();
            let (input1, input2, features) = (maps(blocks), maps(blocks), maps(blocks));
            let (gradient1, gradient2) = (maps(blocks), maps(blocks));
            let projection = maps(layers);
            let mut rows = |width: &dyn Fn(usize) -> usize| {
                shape
                    .latents
                    .iter()
                    .map(|d| state.take(batch * width(*d)))
                    .collect::<Vec<_>>()
            };
            Kept {
                input1,
                input2,
                features,
                gradient1,
                gradient2,
                projection,
                image: map(),
                latents: rows(&|d| d.next_multiple_of(32)),
                seeds: rows(&|_| 1024),
                seed_gradients: rows(&|_| 1024),
            }
        });
        let features = match &kept {
            Some(kept) => kept.features[..layers].to_vec(),
            None => vec![map(); layers],
        };
        let maps = Maps {
            project,
            block,
            refine,
            features,
            gradient,
        };
        let numbers = shape
            .latents
            .iter()
            .map(|d| {
                let row = batch * d.next_multiple_of(32);
                Numbers {
                    seed_slope: state.take(batch * 1024),
                    scale: state.take(row),
                    bend: state.take(row),
                }
            })
            .collect();
        let mut pull = Extent::default();
        let tiles = batch.div_ceil(IMAGES);
        let linears = shape.latents[1..]
            .iter()
            .zip(&shape.head_channels)
            .zip(&weights.heads)
            .map(|((d, channels), heads)| {
                let outputs = d.next_multiple_of(32);
                let stride = head_blocks(*channels) * 12 * 32;
                let head_vectors = padded_channels(*channels) / 16 * 96;
                let cubes = tiles * outputs / 16;
                let parts = (multiprocessors / cubes).clamp(1, head_vectors / WARPS as usize);
                HeadLinears {
                    maps_at: store.take(batch * stride),
                    slopes_at: store.take(batch * stride),
                    gradients_at: store.take(batch * stride),
                    stride: stride as u32,
                    forward_weights: heads.linears[0],
                    back_weights: heads.linears[1],
                    parts_at: state.take(parts * batch * outputs * 2),
                    parts: parts as u32,
                    pull_at: pull.take(batch * outputs * 2),
                    outputs: outputs as u32,
                    head_blocks: head_vectors as u32,
                    map_blocks: (head_blocks(*channels) * 96) as u32,
                }
            })
            .collect();
        let mut builder = Builder {
            shape,
            weights,
            maps,
            numbers,
            linears,
            kept,
            program: Vec::new(),
        };

        let first = builder.first_features();
        let start = if layers == 1 {
            Vec::new()
        } else {
            vec![builder.launch(first.clone())]
        };
        let mut step = Vec::new();
        for layer in 1..layers {
            step.push(Launch::HeadsForward(layer - 1));
            if layer + 1 < layers {
                let mut ops = builder.features(layer);
                ops.extend(builder.heads(layer));
                step.push(builder.launch(ops));
            }
        }
        let mut ops = builder.turn();
        for layer in (1..layers).rev() {
            step.push(builder.launch(ops));
            step.push(Launch::HeadsBack(layer - 1));
            ops = builder.gradient(layer - 1);
        }
        let last = builder.program(ops.clone());
        if layers > 1 {
            ops.extend(first);
        }
        let last_and_first = builder.program(ops);
        Self {
            start,
            step,
            last,
            last_and_first,
            linears: builder.linears,
            kept: builder.kept,
            program: builder.program,
            store: store.0,
            state: state.0.max(1),
            pull: pull.0.max(8),
        }
    }
}

impl Builder<'_> {
    fn program(&mut self, mut ops: Vec<Op>) -> Program {
        // Each convolution through the ring starts the weights of the next.
        let mut next = [0, 0];
        for op in ops.iter_mut().rev() {
            let kernel = match op[op::KIND] {
                op::CONV5 | op::HEAD => 5,
                op::CONV3 => 3,
                _ => continue,
            };
            [op[op::NEXT_KERNEL], op[op::NEXT_WEIGHTS]] = next;
            next = [kernel, op[op::WEIGHTS]];
        }
        let begin = (self.program.len() / op::WORDS) as u32;
        self.program.extend(ops.iter().flatten());
        Program {
            begin,
            end: (self.program.len() / op::WORDS) as u32,
            first: next,
        }
    }

    fn launch(&mut self, ops: Vec<Op>) -> Launch {
        Launch::Images(self.program(ops))
    }

    fn first_features(&self) -> Vec<Op> {
        if self.shape.latents.len() == 1 {
            return Vec::new();
        }
        let mut ops = self.features(0);
        ops.extend(self.heads(0));
        ops
    }

    /// From the latents of a layer to its features, in tile A.
    fn features(&self, layer: usize) -> Vec<Op> {
        let last = layer + 1 == self.shape.latents.len();
        let weights = &self.weights.layers[layer];
        let mut project = self.projection(layer, op::PROJECT);
        project[op::TO_TILE] = A;
        project[op::WEIGHTS] = weights.deconv[0];
        project[op::FLAGS] |= op::GELU | op::WRITES_TILE;
        project[op::SLOPE] = self.maps.project[layer];
        let [inner, mut outer] = self.residual(&weights.block, self.maps.block[layer], layer);
        if layer > 0 {
            outer[op::FLAGS] |= op::ADDS;
            outer[op::ADD] = self.maps.features[layer - 1];
        }
        if !last {
            outer[op::FLAGS] |= op::STORES;
            outer[op::TO] = self.maps.features[layer];
        }
        if let Some(kept) = &self.kept {
            project[op::FLAGS] |= op::KEEPS | op::STORES;
            project[op::TO] = kept.input1[layer];
            project[op::LATENTS_TO] = kept.latents[layer];
            project[op::SEEDS_TO] = kept.seeds[layer];
        }
        vec![project, inner, outer]
    }

    fn projection(&self, layer: usize, kind: u32) -> Op {
        let mut op = [0; op::WORDS];
        let weights = &self.weights.layers[layer];
        let numbers = &self.numbers[layer];
        let d = self.shape.latents[layer];
        op[op::KIND] = kind;
        op[op::DIM] = d as u32;
        op[op::PADDED] = d.next_multiple_of(32) as u32;
        op[op::COLUMN] = self.shape.columns(layer).start as u32;
        op[op::LINEAR] = weights.linear[usize::from(kind == op::PROJECT_BACK)];
        op[op::LINEAR_BIAS] = weights.linear_bias;
        op[op::SEED_SLOPE] = numbers.seed_slope;
        op[op::SCALE] = numbers.scale;
        op[op::BEND] = numbers.bend;
        op[op::FORM] = match self.shape.scale {
            Scale::SoftplusLogVariance => op::SOFTPLUS_LOG_VARIANCE,
            Scale::LogVariance => op::LOG_VARIANCE,
            Scale::Softplus => 2,
        };
        if layer > 0 {
            let linears = &self.linears[layer - 1];
            op[op::FLAGS] = op::GIVEN;
            op[op::PARTS_AT] = linears.parts_at;
            op[op::PARTS] = linears.parts;
            op[op::PULL] = linears.pull_at;
            op[op::HEAD_BIAS] = self.weights.heads[layer - 1].bias;
        }
        op
    }

    /// From tile A through tile B and back.
    fn residual(&self, weights: &BlockWeights, slopes: Slopes, block: usize) -> [Op; 2] {
        let mut inner = [0; op::WORDS];
        inner[op::KIND] = op::CONV5;
        inner[op::FROM_TILE] = A;
        inner[op::TO_TILE] = B;
        inner[op::WEIGHTS] = weights.conv1[0];
        inner[op::BIAS] = weights.bias1;
        inner[op::FLAGS] = op::HAS_BIAS | op::GELU | op::WRITES_TILE;
        inner[op::SLOPE] = slopes[0];
        let mut outer = [0; op::WORDS];
        outer[op::KIND] = op::CONV3;
        outer[op::FROM_TILE] = B;
        outer[op::ADD_TILE] = A;
        outer[op::TO_TILE] = A;
        outer[op::WEIGHTS] = weights.conv2[0];
        outer[op::BIAS] = weights.bias2;
        outer[op::FLAGS] = op::HAS_BIAS | op::GELU | op::ADDS_TILE | op::WRITES_TILE;
        outer[op::SLOPE] = slopes[1];
        if let Some(kept) = &self.kept {
            inner[op::FLAGS] |= op::STORES;
            inner[op::TO] = kept.input2[block];
            outer[op::FLAGS] |= op::STORES;
            outer[op::TO] = kept.features[block];
        }
        [inner, outer]
    }

    /// The convolutions of the heads below a layer, from tile A.
    fn heads(&self, layer: usize) -> Vec<Op> {
        let weights = &self.weights.heads[layer];
        let linears = &self.linears[layer];
        weights.convs[0]
            .iter()
            .enumerate()
            .map(|(pass, at)| {
                let mut op = [0; op::WORDS];
                op[op::KIND] = op::HEAD;
                op[op::FLAGS] = op::HAS_BIAS | op::GELU | op::STORES;
                op[op::FROM_TILE] = A;
                op[op::WEIGHTS] = *at;
                op[op::BIAS] = weights.conv_bias + pass as u32 * 64;
                op[op::STRIDE] = linears.stride;
                op[op::BLOCK] = pass as u32 * 4;
                op[op::SLOPE] = linears.slopes_at;
                op[op::TO] = linears.maps_at;
                op
            })
            .collect()
    }

    /// The last layer's features, the image, and the way back to that layer's latents.
    fn turn(&self) -> Vec<Op> {
        let layer = self.shape.latents.len() - 1;
        let mut ops = self.features(layer);
        for (block, weights) in self.weights.refine.iter().enumerate() {
            ops.extend(self.residual(weights, self.maps.refine[block], layer + 1 + block));
        }
        let mut output = [0; op::WORDS];
        output[op::KIND] = op::OUTPUT;
        output[op::FROM_TILE] = A;
        output[op::WEIGHTS] = self.weights.output[0];
        output[op::WEIGHTS2] = self.weights.output[1];
        output[op::BIAS] = self.weights.output_bias;
        if let Some(kept) = &self.kept {
            output[op::FLAGS] |= op::KEEPS;
            output[op::IMAGE_TO] = kept.image;
        }
        // From the last block to the first: each one's gradient in tile A; times its outer slope in
        // tile B.
        let blocks = self.maps.refine.len();
        let mut above = output;
        for block in (0..blocks).rev() {
            self.split(&mut above, self.maps.refine[block][1], layer + 1 + block);
            ops.push(above);
            let [inner, outer] = self.residual_back(
                &self.weights.refine[block],
                self.maps.refine[block],
                layer + 1 + block,
            );
            ops.push(inner);
            above = outer;
        }
        self.split(&mut above, self.maps.block[layer][1], layer);
        ops.push(above);
        // Kept for the layer above.
        if layer > 0
            && let Some(op) = ops.last_mut()
        {
            op[op::FLAGS] |= op::STORES;
            op[op::TO] = self.maps.gradient;
        }
        ops.extend(self.to_latents(layer));
        ops
    }

    /// The gradient in a block's result to tile A, and times the block's outer slope to tile B.
    fn split(&self, op: &mut Op, slope: u32, block: usize) {
        op[op::FLAGS] |= op::WRITES_TILE | op::DUALS;
        op[op::TO_TILE] = A;
        op[op::DUAL_TILE] = B;
        op[op::DUAL] = slope;
        if let Some(kept) = &self.kept {
            op[op::FLAGS] |= op::STORES_DUAL;
            op[op::DUAL_TO] = kept.gradient2[block];
        }
    }

    /// Back through a residual block: the gradient times the outer slope in tile B, itself in A.
    fn residual_back(&self, weights: &BlockWeights, slopes: Slopes, block: usize) -> [Op; 2] {
        let mut inner = [0; op::WORDS];
        inner[op::KIND] = op::CONV3;
        inner[op::FROM_TILE] = B;
        inner[op::TO_TILE] = B;
        inner[op::WEIGHTS] = weights.conv2[1];
        inner[op::FLAGS] = op::TIMES_SLOPE | op::WRITES_TILE;
        inner[op::SLOPE] = slopes[0];
        if let Some(kept) = &self.kept {
            inner[op::FLAGS] |= op::STORES;
            inner[op::TO] = kept.gradient1[block];
        }
        let mut outer = [0; op::WORDS];
        outer[op::KIND] = op::CONV5;
        outer[op::FROM_TILE] = B;
        outer[op::ADD_TILE] = A;
        outer[op::WEIGHTS] = weights.conv1[1];
        outer[op::FLAGS] = op::ADDS_TILE;
        [inner, outer]
    }

    /// From the gradient in a layer's features to its latents.
    fn to_latents(&self, layer: usize) -> Vec<Op> {
        let weights = &self.weights.layers[layer];
        let [inner, mut outer] = self.residual_back(&weights.block, self.maps.block[layer], layer);
        outer[op::FLAGS] |= op::DUALS;
        outer[op::DUAL_TILE] = B;
        outer[op::DUAL] = self.maps.project[layer];
        let mut project = self.projection(layer, op::PROJECT_BACK);
        project[op::FROM_TILE] = B;
        project[op::WEIGHTS] = weights.deconv[1];
        if let Some(kept) = &self.kept {
            outer[op::FLAGS] |= op::STORES_DUAL;
            outer[op::DUAL_TO] = kept.projection[layer];
            project[op::FLAGS] |= op::KEEPS;
            project[op::SEED_GRADIENT_TO] = kept.seed_gradients[layer];
        }
        vec![inner, outer, project]
    }

    /// From the gradients of the heads below a layer, and of its features, to its latents.
    fn gradient(&self, layer: usize) -> Vec<Op> {
        let linears = &self.linears[layer];
        let passes = &self.weights.heads[layer].convs[1];
        let mut heads = [0; op::WORDS];
        heads[op::KIND] = op::CONV5;
        // The passes' weights lie one after the other.
        debug_assert!(passes.windows(2).all(|two| two[1] == two[0] + ROWS5));
        heads[op::WEIGHTS] = passes[0];
        heads[op::CHUNKS] = passes.len() as u32;
        heads[op::CHUNKS_AT] = linears.gradients_at;
        heads[op::STRIDE] = linears.stride;
        heads[op::FLAGS] = op::ADDS;
        heads[op::ADD] = self.maps.gradient;
        self.split(&mut heads, self.maps.block[layer][1], layer);
        if layer > 0 {
            heads[op::FLAGS] |= op::STORES;
            heads[op::TO] = self.maps.gradient;
        }
        let mut ops = vec![heads];
        ops.extend(self.to_latents(layer));
        ops
    }
}

/// Hands out places one after the other.
#[derive(Default)]
struct Extent(usize);

impl Extent {
    fn take(&mut self, length: usize) -> u32 {
        let first = self.0;
        self.0 += length.next_multiple_of(64);
        first as u32
    }
}
