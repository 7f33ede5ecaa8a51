//! The operations of a step.
//!
//! Maps of up to 64 channels stay in two tiles of shared memory, A and B; wider ones go through global
//! memory. There an operation makes 64 channels, and so is there once for each 64.

use super::{
    super::{
        op,
        pack::{ROWS3, ROWS5, UP3, UP5, head_blocks},
        shape::{CHANNELS, Scale, Shape},
    },
    HeadLinears, Launch, Program,
    maps::Maps,
    weights::{BlockWeights, Weights},
};

/// An operation's words.
pub(super) type Op = [u32; op::WORDS];

pub(super) const A: u32 = 0;
pub(super) const B: u32 = 1;

pub(super) struct Builder<'a> {
    pub(super) shape: &'a Shape,
    pub(super) weights: &'a Weights,
    pub(super) maps: Maps,
    pub(super) linears: Vec<HeadLinears>,
    pub(super) program: Vec<u32>,
    /// Whether the programs keep what the gradients of the weights need.
    pub(super) keep: bool,
    /// Stored maps that a feature map takes, and vectors of 8 from one to the next.
    pub(super) blocks: u32,
    stride: u32,
}

pub(super) fn of_kind(kind: u32) -> Op {
    let mut op = [0; op::WORDS];
    op[op::KIND] = kind;
    op
}

