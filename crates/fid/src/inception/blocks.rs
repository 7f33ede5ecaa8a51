//! The five kinds of Inception blocks (Szegedy et al., 2016), pooled as in FID's network: averages
//! over the pixels that are there, not the padding, and in the very last block a maximum. Fields are
//! named as in the weights file.

use burn::{
    prelude::*,
    tensor::module::{avg_pool2d, max_pool2d},
};

use super::conv::{ConvUnit, Maker};

/// How the pooling branch of a block pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pool {
    Average,
    Maximum,
}

/// 3 x 3 around each pixel, stride 1.
fn pool<B: Backend>(kind: Pool, input: Tensor<B, 4>) -> Tensor<B, 4> {
    match kind {
        Pool::Average => avg_pool2d(input, [3, 3], [1, 1], [1, 1], false, false),
        Pool::Maximum => max_pool2d(input, [3, 3], [1, 1], [1, 1], [1, 1], false),
    }
}

/// The maximum of 3 x 3 pixels, stride 2.
pub(super) fn halve<B: Backend>(input: Tensor<B, 4>) -> Tensor<B, 4> {
    max_pool2d(input, [3, 3], [2, 2], [0, 0], [1, 1], false)
}

/// One after another.
fn chain<B: Backend>(input: Tensor<B, 4>, units: &[&ConvUnit<B>]) -> Tensor<B, 4> {
    units.iter().fold(input, |input, unit| unit.forward(input))
}

const ONE: [usize; 2] = [1, 1];
const THREE: [usize; 2] = [3, 3];
const ALONG: [usize; 2] = [1, 7];
const DOWN: [usize; 2] = [7, 1];

/// At 35 x 35: 1x1, 5x5 and twice 3x3.
#[derive(Module, Debug)]
pub(super) struct BlockA<B: Backend> {
    branch1x1: ConvUnit<B>,
    branch5x5_1: ConvUnit<B>,
    branch5x5_2: ConvUnit<B>,
    branch3x3dbl_1: ConvUnit<B>,
    branch3x3dbl_2: ConvUnit<B>,
    branch3x3dbl_3: ConvUnit<B>,
    branch_pool: ConvUnit<B>,
}

impl<B: Backend> BlockA<B> {
    pub(super) fn new(make: &Maker<'_, B>, inputs: usize, pooled: usize) -> Self {
        Self {
            branch1x1: make.same(inputs, 64, ONE),
            branch5x5_1: make.same(inputs, 48, ONE),
            branch5x5_2: make.same(48, 64, [5, 5]),
            branch3x3dbl_1: make.same(inputs, 64, ONE),
            branch3x3dbl_2: make.same(64, 96, THREE),
            branch3x3dbl_3: make.same(96, 96, THREE),
            branch_pool: make.same(inputs, pooled, ONE),
        }
    }

    pub(super) fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let five = [&self.branch5x5_1, &self.branch5x5_2];
        let threes = [
            &self.branch3x3dbl_1,
            &self.branch3x3dbl_2,
            &self.branch3x3dbl_3,
        ];
        Tensor::cat(
            vec![
                self.branch1x1.forward(x.clone()),
                chain(x.clone(), &five),
                chain(x.clone(), &threes),
                self.branch_pool.forward(pool(Pool::Average, x)),
            ],
            1,
        )
    }
}

/// From 35 x 35 to 17 x 17.
#[derive(Module, Debug)]
pub(super) struct BlockB<B: Backend> {
    branch3x3: ConvUnit<B>,
    branch3x3dbl_1: ConvUnit<B>,
    branch3x3dbl_2: ConvUnit<B>,
    branch3x3dbl_3: ConvUnit<B>,
}

impl<B: Backend> BlockB<B> {
    pub(super) fn new(make: &Maker<'_, B>, inputs: usize) -> Self {
        Self {
            branch3x3: make.valid(inputs, 384, 3, 2),
            branch3x3dbl_1: make.same(inputs, 64, ONE),
            branch3x3dbl_2: make.same(64, 96, THREE),
            branch3x3dbl_3: make.valid(96, 96, 3, 2),
        }
    }

    pub(super) fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let threes = [
            &self.branch3x3dbl_1,
            &self.branch3x3dbl_2,
            &self.branch3x3dbl_3,
        ];
        Tensor::cat(
            vec![
                self.branch3x3.forward(x.clone()),
                chain(x.clone(), &threes),
                halve(x),
            ],
            1,
        )
    }
}

/// At 17 x 17: rows and columns of seven.
#[derive(Module, Debug)]
pub(super) struct BlockC<B: Backend> {
    branch1x1: ConvUnit<B>,
    branch7x7_1: ConvUnit<B>,
    branch7x7_2: ConvUnit<B>,
    branch7x7_3: ConvUnit<B>,
    branch7x7dbl_1: ConvUnit<B>,
    branch7x7dbl_2: ConvUnit<B>,
    branch7x7dbl_3: ConvUnit<B>,
    branch7x7dbl_4: ConvUnit<B>,
    branch7x7dbl_5: ConvUnit<B>,
    branch_pool: ConvUnit<B>,
}

