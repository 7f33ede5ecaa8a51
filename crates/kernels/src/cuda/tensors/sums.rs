//! Sums in a fixed order.

use cubecl::{cuda::CudaRuntime, prelude::*, server::Handle};

use super::Client;

const THREADS: u32 = 128;

/// `[n, units]`: for each of n the sums over rows of `a b`, both `[n, rows, units]`.
pub fn column_products(client: &Client, a: Handle, b: Handle, shape: [usize; 3]) -> Handle {
    let [n, rows, units] = shape;
    let to = client.empty(n * units * 4);
    // SAFETY: both have the shape's values, and units beyond it are left out.
    unsafe {
        columns::launch_unchecked::<CudaRuntime>(
            client,
            CubeCount::Static(units.div_ceil(THREADS as usize) as u32, n as u32, 1),
            CubeDim::new_1d(THREADS),
            ArrayArg::from_raw_parts(a, n * rows * units),
            ArrayArg::from_raw_parts(b, n * rows * units),
            ArrayArg::from_raw_parts(to.clone(), n * units),
            rows as u32,
            units as u32,
            crate::SOURCES,
        );
    }
    to
}

#[cube(launch_unchecked)]
fn columns(
    a: &Array<f32>,
    b: &Array<f32>,
    to: &mut Array<f32>,
    rows: u32,
    units: u32,
    #[comptime] _sources: u64,
) {
    let unit = ABSOLUTE_POS_X as usize;
    let units = units as usize;
    if unit < units {
        let at = CUBE_POS_Y as usize * rows as usize * units + unit;
        let mut sums = Array::<f32>::new(4usize);
        #[unroll]
        for j in 0..4usize {
            sums[j] = 0.0;
        }
        let whole = rows as usize / 4 * 4;
        let mut row = 0usize;
        while row < whole {
            #[unroll]
            for j in 0..4usize {
                let o = at + (row + j) * units;
                sums[j] += a[o] * b[o];
            }
            row += 4;
        }
        while row < rows as usize {
            let o = at + row * units;
            sums[0] += a[o] * b[o];
            row += 1;
        }
        to[CUBE_POS_Y as usize * units + unit] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    }
}

/// The sum of `parts` stretches of `count` values each.
pub(super) fn add_parts(client: &Client, from: Handle, parts: usize, count: usize) -> Handle {
    let to = client.empty(count * 4);
    // SAFETY: `from` has `parts * count` values.
    unsafe {
        add::launch_unchecked::<CudaRuntime>(
            client,
            CubeCount::Static(count.div_ceil(THREADS as usize) as u32, 1, 1),
            CubeDim::new_1d(THREADS),
            ArrayArg::from_raw_parts(from, parts * count),
            ArrayArg::from_raw_parts(to.clone(), count),
            parts as u32,
            count as u32,
            crate::SOURCES,
        );
    }
    to
}

#[cube(launch_unchecked)]
fn add(from: &Array<f32>, to: &mut Array<f32>, parts: u32, count: u32, #[comptime] _sources: u64) {
    if ABSOLUTE_POS < count as usize {
        let mut sum = 0.0f32;
        for part in 0..parts {
            sum += from[part as usize * count as usize + ABSOLUTE_POS];
        }
        to[ABSOLUTE_POS] = sum;
    }
}
