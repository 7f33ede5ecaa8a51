//! Arrays of float32 into others.

use cubecl::{prelude::*, server::Handle};

use crate::cubes::cubes;

const THREADS: usize = 256;

/// A copy of `count` values.
pub(crate) fn copy<R: Runtime>(client: &ComputeClient<R>, from: Handle, count: usize) -> Handle {
    end_to_end(client, &[(from, count)])
}

/// All arrays, each with its length, one after the other.
pub(crate) fn end_to_end<R: Runtime>(
    client: &ComputeClient<R>,
    arrays: &[(Handle, usize)],
) -> Handle {
    let all: usize = arrays.iter().map(|(_, count)| count).sum();
    let to = client.empty(all * 4);
    let mut at = 0;
    for (from, count) in arrays {
        // SAFETY: `from` has `count` values, `to` has `all`, by the caller's word.
        unsafe {
            copy_to::launch_unchecked::<R>(
                client,
                cubes(*count, THREADS),
                CubeDim::new_1d(THREADS as u32),
                ArrayArg::from_raw_parts(from.clone(), *count),
                ArrayArg::from_raw_parts(to.clone(), all),
                at as u32,
                *count as u32,
            );
        }
        at += count;
    }
    to
}

#[cube(launch_unchecked)]
fn copy_to(from: &Array<f32>, to: &mut Array<f32>, at: u32, count: u32) {
    let i = ABSOLUTE_POS;
    if i < count as usize {
        to[at as usize + i] = from[i];
    }
}
