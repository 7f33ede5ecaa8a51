//! GELU with its derivatives, and rows times an example's own factors, in one launch each.

use std::f32::consts::{FRAC_1_SQRT_2, PI};

use cubecl::{cuda::CudaRuntime, prelude::*, server::Handle};

use super::{Client, V4};

const THREADS: usize = 256;

/// GELU of `count` values, and its slope.
pub fn gelu_with_slope(client: &Client, x: Handle, count: usize) -> [Handle; 2] {
    gelu(client, x, count, true)
}

/// GELU's second and third derivatives at `count` values.
pub fn gelu_bends(client: &Client, x: Handle, count: usize) -> [Handle; 2] {
    gelu(client, x, count, false)
}

fn gelu(client: &Client, x: Handle, count: usize, value: bool) -> [Handle; 2] {
    let made = [(); 2].map(|()| client.empty(count * 4));
    // SAFETY: all hold `count` values; threads beyond do nothing.
    unsafe {
        gelu_parts::launch_unchecked::<CudaRuntime>(
            client,
            CubeCount::Static(count.div_ceil(THREADS) as u32, 1, 1),
            CubeDim::new_1d(THREADS as u32),
            ArrayArg::from_raw_parts(x, count),
            ArrayArg::from_raw_parts(made[0].clone(), count),
            ArrayArg::from_raw_parts(made[1].clone(), count),
            count as u32,
            value,
            crate::SOURCES,
        );
    }
    made
}

#[cube(launch_unchecked)]
fn gelu_parts(
    x: &Array<f32>,
    first: &mut Array<f32>,
    second: &mut Array<f32>,
    count: u32,
    #[comptime] value: bool,
    #[comptime] _sources: u64,
) {
    let i = ABSOLUTE_POS;
    if i < count as usize {
        let x = x[i];
        let density = (x * x * -0.5f32).exp() * comptime!(1.0 / (2.0 * PI).sqrt());
        if comptime!(value) {
            let cdf = ((x * FRAC_1_SQRT_2).erf() + 1.0) * 0.5;
            first[i] = x * cdf;
            second[i] = cdf + x * density;
        } else {
            first[i] = density * (2.0 - x * x);
            second[i] = density * (x * (x * x - 4.0));
        }
    }
}

/// `[n, m, units]`: rows a times the example's own factors `[n, 1, units]`, plus rows b times theirs if
/// there are any. `None` if units are no multiple of four.
pub fn combine(
    client: &Client,
    [n, m, units]: [usize; 3],
    a: [Handle; 2],
    b: Option<[Handle; 2]>,
) -> Option<Handle> {
    if !units.is_multiple_of(4) || n * m * units == 0 {
        return None;
    }
    let (vectors, both) = (units / 4, b.is_some());
    let [b, by_b] = b.unwrap_or_else(|| a.clone());
    let [a, by_a] = a;
    let to = client.empty(n * m * units * 4);
    // SAFETY: rows and factors hold what their shapes say, and units beyond are left out.
    unsafe {
        combined::launch_unchecked::<CudaRuntime>(
            client,
            CubeCount::Static(vectors.div_ceil(THREADS) as u32, m as u32, n as u32),
            CubeDim::new_1d(THREADS as u32),
            ArrayArg::from_raw_parts(a, n * m * vectors),
            ArrayArg::from_raw_parts(by_a, n * vectors),
            ArrayArg::from_raw_parts(b, if both { n * m * vectors } else { vectors }),
            ArrayArg::from_raw_parts(by_b, n * vectors),
            ArrayArg::from_raw_parts(to.clone(), n * m * vectors),
            vectors as u32,
            both,
            crate::SOURCES,
        );
    }
    Some(to)
}

#[cube(launch_unchecked)]
fn combined(
    a: &Array<V4>,
    by_a: &Array<V4>,
    b: &Array<V4>,
    by_b: &Array<V4>,
    to: &mut Array<V4>,
    vectors: u32,
    #[comptime] both: bool,
    #[comptime] _sources: u64,
) {
    let unit = ABSOLUTE_POS_X as usize;
    let vectors = vectors as usize;
    if unit < vectors {
        let row = CUBE_POS_Z as usize * CUBE_COUNT_Y as usize + CUBE_POS_Y as usize;
        let own = CUBE_POS_Z as usize * vectors + unit;
        let at = row * vectors + unit;
        let mut sum = a[at] * by_a[own];
        if comptime!(both) {
            sum += b[at] * by_b[own];
        }
        to[at] = sum;
    }
}
