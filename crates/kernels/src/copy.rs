//! Arrays of float32 into others.

use cubecl::{prelude::*, server::Handle};

use crate::{layout::Layout, several};

const THREADS: usize = 256;

/// A copy of `count` values.
pub(crate) fn copy<R: Runtime>(client: &ComputeClient<R>, from: Handle, count: usize) -> Handle {
    put_together(client, &[from], &Layout::of([count]))
}

/// One array of all tensors.
pub(crate) fn put_together<R: Runtime>(
    client: &ComputeClient<R>,
    tensors: &[Handle],
    layout: &Layout,
) -> Handle {
    let to = client.empty(layout.length * 4);
    let at_once = several::at_once(client, 1, 1).min(tensors.len());
    let placed: Vec<_> = tensors.iter().zip(&layout.tensors).collect();
    for some in placed.chunks(at_once.max(1)) {
        let longest = some.iter().map(|(_, own)| own.len()).max();
        let begin = some.iter().map(|(_, own)| own.start);
        // SAFETY: every tensor has its values, and `to` has the layout's length, by the caller's word.
        unsafe {
            copy_to::launch_unchecked::<R>(
                client,
                several::cubes(longest.unwrap_or(0), THREADS, some.len()),
                CubeDim::new_1d(THREADS as u32),
                several::arguments(some.iter().map(|(from, own)| (*from, own.len())), at_once),
                begin.cycle().take(at_once).collect(),
                ArrayArg::from_raw_parts(to.clone(), layout.length),
                crate::SOURCES,
            );
        }
    }
    to
}

#[cube(launch_unchecked)]
fn copy_to(
    from: &Sequence<Array<f32>>,
    begin: &Sequence<usize>,
    to: &mut Array<f32>,
    #[comptime] _sources: u64,
) {
    let arrays = comptime!(from.len());
    #[unroll]
    for which in 0..arrays {
        if CUBE_POS_Y as usize == which {
            let own = from.index(which);
            let first = *begin.index(which);
            let mut i = CUBE_POS_X as usize * THREADS + UNIT_POS as usize;
            while i < own.len() {
                to[first + i] = own[i];
                i += CUBE_COUNT_X as usize * THREADS;
            }
        }
    }
}
