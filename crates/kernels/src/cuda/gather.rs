//! Weights into the layouts that the kernels want.

use cubecl::{cuda::CudaRuntime, prelude::*, server::Handle};

/// Stands for "no weight here".
pub(super) const NOTHING: u32 = u32::MAX;

/// `to[i] = from[table[i]]`, 0 where the table says [`NOTHING`].
#[cube(launch_unchecked)]
pub(super) fn gather<E: Numeric>(
    from: &Array<f32>,
    table: &Array<u32>,
    to: &mut Array<E>,
    count: u32,
) {
    let i = ABSOLUTE_POS;
    if i < count as usize {
        let place = table[i];
        let mut value = 0.0f32;
        if place != NOTHING {
            value = from[place as usize];
        }
        to[i] = E::cast_from(value);
    }
}

/// Arrays of a launch of [`end_to_end`].
pub(super) const ARRAYS: usize = 16;
/// Cubes that copy one array.
const CUBES: usize = 128;

/// Copies up to 16 arrays into one, end to end from `places[0]` on; array i ends at `places[i + 1]`.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(super) fn end_to_end(
    a: &Array<f32>,
    b: &Array<f32>,
    c: &Array<f32>,
    d: &Array<f32>,
    e: &Array<f32>,
    f: &Array<f32>,
    g: &Array<f32>,
    h: &Array<f32>,
    i: &Array<f32>,
    j: &Array<f32>,
    k: &Array<f32>,
    l: &Array<f32>,
    m: &Array<f32>,
    n: &Array<f32>,
    o: &Array<f32>,
    p: &Array<f32>,
    to: &mut Array<f32>,
    places: &Array<u32>,
) {
    let which = CUBE_POS_Y as usize;
    let begin = places[which] as usize;
    let length = places[which + 1] as usize - begin;
    if which == 0 {
        copy_to(a, to, begin, length);
    }
    if which == 1 {
        copy_to(b, to, begin, length);
    }
    if which == 2 {
        copy_to(c, to, begin, length);
    }
    if which == 3 {
        copy_to(d, to, begin, length);
    }
    if which == 4 {
        copy_to(e, to, begin, length);
    }
    if which == 5 {
        copy_to(f, to, begin, length);
    }
    if which == 6 {
        copy_to(g, to, begin, length);
    }
    if which == 7 {
        copy_to(h, to, begin, length);
    }
    if which == 8 {
        copy_to(i, to, begin, length);
    }
    if which == 9 {
        copy_to(j, to, begin, length);
    }
    if which == 10 {
        copy_to(k, to, begin, length);
    }
    if which == 11 {
        copy_to(l, to, begin, length);
    }
    if which == 12 {
        copy_to(m, to, begin, length);
    }
    if which == 13 {
        copy_to(n, to, begin, length);
    }
    if which == 14 {
        copy_to(o, to, begin, length);
    }
    if which == 15 {
        copy_to(p, to, begin, length);
    }
}

#[cube]
fn copy_to(from: &Array<f32>, to: &mut Array<f32>, begin: usize, length: usize) {
    let mut i = CUBE_POS_X as usize * CUBE_DIM as usize + UNIT_POS as usize;
    while i < length {
        to[begin + i] = from[i];
        i += CUBE_COUNT_X as usize * CUBE_DIM as usize;
    }
}

/// All arrays end to end.
pub(super) fn join(client: &ComputeClient<CudaRuntime>, arrays: &[(Handle, usize)]) -> Handle {
    let count: usize = arrays.iter().map(|(_, length)| length).sum();
    let to = client.empty(count * 4);
    let mut begin = 0;
    for some in arrays.chunks(ARRAYS) {
        let mut places = vec![begin as u32];
        for (_, length) in some {
            begin += length;
            places.push(begin as u32);
        }
        let table = client.create_from_slice(bytemuck::cast_slice(&places));
        let array = |i: usize| {
            let (handle, length) = some.get(i).unwrap_or(&some[0]);
            // SAFETY: the array has so many values; no cube works on those beyond `some`.
            unsafe { ArrayArg::from_raw_parts(handle.clone(), *length) }
        };
        // SAFETY: as above, and `to` has room for all.
        unsafe {
            end_to_end::launch_unchecked::<CudaRuntime>(
                client,
                CubeCount::Static(CUBES as u32, some.len() as u32, 1),
                CubeDim::new_1d(256),
                array(0),
                array(1),
                array(2),
                array(3),
                array(4),
                array(5),
                array(6),
                array(7),
                array(8),
                array(9),
                array(10),
                array(11),
                array(12),
                array(13),
                array(14),
                array(15),
                ArrayArg::from_raw_parts(to.clone(), count),
                ArrayArg::from_raw_parts(table, places.len()),
            );
        }
    }
    to
}
