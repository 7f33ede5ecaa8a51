//! The chain against a linear-Gaussian posterior, where everything is closed form.
//!
//! With `x = W e + N(0, σ²)` and `e ~ N(0, I)` the energy is quadratic with Hessian
//! `H = I + WᵀW / σ²`, so one Langevin step is `e ← A e + s Wᵀx/σ² + sqrt(2s) n`, `A = I - s H`,
//! and the chain's mean and covariance follow by recursion.
#![allow(clippy::unwrap_used)]

use burn::{prelude::*, tensor::TensorData};
use nalgebra::{DMatrix, DVector};
use shortrun_langevin::{
    ByAutodiff, EnergyGradient, Noise, NoiseKey, Posterior, Purpose, Run, ShortRun, StepSize,
};

const D: usize = 3;
const W: [[f64; D]; D] = [[1.2, -0.3, 0.1], [0.2, 0.9, -0.4], [-0.1, 0.3, 0.8]];
const X: [f64; D] = [0.6, -0.4, 0.9];
const SIGMA: f64 = 0.5;

/// The posterior, with both signs of wrongness that a sampler can have.
#[derive(Clone, Copy)]
struct Linear {
    /// 1, or -1 for a chain that climbs.
    drift_sign: f64,
}

impl<B: Backend> Posterior<B> for Linear {
    fn energy(&self, latents: Tensor<B, 2>) -> Tensor<B, 1> {
        let device = latents.device();
        let w = Tensor::<B, 2>::from_data(TensorData::from(W), &device);
        let x = Tensor::<B, 1>::from_data(TensorData::from(X), &device).unsqueeze_dim::<2>(0);
        let residual = x - latents.clone().matmul(w.transpose());
        let energy = (latents.square().sum_dim(1) / 2.0)
            + residual.square().sum_dim(1) / (2.0 * SIGMA * SIGMA);
        energy.squeeze_dim::<1>(1) * self.drift_sign
    }
}

const RIGHT: Linear = Linear { drift_sign: 1.0 };

fn hessian() -> DMatrix<f64> {
    let w = DMatrix::from_fn(D, D, |i, j| W[i][j]);
    DMatrix::identity(D, D) + w.transpose() * w / (SIGMA * SIGMA)
}

fn pull() -> DVector<f64> {
    let w = DMatrix::from_fn(D, D, |i, j| W[i][j]);
    w.transpose() * DVector::from_row_slice(&X) / (SIGMA * SIGMA)
}

/// Mean and covariance after `steps` steps from N(0, I).
fn chain_law(steps: usize, s: f64) -> (DVector<f64>, DMatrix<f64>) {
    let a = DMatrix::identity(D, D) - hessian() * s;
    let (mut mean, mut covariance) = (DVector::zeros(D), DMatrix::identity(D, D));
    for _ in 0..steps {
        mean = &a * mean + pull() * s;
        covariance = &a * covariance * a.transpose() + DMatrix::identity(D, D) * (2.0 * s);
    }
    (mean, covariance)
}

fn posterior_law() -> (DVector<f64>, DMatrix<f64>) {
    let covariance = hessian().try_inverse().unwrap();
    (&covariance * pull(), covariance)
}

fn key(purpose: Purpose) -> NoiseKey {
    NoiseKey {
        seed: 11,
        iteration: 0,
        purpose,
    }
}

fn run<B: Backend>(
    posterior: &impl EnergyGradient<B>,
    chains: usize,
    steps: usize,
    step: StepSize,
    noise_scale: f64,
    device: &B::Device,
) -> Run<B> {
    let start = key(Purpose::Start).normal([chains, D], 0, device);
    let noise = (0..steps)
        .map(|k| {
            let noise = key(Purpose::Langevin).normal::<B, 2>([chains, D], k as u64, device);
            (noise * noise_scale).unsqueeze_dim::<3>(0)
        })
        .collect();
    let noise = Noise::Given(Tensor::cat(noise, 0));
    ShortRun::new(steps, step)
        .unwrap()
        .run(posterior, start, noise)
        .unwrap()
}

/// The largest error of any entry of the sample mean and covariance.
fn law_error<B: Backend>(latents: Tensor<B, 2>, law: &(DVector<f64>, DMatrix<f64>)) -> f64 {
    let n = latents.dims()[0];
    let rows: Vec<f32> = latents.into_data().to_vec().unwrap();
    let (mut sum, mut outer) = (DVector::zeros(D), DMatrix::zeros(D, D));
    for row in rows.chunks_exact(D) {
        let e = DVector::from_iterator(D, row.iter().map(|v| f64::from(*v)));
        outer += &e * e.transpose();
        sum += e;
    }
    let mean = sum / n as f64;
    let covariance = outer / n as f64 - &mean * mean.transpose();
    (mean - &law.0).amax().max((covariance - &law.1).amax())
}

