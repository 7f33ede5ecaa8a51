//! What the built-in generator's products are computed in, where a backend has a choice.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

use serde::{Deserialize, Serialize};

/// Operands of the generator's convolutions and linear layers, in the chain, in synthesis and in learning. Sums,
/// latents, noise, energies, weights and moments are float32 in either, and so are the second derivatives
/// of the step-size objective.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// bf16 (8 bits of mantissa) in fused kernels, where a backend has them (CUDA).
    #[default]
    Bf16,
    /// Nearly float32 (errors of 1e-5), by tensor operations; several times slower.
    F32,
}

impl Precision {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Bf16, Self::F32];

    /// The name in a configuration and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bf16 => "bf16",
            Self::F32 => "f32",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

static FLOAT32: AtomicBool = AtomicBool::new(false);

/// Sets the precision for the whole process. Generators that are being used change with the next chain or
/// iteration.
pub fn set_precision(precision: Precision) {
    FLOAT32.store(precision == Precision::F32, Ordering::Relaxed);
}

/// The present precision; bf16 unless it was set. A backend without a choice ignores it and computes in
/// float32.
pub fn precision() -> Precision {
    if FLOAT32.load(Ordering::Relaxed) {
        Precision::F32
    } else {
        Precision::Bf16
    }
}