impl<B: Backend> BlockC<B> {
    pub(super) fn new(make: &Maker<'_, B>, inner: usize) -> Self {
        let inputs = 768;
        Self {
            branch1x1: make.same(inputs, 192, ONE),
            branch7x7_1: make.same(inputs, inner, ONE),
            branch7x7_2: make.same(inner, inner, ALONG),
            branch7x7_3: make.same(inner, 192, DOWN),
            branch7x7dbl_1: make.same(inputs, inner, ONE),
            branch7x7dbl_2: make.same(inner, inner, DOWN),
            branch7x7dbl_3: make.same(inner, inner, ALONG),
            branch7x7dbl_4: make.same(inner, inner, DOWN),
            branch7x7dbl_5: make.same(inner, 192, ALONG),
            branch_pool: make.same(inputs, 192, ONE),
        }
    }

    pub(super) fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let once = [&self.branch7x7_1, &self.branch7x7_2, &self.branch7x7_3];
        let twice = [
            &self.branch7x7dbl_1,
            &self.branch7x7dbl_2,
            &self.branch7x7dbl_3,
            &self.branch7x7dbl_4,
            &self.branch7x7dbl_5,
        ];
        Tensor::cat(
            vec![
                self.branch1x1.forward(x.clone()),
                chain(x.clone(), &once),
                chain(x.clone(), &twice),
                self.branch_pool.forward(pool(Pool::Average, x)),
            ],
            1,
        )
    }
}

/// From 17 x 17 to 8 x 8.
#[derive(Module, Debug)]
pub(super) struct BlockD<B: Backend> {
    branch3x3_1: ConvUnit<B>,
    branch3x3_2: ConvUnit<B>,
    branch7x7x3_1: ConvUnit<B>,
    branch7x7x3_2: ConvUnit<B>,
    branch7x7x3_3: ConvUnit<B>,
    branch7x7x3_4: ConvUnit<B>,
}

impl<B: Backend> BlockD<B> {
    pub(super) fn new(make: &Maker<'_, B>, inputs: usize) -> Self {
        Self {
            branch3x3_1: make.same(inputs, 192, ONE),
            branch3x3_2: make.valid(192, 320, 3, 2),
            branch7x7x3_1: make.same(inputs, 192, ONE),
            branch7x7x3_2: make.same(192, 192, ALONG),
            branch7x7x3_3: make.same(192, 192, DOWN),
            branch7x7x3_4: make.valid(192, 192, 3, 2),
        }
    }

    pub(super) fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let three = [&self.branch3x3_1, &self.branch3x3_2];
        let seven = [
            &self.branch7x7x3_1,
            &self.branch7x7x3_2,
            &self.branch7x7x3_3,
            &self.branch7x7x3_4,
        ];
        Tensor::cat(
            vec![chain(x.clone(), &three), chain(x.clone(), &seven), halve(x)],
            1,
        )
    }
}

/// At 8 x 8: branches that fork.
#[derive(Module, Debug)]
pub(super) struct BlockE<B: Backend> {
    branch1x1: ConvUnit<B>,
    branch3x3_1: ConvUnit<B>,
    branch3x3_2a: ConvUnit<B>,
    branch3x3_2b: ConvUnit<B>,
    branch3x3dbl_1: ConvUnit<B>,
    branch3x3dbl_2: ConvUnit<B>,
    branch3x3dbl_3a: ConvUnit<B>,
    branch3x3dbl_3b: ConvUnit<B>,
    branch_pool: ConvUnit<B>,
}

impl<B: Backend> BlockE<B> {
    pub(super) fn new(make: &Maker<'_, B>, inputs: usize) -> Self {
        Self {
            branch1x1: make.same(inputs, 320, ONE),
            branch3x3_1: make.same(inputs, 384, ONE),
            branch3x3_2a: make.same(384, 384, [1, 3]),
            branch3x3_2b: make.same(384, 384, [3, 1]),
            branch3x3dbl_1: make.same(inputs, 448, ONE),
            branch3x3dbl_2: make.same(448, 384, THREE),
            branch3x3dbl_3a: make.same(384, 384, [1, 3]),
            branch3x3dbl_3b: make.same(384, 384, [3, 1]),
            branch_pool: make.same(inputs, 192, ONE),
        }
    }

    pub(super) fn forward(&self, x: Tensor<B, 4>, kind: Pool) -> Tensor<B, 4> {
        let three = self.branch3x3_1.forward(x.clone());
        let threes = chain(x.clone(), &[&self.branch3x3dbl_1, &self.branch3x3dbl_2]);
        Tensor::cat(
            vec![
                self.branch1x1.forward(x.clone()),
                self.branch3x3_2a.forward(three.clone()),
                self.branch3x3_2b.forward(three),
                self.branch3x3dbl_3a.forward(threes.clone()),
                self.branch3x3dbl_3b.forward(threes),
                self.branch_pool.forward(pool(kind, x)),
            ],
            1,
        )
    }
}
