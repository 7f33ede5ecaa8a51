//! Weights into the layouts that the kernels want.

use cubecl::prelude::*;

/// Stands for "no weight here".
pub(super) const NOTHING: u32 = u32::MAX;

/// `to[i] = from[table[i]]`, 0 where the table says [`NOTHING`].
#[cube(launch_unchecked)]
pub(super) fn gather<E: Numeric>(
    from: &Array<f32>,
    table: &Array<u32>,
    to: &mut Array<E>,
    count: u32,
    #[define(E)] _kind: StorageType,
    #[comptime] _sources: u64,
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
