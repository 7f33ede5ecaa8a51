//! One small vector type per instruction set, and the choice between them at run time.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

/// A vector of `f32`, all operations elementwise.
///
/// # Safety
///
/// `splat` and `load` may run only on a processor with the instructions of the type; every other
/// operation takes a value, and a value is the proof that they are there. All functions are
/// `inline(always)`, so that they end up inside the `target_feature` function of [`Isa::run`].
pub(crate) unsafe trait Simd: Copy {
    /// Elements in a vector.
    const LANES: usize;
    /// Channels in the register tile of a kernel: `CHANNELS * VECTORS` sums, `VECTORS` inputs and
    /// one weight must fit the registers.
    const CHANNELS: usize;
    /// Pixels in the register tile of the other kernel: two sums and one value for each, and two
    /// vectors of weights.
    const PIXELS: usize;

    /// All lanes `value`.
    ///
    /// # Safety
    /// The processor has the instructions of this type.
    unsafe fn splat(value: f32) -> Self;

    /// Reads `LANES` values, at any alignment.
    ///
    /// # Safety
    /// As [`Simd::splat`], and the values are readable.
    unsafe fn load(from: *const f32) -> Self;

    /// Writes `LANES` values, at any alignment.
    ///
    /// # Safety
    /// The values are writable.
    unsafe fn store(self, to: *mut f32);

    /// Reads the first `LANES` values of a slice; zeros past its end.
    ///
    /// # Safety
    /// As [`Simd::splat`].
    #[inline(always)]
    unsafe fn load_slice(from: &[f32]) -> Self {
        if from.len() >= Self::LANES {
            // SAFETY: the caller promises the instructions, the slice has the values.
            return unsafe { Self::load(from.as_ptr()) };
        }
        let mut lanes = [0.0; MAX_LANES];
        for (lane, &v) in lanes.iter_mut().zip(from) {
            *lane = v;
        }
        // SAFETY: as above, `MAX_LANES` values.
        unsafe { Self::load(lanes.as_ptr()) }
    }

    /// Writes the first values of a slice, `LANES` of them or all.
    #[inline(always)]
    fn store_slice(self, to: &mut [f32]) {
        if to.len() >= Self::LANES {
            // SAFETY: the slice has the values.
            return unsafe { self.store(to.as_mut_ptr()) };
        }
        let mut lanes = [0.0; MAX_LANES];
        // SAFETY: `MAX_LANES` values.
        unsafe { self.store(lanes.as_mut_ptr()) };
        for (v, &lane) in to.iter_mut().zip(&lanes) {
            *v = lane;
        }
    }

    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    /// `self * factor + addend`.
    fn mul_add(self, factor: Self, addend: Self) -> Self;
    fn abs(self) -> Self;
    /// The smaller; NaN where `self` is NaN.
    fn min(self, bound: Self) -> Self;
    /// The larger; NaN where `self` is NaN.
    fn max(self, bound: Self) -> Self;
    /// `yes` where `self < 0`, else `no`.
    fn where_negative(self, yes: Self, no: Self) -> Self;
    /// The bits of each lane moved up by 23, from the low end of the mantissa to the exponent.
    fn mantissa_to_exponent(self) -> Self;
}

/// Vectors in the register tile of a kernel.
pub(crate) const VECTORS: usize = 3;

/// The largest [`Simd::LANES`].
pub(crate) const MAX_LANES: usize = 16;

/// Work written once for every vector type. `run` should be `inline(always)`.
pub(crate) trait Job {
    type Output;

    /// # Safety
    /// The processor has the instructions of `S`.
    unsafe fn run<S: Simd>(self) -> Self::Output;
}

/// An instruction set, held only where the processor has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Isa {
    /// The instruction sets of this processor, the best first.
    pub(crate) fn available() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let vector = [
            is_x86_feature_detected!("avx512f").then_some(Self::Avx512),
            (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"))
                .then_some(Self::Avx2),
        ];
        #[cfg(not(target_arch = "x86_64"))]
        let vector = [];
        vector.into_iter().flatten().chain([Self::Portable])
    }

    /// The best instruction set of this processor.
    pub(crate) fn best() -> Self {
        Self::available().next().unwrap_or(Self::Portable)
    }

    /// Channels in the register tile, see [`Simd::CHANNELS`].
    pub(crate) fn channels(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512::Vector::CHANNELS,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::Vector::CHANNELS,
            Self::Portable => portable::Vector::CHANNELS,
        }
    }

    /// Elements in a vector.
    pub(crate) fn lanes(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512::Vector::LANES,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::Vector::LANES,
            Self::Portable => portable::Vector::LANES,
        }
    }

    /// Runs `job` with the vectors of this instruction set.
    pub(crate) fn run<J: Job>(self, job: J) -> J::Output {
        match self {
            // SAFETY: `available` found the features.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { run_avx512(job) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { run_avx2(job) },
            // SAFETY: plain Rust, no instructions asked for.
            Self::Portable => unsafe { job.run::<portable::Vector>() },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn run_avx512<J: Job>(job: J) -> J::Output {
    // SAFETY: this function has the features.
    unsafe { job.run::<avx512::Vector>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<J: Job>(job: J) -> J::Output {
    // SAFETY: this function has the features.
    unsafe { job.run::<avx2::Vector>() }
}
