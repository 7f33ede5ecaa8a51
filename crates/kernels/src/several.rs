//! Several arrays in one launch: a launch costs the host more than most of them cost the device.

use cubecl::{prelude::*, server::Handle};

/// Arrays of a launch at most; each is a branch of the kernel.
const MOST: usize = 32;
/// Cubes that share an array at most.
const CUBES: usize = 256;

/// How many things fit in one launch, if each takes `each` arrays and all of them together `others`.
pub(crate) fn at_once<R: Runtime>(client: &ComputeClient<R>, each: usize, others: usize) -> usize {
    // One binding is that of the scalars.
    let bindings = client.properties().hardware.max_bindings as usize;
    (bindings.saturating_sub(others + 1) / each).clamp(1, MOST)
}

/// `threads` threads each for arrays of at most `longest` values: along x they share an array, and along y
/// there are `arrays` of them.
pub(crate) fn cubes(longest: usize, threads: usize, arrays: usize) -> CubeCount {
    let wide = longest.div_ceil(threads).clamp(1, CUBES);
    CubeCount::Static(wide as u32, arrays as u32, 1)
}

/// As arguments of a launch for `places` arrays; beyond the given ones they come again, for no cube.
///
/// # Safety
/// Every array must have so many values.
pub(crate) unsafe fn arguments<'a, R: Runtime>(
    arrays: impl Iterator<Item = (&'a Handle, usize)> + Clone,
    places: usize,
) -> SequenceArg<R, Array<f32>> {
    // SAFETY: by the caller's word.
    let argument = |(handle, count): (&Handle, usize)| unsafe {
        ArrayArg::from_raw_parts(handle.clone(), count)
    };
    arrays.cycle().take(places).map(argument).collect()
}
