//! Masked networks and inverse autoregressive flows.
#![allow(clippy::unwrap_used)]

use burn::{
    backend::{Autodiff, Flex},
    module::{Module, ModuleMapper, Param},
    prelude::*,
    tensor::Tolerance,
};
use nalgebra::DMatrix;
use shortrun_baselines::{Flow, Gaussian, IafConfig, Made};
use shortrun_langevin::Purpose;
use shortrun_model::Init;

type Tape = Autodiff<Flex>;

const WIDTH: usize = 11;
const SETTINGS: IafConfig = IafConfig {
    steps: 3,
    depth: 2,
    width: Some(WIDTH),
};

/// Larger weights than at the start of learning, so that nothing is nearly linear.
struct Larger;

impl<B: Backend> ModuleMapper<B> for Larger {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        param.map(|weight| (weight * 2.0).detach())
    }
}

fn init<B: Backend>(device: &B::Device) -> Init<'_, B> {
    Init::new(3, Purpose::InferenceWeights, device)
}

fn flow<B: Backend>(d: usize) -> Flow<B> {
    let device = Default::default();
    Flow::new(d, &SETTINGS, &mut init(&device)).map(&mut Larger)
}

fn values<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// `rows[i][j] = d output_i / d input_j` of one example. (A backward pass uses up its tape, so each row
/// has its own.)
fn jacobian(
    output: impl Fn(Tensor<Tape, 2>) -> Tensor<Tape, 2>,
    input: &Tensor<Tape, 2>,
) -> Vec<Vec<f64>> {
    let row = |i: usize| {
        let gradients = output(input.clone()).slice_dim(1, i..=i).sum().backward();
        let gradient = input.grad(&gradients);
        gradient.map_or_else(|| vec![0.0; input.dims()[1]], values)
    };
    let rows = output(input.clone()).dims()[1];
    (0..rows).map(row).collect()
}

fn tracked<const D: usize>(values: [f32; D]) -> Tensor<Tape, 2> {
    Tensor::<Tape, 2>::from_data([values], &Default::default()).require_grad()
}

#[test]
fn outputs_depend_on_the_inputs_before_and_on_the_context_alone() {
    let device = Default::default();
    let (latents, context) = (
        tracked([0.3, -0.2, 0.9, -1.1, 0.4]),
        tracked([0.2, -0.4, 0.1, 0.5, -0.3, 0.8, 0.6, -0.9, 0.7, -0.6, 1.0]),
    );
    for reversed in [false, true] {
        let made: Made<Tape> = Made::new(5, &SETTINGS, reversed, &mut init(&device));
        let outputs = |z, context| {
            let (m, s) = made.forward(z, context);
            Tensor::cat(vec![m, s], 1)
        };
        let of_latents = jacobian(|z| outputs(z, context.clone()), &latents);
        for (i, row) in of_latents.iter().enumerate() {
            for (j, slope) in row.iter().enumerate() {
                let before = if reversed { j > i % 5 } else { j < i % 5 };
                assert_eq!(*slope != 0.0, before, "{reversed}: output {i}, input {j}");
            }
        }
        let of_context = jacobian(|context| outputs(latents.clone(), context), &context);
        assert!(of_context.iter().flatten().all(|slope| *slope != 0.0));
    }
}

fn log_abs_det(matrix: Vec<Vec<f64>>) -> f64 {
    let n = matrix.len();
    let matrix = DMatrix::from_row_iterator(n, n, matrix.into_iter().flatten());
    matrix.determinant().abs().ln()
}

#[test]
fn the_determinant_is_that_of_the_jacobian() {
    let latents = tracked([0.3, -0.8, 1.9, -1.1]);
    let context = tracked([0.2, -0.4, 0.1, 0.5, -0.3, 0.8, 0.6, -0.9, 0.7, -0.6, 1.0]);
    let flow = flow::<Tape>(4);
    let end = |z| flow.forward(z, context.clone());
    let expected = log_abs_det(jacobian(|z| end(z).0, &latents));
    let (_, found) = end(latents);
    assert!(expected.abs() > 0.5, "the test's flow does too little");
    let found = values(found)[0];
    assert!((found - expected).abs() < 1e-5, "{found}, not {expected}");
}

/// The start of a flow that ends at `z`: each step's network, run on what is known so far, settles one
/// more coordinate.
fn inverse(flow: &Flow<Flex>, z: Tensor<Flex, 2>, context: &Tensor<Flex, 2>) -> Tensor<Flex, 2> {
    let d = z.dims()[1];
    flow.steps.iter().rev().fold(z, |after, made| {
        (0..d).fold(after.clone(), |before, _| {
            let (m, s) = made.forward(before, context.clone());
            let gate = burn::tensor::activation::sigmoid(s + 2.0);
            (after.clone() - (-gate.clone() + 1.0) * m) / gate
        })
    })
}

#[test]
fn the_density_integrates_to_one() {
    let flow = flow::<Flex>(2);
    let (points, width) = (400, 0.05);
    let n = points * points;
    let device = Default::default();
    let axis = |stride: i64| {
        let index = Tensor::<Flex, 1, Int>::arange(0..n as i64, &device) / stride;
        let cell = index.remainder_scalar(points as i64).float();
        (cell + 0.5) * width - 0.5 * width * points as f64
    };
    let grid: Tensor<Flex, 2> = Tensor::stack(vec![axis(1), axis(points as i64)], 1);
    let context = Tensor::<Flex, 2>::ones([n, WIDTH], &device) * 0.7;
    let start = Gaussian {
        mean: Tensor::ones([n, 2], &device) * 0.4,
        scale: Tensor::ones([n, 2], &device) * 0.6,
    };

    let begin = inverse(&flow, grid.clone(), &context);
    let noise = (begin - start.mean.clone()) / start.scale.clone();
    let (z, divergence) = flow.posterior(&start, context, noise);
    z.into_data()
        .assert_approx_eq::<f32>(&grid.to_data(), Tolerance::absolute(1e-3));
    // log q - log p is the divergence, and p is standard normal.
    let squares = grid.square().sum_dim(1).squeeze_dim::<1>(1);
    let density = (divergence - squares * 0.5).exp() / (2.0 * std::f64::consts::PI);
    let mass = values(density).iter().sum::<f64>() * width * width;
    assert!((mass - 1.0).abs() < 1e-3, "{mass}");
}
