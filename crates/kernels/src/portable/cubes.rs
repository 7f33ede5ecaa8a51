//! How many cubes a launch takes.

use cubecl::prelude::*;

/// Cubes of `threads` threads for `count` values.
pub(super) fn cubes(count: usize, threads: usize) -> CubeCount {
    let all = count.div_ceil(threads) as u32;
    // A device need not take more than 65,535 in one direction.
    let wide = all.min(1 << 15);
    CubeCount::Static(wide, all.div_ceil(wide.max(1)), 1)
}
