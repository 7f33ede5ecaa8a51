//! A part of the network with one input and one output: linear maps with GELU between them.

use burn::prelude::*;

use super::{
    linear::Linear,
    rows::{combine, gram, multiply, quadratic, times},
};
use crate::gelu::{gelu_bends, gelu_with_slope};

/// Groups of nodes `y = GELU(linear(x))` one after another.
///
/// Values, adjoints and tangents are rows of units, `[n, m, units]`: m is 1 for what belongs to the
/// example itself and the number of directions for tangents.
#[derive(Clone, Debug)]
pub(super) struct Segment<B: Backend> {
    groups: Vec<Group<B>>,
}

/// Nodes one after another; with `skip`, their input is added to their output.
#[derive(Clone, Debug)]
pub(super) struct Group<B: Backend> {
    pub(super) nodes: Vec<Linear<B>>,
    pub(super) skip: bool,
}

/// A node at the point, before the way back.
pub(super) struct Passed<B: Backend> {
    before: Tensor<B, 3>,
    slope: Tensor<B, 3>,
}

/// A node `y = f(a)` at the point, `[n, 1, units]`.
pub(super) struct Node<B: Backend> {
    before: Tensor<B, 3>,
    /// `f'(a)`
    slope: Tensor<B, 3>,
    /// `u = dU/dy`
    adjoint: Tensor<B, 3>,
}

/// A node's tangents in all directions and what the weights `W` make of them.
pub(super) struct Weighted<B: Backend> {
    /// `a'_j`, `[n, m, units]`
    pub(super) tangents: Tensor<B, 3>,
    /// `sum_k W_jk a'_k`, `[n, m, units]`
    pub(super) partners: Tensor<B, 3>,
    /// `sum_jk W_jk a'_j a'_k`, `[n, 1, units]`
    pub(super) quadratic: Tensor<B, 3>,
    /// `A''`: the second-order Taylor coefficient summed with the weights, `[n, 1, units]`
    pub(super) laplacian: Tensor<B, 3>,
}

impl<B: Backend> Node<B> {
    /// `u f''(a)`: what the node adds to the Hessian in its own input.
    fn bend(&self) -> Tensor<B, 3> {
        let [second, _] = gelu_bends(self.before.clone());
        self.adjoint.clone() * second
    }
}

impl<B: Backend> Weighted<B> {
    pub(super) fn new(
        tangents: Tensor<B, 3>,
        laplacian: Tensor<B, 3>,
        weights: &Tensor<B, 3>,
    ) -> Self {
        let partners = multiply(weights.clone(), tangents.clone());
        Self {
            quadratic: quadratic(tangents.clone(), partners.clone()),
            tangents,
            partners,
            laplacian,
        }
    }
}

impl<B: Backend> Segment<B> {
    pub(super) fn new(groups: Vec<Group<B>>) -> Self {
        Self { groups }
    }

    /// The units of all nodes together.
    pub(super) fn units(&self) -> usize {
        let nodes = self.groups.iter().flat_map(|group| &group.nodes);
        nodes.map(Linear::outputs).sum()
    }

    /// Takes tensors through the linear maps; `node` makes a node's outputs of its inputs.
    fn down<const K: usize>(
        &self,
        x: [Tensor<B, 3>; K],
        linear: impl Fn(&Linear<B>, Tensor<B, 3>) -> Tensor<B, 3>,
        mut node: impl FnMut(usize, [Tensor<B, 3>; K]) -> [Tensor<B, 3>; K],
    ) -> [Tensor<B, 3>; K] {
        let mut at = 0;
        self.groups.iter().fold(x, |x, group| {
            let skip = group.skip.then(|| x.clone());
            let y = group.nodes.iter().fold(x, |x, map| {
                let before = x.map(|x| linear(map, x));
                at += 1;
                node(at - 1, before)
            });
            plus(y, skip)
        })
    }

    /// Takes tensors back through the transposed maps; `node` makes what belongs to a node's input
    /// of what belongs to its output.
    fn up<const K: usize>(
        &self,
        y: [Tensor<B, 3>; K],
        mut node: impl FnMut(usize, [Tensor<B, 3>; K]) -> [Tensor<B, 3>; K],
    ) -> [Tensor<B, 3>; K] {
        let mut at: usize = self.groups.iter().map(|group| group.nodes.len()).sum();
        self.groups.iter().rev().fold(y, |y, group| {
            let skip = group.skip.then(|| y.clone());
            let x = group.nodes.iter().rev().fold(y, |y, map| {
                at -= 1;
                node(at, y).map(|g| map.transposed(g))
            });
            plus(x, skip)
        })
    }

    /// The value, and what its nodes keep for [`adjoint`](Self::adjoint).
    pub(super) fn value(&self, x: Tensor<B, 3>) -> (Tensor<B, 3>, Vec<Passed<B>>) {
        let mut passed = Vec::new();
        let [y] = self.down([x], Linear::value, |_, [before]| {
            let (y, slope) = gelu_with_slope(before.clone());
            passed.push(Passed { before, slope });
            [y]
        });
        (y, passed)
    }

