//! Sums over the threads of a cube, on any width of the hardware's planes.

use cubecl::prelude::*;

use super::tile::THREADS;

/// The sum of every thread's value, in a fixed order. At most once in a kernel, by all 256 threads.
#[cube]
pub(super) fn over_cube(value: f32) -> f32 {
    let unit = UNIT_POS as usize;
    let mut shared = SharedMemory::<f32>::new(THREADS);
    shared[unit] = value;
    sync_cube();
    let mut width = comptime!(THREADS / 2).runtime();
    while width > 0 {
        if unit < width {
            shared[unit] += shared[unit + width];
        }
        sync_cube();
        width /= 2;
    }
    shared[0usize]
}
