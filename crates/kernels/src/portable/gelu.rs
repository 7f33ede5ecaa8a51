//! The exact GELU.

use cubecl::prelude::*;

/// `x Φ(x)` and its slope `Φ(x) + x φ(x)`.
#[cube]
pub(super) fn gelu_with_slope(x: f32) -> (f32, f32) {
    let below = 0.5f32 * (1.0f32 + Erf::erf(x * 0.707_106_77f32));
    let density = 0.398_942_3f32 * f32::exp(-0.5f32 * x * x);
    (x * below, below + x * density)
}