    /// From the adjoint of the output to that of the input; the nodes with theirs.
    pub(super) fn adjoint(
        &self,
        y: Tensor<B, 3>,
        mut passed: Vec<Passed<B>>,
    ) -> (Tensor<B, 3>, Vec<Node<B>>) {
        let mut nodes = Vec::with_capacity(passed.len());
        let [x] = self.up([y], |_, [adjoint]| {
            let Some(Passed { before, slope }) = passed.pop() else {
                unreachable!("a node that was not passed on the way down")
            };
            let through = adjoint.clone() * slope.clone();
            nodes.push(Node {
                before,
                slope,
                adjoint,
            });
            [through]
        });
        nodes.reverse();
        (x, nodes)
    }

    /// Tangents of the output from tangents of the input, and the part of the Hessian in the
    /// directions that the nodes between add: `sum J^T diag(u f'') J`, `[n, m, m]`.
    pub(super) fn hessian(
        &self,
        x: Tensor<B, 3>,
        nodes: &[Node<B>],
    ) -> (Tensor<B, 3>, Tensor<B, 3>) {
        let [n, m, _] = x.dims();
        let mut sum = Tensor::zeros([n, m, m], &x.device());
        let [y] = self.down([x], Linear::apply, |i, [tangents]| {
            sum = sum.clone() + gram(tangents.clone(), nodes[i].bend());
            [times(tangents, nodes[i].slope.clone())]
        });
        (y, sum)
    }

    /// Tangents of the output, and those before every node.
    pub(super) fn tangents(
        &self,
        x: Tensor<B, 3>,
        nodes: &[Node<B>],
    ) -> (Tensor<B, 3>, Vec<Tensor<B, 3>>) {
        let mut kept = Vec::with_capacity(nodes.len());
        let [y] = self.down([x], Linear::apply, |i, [tangents]| {
            kept.push(tangents.clone());
            [times(tangents, nodes[i].slope.clone())]
        });
        (y, kept)
    }

    /// From adjoint tangents of the output to those of the input: `f' y + u f'' a'` at each node.
    pub(super) fn adjoint_tangents(
        &self,
        y: Tensor<B, 3>,
        nodes: &[Node<B>],
        tangents: &[Tensor<B, 3>],
    ) -> Tensor<B, 3> {
        let [x] = self.up([y], |i, [y]| {
            let (node, tangents) = (&nodes[i], tangents[i].clone());
            [combine([y, node.slope.clone()], [tangents, node.bend()])]
        });
        x
    }

    /// Tangents and weighted second-order coefficients (`[n, m, units]` and `[n, 1, units]`) of the
    /// output, `Y'' = f' A'' + f'' sum_jk W_jk a'_j a'_k` at each node; weights `[n, m, m]`.
    pub(super) fn weighted(
        &self,
        x: [Tensor<B, 3>; 2],
        weights: &Tensor<B, 3>,
        nodes: &[Node<B>],
    ) -> ([Tensor<B, 3>; 2], Vec<Weighted<B>>) {
        let mut kept = Vec::with_capacity(nodes.len());
        let y = self.down(x, Linear::apply, |i, [tangents, laplacian]| {
            let node = &nodes[i];
            let [second, _] = gelu_bends(node.before.clone());
            let before = Weighted::new(tangents, laplacian, weights);
            let after = [
                times(before.tangents.clone(), node.slope.clone()),
                node.slope.clone() * before.laplacian.clone() + second * before.quadratic.clone(),
            ];
            kept.push(before);
            after
        });
        (y, kept)
    }

    /// The part of the Hessian that the nodes add, from the tangents kept.
    pub(super) fn hessian_of(&self, nodes: &[Node<B>], kept: &[Weighted<B>]) -> Tensor<B, 3> {
        let grams = nodes
            .iter()
            .zip(kept)
            .map(|(node, kept)| gram(kept.tangents.clone(), node.bend()));
        match grams.reduce(|sum, gram| sum + gram) {
            Some(sum) => sum,
            None => unreachable!("a segment without nodes"),
        }
    }

    /// From the adjoints of the output in `T = tr(W H)` to those of the input: of its tangents
    /// (halved) and of its value. At each node, `y` the adjoint tangents and `p` the value's,
    ///
    /// ```text
    /// a_j = f' y_j + u f'' sum_k W_jk a'_k
    /// a_p = f' y_p + 2 f'' sum_j a'_j y_j + u (f'' A'' + f''' sum_jk W_jk a'_j a'_k)
    /// ```
    pub(super) fn third(
        &self,
        y: [Tensor<B, 3>; 2],
        nodes: &[Node<B>],
        kept: &[Weighted<B>],
    ) -> [Tensor<B, 3>; 2] {
        self.up(y, |i, [y, value]| {
            let (node, kept) = (&nodes[i], &kept[i]);
            let [second, third] = gelu_bends(node.before.clone());
            let crossed = quadratic(kept.tangents.clone(), y.clone());
            let bend = node.adjoint.clone() * second.clone();
            let value = value * node.slope.clone()
                + second * crossed * 2.0
                + bend.clone() * kept.laplacian.clone()
                + node.adjoint.clone() * third * kept.quadratic.clone();
            let tangents = combine([y, node.slope.clone()], [kept.partners.clone(), bend]);
            [tangents, value]
        })
    }
}

fn plus<B: Backend, const K: usize>(
    sum: [Tensor<B, 3>; K],
    skip: Option<[Tensor<B, 3>; K]>,
) -> [Tensor<B, 3>; K] {
    let Some(skip) = skip else { return sum };
    let mut skip = skip.into_iter();
    sum.map(|sum| match skip.next() {
        Some(skip) => sum + skip,
        None => sum,
    })
}
