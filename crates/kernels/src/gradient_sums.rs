//! Sums that tell whether a gradient is finite, and how long it is.

use cubecl::{prelude::*, server::Handle};

use crate::several;

const THREADS: usize = 256;
/// Cubes that share a tensor, and so its partial sums.
const CUBES: usize = 64;

/// The sum and the sum of squares of each gradient, each with its number of values. Always added in the same
/// order.
pub fn gradient_sums<R: Runtime>(
    client: &ComputeClient<R>,
    gradients: &[(Handle, usize)],
) -> Vec<[f64; 2]> {
    let length = gradients.len() * CUBES * 2;
    let parts = client.empty(length * 4);
    let at_once = several::at_once(client, 1, 1).min(gradients.len()).max(1);
    for (number, some) in gradients.chunks(at_once).enumerate() {
        let arrays = some.iter().map(|(gradient, count)| (gradient, *count));
        // SAFETY: the gradients have their counts, and the parts have room for every cube's.
        unsafe {
            add::launch_unchecked::<R>(
                client,
                CubeCount::Static(CUBES as u32, some.len() as u32, 1),
                CubeDim::new_1d(THREADS as u32),
                several::arguments(arrays, at_once),
                ArrayArg::from_raw_parts(parts.clone(), length),
                number * at_once,
                crate::SOURCES,
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

/// `before`: gradients of the launches before this one.
#[cube(launch_unchecked)]
fn add(
    gradients: &Sequence<Array<f32>>,
    parts: &mut Array<f32>,
    before: usize,
    #[comptime] _sources: u64,
) {
    let mut sum = 0.0f32;
    let mut squares = 0.0f32;
    let arrays = comptime!(gradients.len());
    #[unroll]
    for which in 0..arrays {
        if CUBE_POS_Y as usize == which {
            let gradient = gradients.index(which);
            let mut i = CUBE_POS_X as usize * THREADS + UNIT_POS as usize;
            while i < gradient.len() {
                let g = gradient[i];
                sum += g;
                squares += g * g;
                i += comptime!(THREADS * CUBES);
            }
        }
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
        let cube = (before + CUBE_POS_Y as usize) * CUBES + CUBE_POS_X as usize;
        parts[cube * 2 + unit] = shared[unit * THREADS];
    }
}
