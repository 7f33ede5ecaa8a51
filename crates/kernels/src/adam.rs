//! Adam in one launch a tensor, and the sums that tell whether a gradient is finite.

use cubecl::{prelude::*, server::Handle};

const THREADS: usize = 256;
/// Cubes that share a tensor, and so its partial sums, at most.
const CUBES: usize = 64;

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

/// New weights and moments from `count` weights, their gradient, and their moments (none before the
/// first update).
pub fn adam<R: Runtime>(
    client: &ComputeClient<R>,
    weights: Handle,
    gradient: Handle,
    moments: Option<[Handle; 2]>,
    count: usize,
    step: AdamStep,
) -> [Handle; 3] {
    let first = moments.is_none();
    let [m, v] = moments.unwrap_or_else(|| [gradient.clone(), gradient.clone()]);
    let made = [(); 3].map(|()| client.empty(count * 4));
    let array = |handle: &Handle| {
        // SAFETY: all hold `count` values.
        unsafe { ArrayArg::from_raw_parts(handle.clone(), count) }
    };
    // SAFETY: as above; threads beyond `count` do nothing.
    unsafe {
        update::launch_unchecked::<R>(
            client,
            CubeCount::Static(count.div_ceil(THREADS) as u32, 1, 1),
            CubeDim::new_1d(THREADS as u32),
            array(&weights),
            array(&gradient),
            array(&m),
            array(&v),
            array(&made[0]),
            array(&made[1]),
            array(&made[2]),
            count as u32,
            step.rate,
            step.beta1,
            step.beta2,
            step.epsilon,
            first,
        );
    }
    made
}

#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn update(
    weights: &Array<f32>,
    gradient: &Array<f32>,
    m: &Array<f32>,
    v: &Array<f32>,
    to_weights: &mut Array<f32>,
    to_m: &mut Array<f32>,
    to_v: &mut Array<f32>,
    count: u32,
    rate: f32,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    #[comptime] first: bool,
) {
    let i = ABSOLUTE_POS;
    if i < count as usize {
        let g = gradient[i];
        let mut mean = g * (1.0 - beta1);
        let mut square = g * g * (1.0 - beta2);
        if comptime!(!first) {
            mean += m[i] * beta1;
            square += v[i] * beta2;
        }
        to_m[i] = mean;
        to_v[i] = square;
        to_weights[i] = weights[i] - rate * mean / (square.sqrt() + epsilon);
    }
}

/// The sum and the sum of squares of each gradient, each with its number of values.
pub fn sums<R: Runtime>(client: &ComputeClient<R>, gradients: &[(Handle, usize)]) -> Vec<[f64; 2]> {
    let length = gradients.len() * CUBES * 2;
    let parts = client.empty(length * 4);
    for (number, (gradient, count)) in gradients.iter().enumerate() {
        // SAFETY: the gradient has `count` values, and the parts have room for every cube's.
        unsafe {
            add::launch_unchecked::<R>(
                client,
                CubeCount::Static(CUBES as u32, 1, 1),
                CubeDim::new_1d(THREADS as u32),
                ArrayArg::from_raw_parts(gradient.clone(), *count),
                ArrayArg::from_raw_parts(parts.clone(), length),
                *count as u32,
                (number * CUBES * 2) as u32,
            );
        }
    }
    let bytes = client.read_one_unchecked(parts);
    bytemuck::cast_slice::<u8, f32>(&bytes)
        .chunks_exact(CUBES * 2)
        .map(|of_one| {
            let sum = |which: usize| {
                of_one
                    .iter()
                    .skip(which)
                    .step_by(2)
                    .map(|v| f64::from(*v))
                    .sum()
            };
            [sum(0), sum(1)]
        })
        .collect()
}

#[cube(launch_unchecked)]
fn add(gradient: &Array<f32>, parts: &mut Array<f32>, count: u32, to: u32) {
    let mut sum = 0.0f32;
    let mut squares = 0.0f32;
    let mut i = ABSOLUTE_POS;
    while i < count as usize {
        let g = gradient[i];
        sum += g;
        squares += g * g;
        i += comptime!(THREADS * CUBES);
    }
    let unit = UNIT_POS as usize;
    let mut shared = SharedMemory::<f32>::new(comptime!(2 * THREADS));
    shared[unit] = sum;
    shared[THREADS + unit] = squares;
    sync_cube();
    // Halves onto halves, on any width of the hardware's planes.
    let mut width = comptime!(THREADS / 2).runtime();
    while width > 0 {
        if unit < width {
            shared[unit] += shared[unit + width];
            shared[THREADS + unit] += shared[THREADS + unit + width];
        }
        sync_cube();
        width /= 2;
    }
    if unit < 2 {
        parts[to as usize + CUBE_POS * 2 + unit] = shared[unit * THREADS];
    }
}
