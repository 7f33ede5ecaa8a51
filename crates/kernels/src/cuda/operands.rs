//! What the kernels' products multiply.

use cubecl::prelude::*;
use half::{bf16, f16};

/// Operands of 16 bits; sums are float32. The kernels are the same but for the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operands {
    /// bfloat16: 8 bits of mantissa, the range of float32.
    Brain,
    /// float16: 11 bits of mantissa, values up to 65,504. A gradient beyond is infinite, and what comes of
    /// it no number.
    Half,
}

impl Operands {
    pub(super) fn storage(self) -> StorageType {
        match self {
            Self::Brain => bf16::as_type_native_unchecked().storage_type(),
            Self::Half => f16::as_type_native_unchecked().storage_type(),
        }
    }
}