/// Rows of an operation's weights for the same 64 channels.
fn rows(op: &Op) -> u32 {
    let chunk = if op[op::KIND] == op::CONV3 {
        ROWS3
    } else {
        ROWS5
    };
    op[op::CHUNKS].max(1) * chunk
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        shape: &'a Shape,
        weights: &'a Weights,
        maps: Maps,
        linears: Vec<HeadLinears>,
        batch: usize,
        keep: bool,
    ) -> Self {
        Self {
            shape,
            weights,
            maps,
            linears,
            program: Vec::new(),
            keep,
            blocks: shape.blocks() as u32,
            stride: (batch * op::MAP) as u32,
        }
    }

    pub(super) fn program(&mut self, mut ops: Vec<Op>) -> Program {
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
            wide: ops.iter().any(|op| op[op::FLAGS] & op::MAPS != 0),
        }
    }

    pub(super) fn launch(&mut self, ops: Vec<Op>) -> Launch {
        Launch::Images(self.program(ops))
    }

    fn is_wide(&self) -> bool {
        self.blocks > 1
    }

    /// A stored map of each block, if there is one.
    pub(super) fn kept(&self, of: impl Fn(&super::Kept) -> u32) -> Option<u32> {
        self.maps.kept.as_ref().map(of)
    }

    /// Reads a map from a tile, or from where it is stored.
    pub(super) fn read(&self, op: &mut Op, tile: u32, map: Option<u32>) {
        match map {
            Some(map) if self.is_wide() => {
                op[op::FLAGS] |= op::MAPS;
                op[op::CHUNKS] = self.blocks;
                op[op::CHUNKS_AT] = map;
            }
            _ => op[op::FROM_TILE] = tile,
        }
    }

    /// Adds a map, likewise.
    fn add(&self, op: &mut Op, tile: u32, map: Option<u32>) {
        match map {
            Some(map) if self.is_wide() => {
                op[op::FLAGS] |= op::ADDS;
                op[op::ADD] = map;
            }
            _ => {
                op[op::FLAGS] |= op::ADDS_TILE;
                op[op::ADD_TILE] = tile;
            }
        }
    }

    /// Writes the result to a tile unless it is too wide, and stores it if it has a place.
    fn write(&self, op: &mut Op, tile: u32, map: Option<u32>) {
        if !self.is_wide() {
            op[op::FLAGS] |= op::WRITES_TILE;
            op[op::TO_TILE] = tile;
        }
        if let Some(map) = map {
            op[op::FLAGS] |= op::STORES;
            op[op::TO] = map;
        }
    }

    /// The same of the result times a slope.
    fn write_dual(&self, op: &mut Op, slope: u32, map: Option<u32>) {
        op[op::FLAGS] |= op::DUALS;
        op[op::DUAL] = slope;
        op[op::DUAL_TILE] = B;
        if !self.is_wide() {
            op[op::FLAGS] |= op::WRITES_DUAL;
        }
        if let Some(map) = map {
            op[op::FLAGS] |= op::STORES_DUAL;
            op[op::DUAL_TO] = map;
        }
    }

    /// An operation for every 64 channels of a map.
    pub(super) fn each_block(&self, op: Op) -> Vec<Op> {
        (0..self.blocks)
            .map(|block| self.block(op, block))
            .collect()
    }

    pub(super) fn block(&self, mut op: Op, block: u32) -> Op {
        if block == 0 {
            return op;
        }
        for word in [
            op::SLOPE,
            op::ADD,
            op::ADD_MORE,
            op::TO,
            op::DUAL,
            op::DUAL_TO,
        ] {
            op[word] += block * self.stride;
        }
        op[op::BIAS] += block * CHANNELS as u32;
        match op[op::KIND] {
            op::PROJECT => {
                op[op::KIND] = op::WIDEN_SEEDS;
                op[op::WEIGHTS] += block * UP5;
                op[op::FLAGS] &= !op::KEEPS;
            }
            op::OUTPUT => {
                op[op::KIND] = op::WIDEN_IMAGE;
                op[op::WEIGHTS2] += block * UP3;
                op[op::FLAGS] &= !op::KEEPS;
            }
            _ => op[op::WEIGHTS] += block * rows(&op),
        }
        op
    }

    pub(super) fn first_features(&self) -> Vec<Op> {
        if self.shape.latents.len() == 1 {
            return Vec::new();
        }
        let mut ops = self.features(0);
        ops.extend(self.heads(0));
        ops
    }

    /// From the latents of a layer to its features, in tile A.
    pub(super) fn features(&self, layer: usize) -> Vec<Op> {
        let weights = &self.weights.layers[layer];
        let mut project = self.projection(layer, op::PROJECT);
        project[op::WEIGHTS] = weights.deconv[0];
        project[op::FLAGS] |= op::GELU;
        project[op::SLOPE] = self.maps.project[layer];
        self.write(&mut project, A, self.kept(|kept| kept.input1[layer]));
        if let (true, Some(kept)) = (self.keep, &self.maps.kept) {
            project[op::FLAGS] |= op::KEEPS;
            project[op::LATENTS_TO] = kept.latents[layer];
            project[op::SEEDS_TO] = kept.seeds[layer];
        }
        let [inner, mut outer] = self.residual(&weights.block, layer);
        if layer > 0 {
            let [flag, word] = if self.is_wide() {
                [op::ADDS_MORE, op::ADD_MORE as u32]
            } else {
                [op::ADDS, op::ADD as u32]
            };
            outer[op::FLAGS] |= flag;
            outer[word as usize] = self.maps.features[layer - 1];
        }
        if layer + 1 < self.shape.latents.len() {
            outer[op::FLAGS] |= op::STORES;
            outer[op::TO] = self.maps.features[layer];
        }
        [project, inner, outer]
            .into_iter()
            .flat_map(|op| self.each_block(op))
            .collect()
    }

    fn projection(&self, layer: usize, kind: u32) -> Op {
        let mut op = of_kind(kind);
        let weights = &self.weights.layers[layer];
        let numbers = &self.maps.numbers[layer];
        let d = self.shape.latents[layer];
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

    /// Where a block's input is stored, if it is.
    fn input(&self, block: usize) -> Option<u32> {
        self.kept(|kept| {
            if block < self.shape.latents.len() {
                kept.input1[block]
            } else {
                kept.features[block - 1]
            }
        })
    }

    /// A residual block, from tile A through tile B and back.
    pub(super) fn residual(&self, weights: &BlockWeights, block: usize) -> [Op; 2] {
        let slopes = self.maps.block[block];
        let between = self.kept(|kept| kept.input2[block]);
        let mut inner = of_kind(op::CONV5);
        inner[op::WEIGHTS] = weights.conv1[0];
        inner[op::BIAS] = weights.bias1;
        inner[op::FLAGS] = op::HAS_BIAS | op::GELU;
        inner[op::SLOPE] = slopes[0];
        self.read(&mut inner, A, self.input(block));
        self.write(&mut inner, B, between);
        let mut outer = of_kind(op::CONV3);
        outer[op::WEIGHTS] = weights.conv2[0];
        outer[op::BIAS] = weights.bias2;
        outer[op::FLAGS] = op::HAS_BIAS | op::GELU;
        outer[op::SLOPE] = slopes[1];
        self.read(&mut outer, B, between);
        self.add(&mut outer, A, self.input(block));
        self.write(&mut outer, A, self.kept(|kept| kept.features[block]));
        [inner, outer]
    }

    /// The convolutions of the heads below a layer, from tile A.
    pub(super) fn heads(&self, layer: usize) -> Vec<Op> {
        let weights = &self.weights.heads[layer];
        let linears = &self.linears[layer];
        let mut op = of_kind(op::HEAD);
        op[op::FLAGS] = op::HAS_BIAS | op::GELU | op::STORES;
        op[op::STRIDE] = linears.stride;
        op[op::SLOPE] = linears.slopes_at;
        op[op::TO] = linears.maps_at;
        self.read(&mut op, A, Some(self.maps.features[layer]));
        (0..self.passes(layer))
            .map(|pass| {
                op[op::WEIGHTS] = weights.convs[0] + pass * rows(&op);
                op[op::BIAS] = weights.conv_bias + pass * CHANNELS as u32;
                op[op::BLOCK] = pass * 4;
                op
            })
            .collect()
    }

    /// How many times 64 channels the heads below a layer have.
    fn passes(&self, layer: usize) -> u32 {
        (head_blocks(self.shape.head_channels[layer]) / 4) as u32
    }

    /// The gradient in a block's result to tile A, and times the block's outer slope to tile B.
    pub(super) fn split(&self, op: &mut Op, block: usize) {
        self.write(op, A, self.is_wide().then_some(self.maps.gradient));
        let map = self.kept(|kept| kept.gradient2[block]);
        self.write_dual(op, self.maps.block[block][1], map);
    }

    /// Back through a residual block: the gradient times the outer slope in tile B, itself in A.
    pub(super) fn residual_back(&self, weights: &BlockWeights, block: usize) -> [Op; 2] {
        let between = self.kept(|kept| kept.gradient1[block]);
        let mut inner = of_kind(op::CONV3);
        inner[op::WEIGHTS] = weights.conv2[1];
        inner[op::FLAGS] = op::TIMES_SLOPE;
        inner[op::SLOPE] = self.maps.block[block][0];
        self.read(&mut inner, B, self.kept(|kept| kept.gradient2[block]));
        self.write(&mut inner, B, between);
        let mut outer = of_kind(op::CONV5);
        outer[op::WEIGHTS] = weights.conv1[1];
        self.read(&mut outer, B, between);
        self.add(&mut outer, A, Some(self.maps.gradient));
        [inner, outer]
    }

    /// From the gradient in a layer's features to its latents.
    pub(super) fn to_latents(&self, layer: usize) -> Vec<Op> {
        let weights = &self.weights.layers[layer];
        let [inner, mut outer] = self.residual_back(&weights.block, layer);
        let map = self.kept(|kept| kept.projection[layer]);
        self.write_dual(&mut outer, self.maps.project[layer], map);
        let mut project = self.projection(layer, op::PROJECT_BACK);
        project[op::WEIGHTS] = weights.deconv[1];
        self.read(&mut project, B, map);
        if let (true, Some(kept)) = (self.keep, &self.maps.kept) {
            project[op::FLAGS] |= op::KEEPS;
            project[op::SEED_GRADIENT_TO] = kept.seed_gradients[layer];
        }
        let mut ops = self.each_block(inner);
        ops.extend(self.each_block(outer));
        ops.push(project);
        ops
    }

    /// From the gradients of the heads below a layer, and of its features, to its latents.
    pub(super) fn gradient(&self, layer: usize) -> Vec<Op> {
        let linears = &self.linears[layer];
        let mut heads = of_kind(op::CONV5);
        heads[op::WEIGHTS] = self.weights.heads[layer].convs[1];
        heads[op::CHUNKS] = self.passes(layer);
        heads[op::CHUNKS_AT] = linears.gradients_at;
        heads[op::STRIDE] = linears.stride;
        heads[op::FLAGS] = op::ADDS;
        heads[op::ADD] = self.maps.gradient;
        self.split(&mut heads, layer);
        if layer > 0 {
            heads[op::FLAGS] |= op::STORES;
            heads[op::TO] = self.maps.gradient;
        }
        let mut ops = self.each_block(heads);
        ops.extend(self.to_latents(layer));
        ops
    }
}
