//! Adam, many tensors a launch.

use cubecl::{prelude::*, server::Handle};

use crate::{layout::Layout, several};

const THREADS: usize = 256;

/// One update: moments decay by the betas, and weights move by
/// `rate correction m / (sqrt(v) + epsilon)`.
#[derive(Clone, Copy, Debug)]
pub struct AdamStep {
    /// The learning rate times the moments' bias correction.
    pub rate: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Keeps the denominator from 0; bias-corrected.
    pub epsilon: f32,
}

/// What an update works on: arrays of `count` values each.
#[derive(Clone, Debug)]
pub struct AdamTensor {
    /// The weights.
    pub weights: Handle,
    /// Their gradient.
    pub gradient: Handle,
    /// Their moments; none before the first update.
    pub moments: Option<[Handle; 2]>,
    /// How many weights there are.
    pub count: usize,
}

/// New weights and moments of each tensor: parts of three arrays.
pub fn adam<R: Runtime>(
    client: &ComputeClient<R>,
    tensors: &[AdamTensor],
    step: AdamStep,
) -> Vec<[Handle; 3]> {
    let layout = Layout::of(tensors.iter().map(|tensor| tensor.count));
    let made = [(); 3].map(|()| client.empty(layout.length * 4));
    for first in [true, false] {
        let placed = tensors.iter().zip(&layout.tensors);
        let placed: Vec<_> = placed
            .filter(|(tensor, _)| tensor.moments.is_none() == first)
            .map(|(tensor, own)| (tensor, own.start))
            .collect();
        let each = if first { 2 } else { 4 };
        let at_once = several::at_once(client, each, made.len()).min(placed.len());
        for some in placed.chunks(at_once.max(1)) {
            launch(client, some, at_once, &made, layout.length, step);
        }
    }
    let [weights, m, v] = made.map(|array| layout.views(&array));
    let made = weights.into_iter().zip(m).zip(v);
    made.map(|((weights, m), v)| [weights, m, v]).collect()
}

/// For some tensors, all with moments or all without, to their places in arrays of `length` values.
fn launch<R: Runtime>(
    client: &ComputeClient<R>,
    tensors: &[(&AdamTensor, usize)],
    at_once: usize,
    made: &[Handle; 3],
    length: usize,
    step: AdamStep,
) {
    let with_moments = tensors.iter().filter_map(|(tensor, _)| {
        let [m, v] = tensor.moments.as_ref()?;
        Some((m, v, tensor.count))
    });
    let first = with_moments.clone().next().is_none();
    let moments = if first { 0 } else { at_once };
    let weights = tensors.iter().map(|(of, _)| (&of.weights, of.count));
    let gradients = tensors.iter().map(|(of, _)| (&of.gradient, of.count));
    let begin = tensors.iter().map(|(_, begin)| *begin);
    let longest = tensors.iter().map(|(of, _)| of.count).max();
    // SAFETY: a tensor's arrays have its count, and the made ones room for all, by the caller's word.
    unsafe {
        update::launch_unchecked::<R>(
            client,
            several::cubes(longest.unwrap_or(0), THREADS, tensors.len()),
            CubeDim::new_1d(THREADS as u32),
            several::arguments(weights, at_once),
            several::arguments(gradients, at_once),
            several::arguments(
                with_moments.clone().map(|(m, _, count)| (m, count)),
                moments,
            ),
            several::arguments(with_moments.map(|(_, v, count)| (v, count)), moments),
            begin.cycle().take(at_once).collect(),
            ArrayArg::from_raw_parts(made[0].clone(), length),
            ArrayArg::from_raw_parts(made[1].clone(), length),
            ArrayArg::from_raw_parts(made[2].clone(), length),
            step.rate,
            step.beta1,
            step.beta2,
            step.epsilon,
            first,
            crate::SOURCES,
        );
    }
}

#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn update(
    weights: &Sequence<Array<f32>>,
    gradients: &Sequence<Array<f32>>,
    m: &Sequence<Array<f32>>,
    v: &Sequence<Array<f32>>,
    begin: &Sequence<usize>,
    to_weights: &mut Array<f32>,
    to_m: &mut Array<f32>,
    to_v: &mut Array<f32>,
    rate: f32,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    #[comptime] first: bool,
    #[comptime] _sources: u64,
) {
    let tensors = comptime!(weights.len());
    #[unroll]
    for which in 0..tensors {
        if CUBE_POS_Y as usize == which {
            let own = weights.index(which);
            let at = *begin.index(which);
            let mut i = CUBE_POS_X as usize * THREADS + UNIT_POS as usize;
            while i < own.len() {
                let g = gradients.index(which)[i];
                let mut mean = g * (1.0 - beta1);
                let mut square = g * g * (1.0 - beta2);
                if comptime!(!first) {
                    mean += m.index(which)[i] * beta1;
                    square += v.index(which)[i] * beta2;
                }
                to_m[at + i] = mean;
                to_v[at + i] = square;
                to_weights[at + i] = own[i] - rate * mean / (square.sqrt() + epsilon);
                i += CUBE_COUNT_X as usize * THREADS;
            }
        }
    }
}
