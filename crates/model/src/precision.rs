//! What the built-in generator's products are computed in, where a backend has a choice.

use std::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
};

use serde::{Deserialize, Serialize};

/// Operands of the generator's convolutions and linear layers, in the chain, in synthesis and in learning. Sums,
/// latents, noise, energies, weights and moments are float32 in all, and so are the second derivatives
/// of the step-size objective.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// bfloat16 (8 bits of mantissa, the range of float32) in fused kernels on CUDA; through Vulkan as [`F16`](Self::F16).
    #[default]
    Bf16,
    /// float16 (11 bits; values up to 65,504) in the same fused kernels on CUDA; through Vulkan where the
    /// driver has cooperative matrices of it, else bfloat16, else float32.
    F16,
    /// Float32 through Vulkan; on CUDA nearly that (errors of 1e-5), by tensor operations; slower.
    F32,
}

impl Precision {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Bf16, Self::F16, Self::F32];

    /// The name in a configuration and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::F32 => "f32",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// 0: not chosen; else one more than the place in [`Precision::ALL`].
static CHOSEN: AtomicUsize = AtomicUsize::new(0);

/// Sets the precision for the whole process. It holds from the next chain or iteration on.
pub fn set_precision(precision: Precision) {
    let place = Precision::ALL.iter().position(|known| *known == precision);
    CHOSEN.store(place.map_or(0, |place| place + 1), Ordering::Relaxed);
}

/// The precision that was set, if one was.
pub fn chosen_precision() -> Option<Precision> {
    let place = CHOSEN.load(Ordering::Relaxed).checked_sub(1)?;
    Precision::ALL.get(place).copied()
}

/// The present precision: bf16 unless another was set. A backend without a choice computes in float32 all
/// the same.
pub fn precision() -> Precision {
    chosen_precision().unwrap_or_default()
}