type Cpu = burn::backend::Flex;

/// 4,000,000 chains: a variance of v is estimated with a standard error of `v sqrt(2 / n)`, at most
/// 3e-4 for the variances here (below 0.4), so 1e-3 is more than three of them.
#[test]
fn ten_steps_have_the_closed_form_law_and_wrong_chains_have_not() {
    let step = StepSize::from_drift(0.1).unwrap();
    let law = chain_law(10, step.drift());
    let error = |posterior: Linear, chains: usize, noise_scale: f64| {
        let run = run::<Cpu>(
            &ByAutodiff(posterior),
            chains,
            10,
            step,
            noise_scale,
            &Default::default(),
        );
        law_error(run.latents, &law)
    };
    let right = error(RIGHT, 4_000_000, 1.0);
    assert!(right < 1e-3, "off by {right}");
    let climbing = error(Linear { drift_sign: -1.0 }, 20_000, 1.0);
    assert!(climbing > 0.1, "a wrong drift sign passed: {climbing}");
    let cold = error(RIGHT, 20_000, 0.5_f64.sqrt());
    assert!(cold > 0.1, "a missing sqrt(2) passed: {cold}");
}

/// 600 steps of drift 0.005 forget the start (curvatures here are above 3, and 0.985^600 = 1e-4);
/// the step itself biases a variance by `s h / 2`, 2 % at most, of 0.3; 200,000 chains.
#[test]
fn a_long_chain_of_small_steps_reaches_the_posterior() {
    let step = StepSize::from_drift(0.005).unwrap();
    let run = run::<Cpu>(
        &ByAutodiff(RIGHT),
        200_000,
        600,
        step,
        1.0,
        &Default::default(),
    );
    let error = law_error(run.latents, &posterior_law());
    assert!(error < 0.01, "off by {error}");
}

fn one_trajectory_matches<B: Backend>(device: &B::Device) {
    let step = StepSize::from_drift(0.05).unwrap();
    let (chains, steps) = (4, 25);
    let start = key(Purpose::Start).normal::<B, 2>([chains, D], 0, device);
    let run = ShortRun::new(steps, step)
        .unwrap()
        .with_trace()
        .run(
            &ByAutodiff(RIGHT),
            start.clone(),
            Noise::Keyed(key(Purpose::Langevin)),
        )
        .unwrap();
    let trace = run.trace.unwrap();
    let host = |t: Tensor<B, 3>| -> Vec<f32> { t.into_data().to_vec().unwrap() };
    let (noise, positions) = (host(trace.noise), host(trace.positions));
    let row = |values: &[f32], index: usize| {
        DVector::from_iterator(D, values[index * D..][..D].iter().map(|v| f64::from(*v)))
    };
    for chain in 0..chains {
        let mut e = row(&positions, chain);
        for k in 0..steps {
            let n = row(&noise, k * chains + chain);
            let s = step.drift();
            e = &e - (hessian() * &e - pull()) * s + n * (2.0 * s).sqrt();
            let found = row(&positions, (k + 1) * chains + chain);
            let error = (&found - &e).amax();
            assert!(
                error < 1e-5,
                "chain {chain} is off by {error} after step {k}"
            );
        }
    }
    let last: Vec<f32> = run.latents.into_data().to_vec().unwrap();
    assert_eq!(last, positions[steps * chains * D..]);
}

#[test]
fn one_trajectory_matches_float64() {
    one_trajectory_matches::<Cpu>(&Default::default());
}

#[cfg(feature = "vulkan")]
#[test]
fn one_trajectory_matches_float64_on_vulkan() {
    one_trajectory_matches::<burn::backend::Vulkan>(&Default::default());
}

#[test]
fn same_key_same_numbers_and_zero_step_stays() {
    let device = Default::default();
    let go = |step: StepSize| -> Vec<f32> {
        let start = key(Purpose::Start).normal::<Cpu, 2>([5, D], 0, &device);
        let run = ShortRun::new(7, step)
            .unwrap()
            .run(
                &ByAutodiff(RIGHT),
                start,
                Noise::Keyed(key(Purpose::Langevin)),
            )
            .unwrap();
        run.latents.into_data().to_vec().unwrap()
    };
    let step = StepSize::from_eta(0.1).unwrap();
    assert_eq!(go(step), go(step));
    let start: Vec<f32> = key(Purpose::Start)
        .normal::<Cpu, 2>([5, D], 0, &device)
        .into_data()
        .to_vec()
        .unwrap();
    assert_eq!(go(StepSize::from_eta(0.0).unwrap()), start);
}
