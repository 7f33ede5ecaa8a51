//! What happens to a sum of the convolution before it is written.

use std::marker::PhantomData;

use super::super::{gelu::gelu_and_slope, simd::Simd};

/// The function applied to convolution plus bias.
#[derive(Debug, Default)]
pub enum Activation<'a> {
    /// None.
    #[default]
    Identity,
    /// GELU with the exact distribution function.
    Gelu,
    /// GELU; its derivative goes to the slice, which has the shape of the output.
    GeluWithSlope(&'a mut [f32]),
}

/// `output = activation(convolution + bias) + add[0] + add[1] + ..`
#[derive(Debug, Default)]
pub struct Epilogue<'a> {
    /// The function applied to convolution plus bias.
    pub activation: Activation<'a>,
    /// Slices of the shape of the output, added after the activation: a residual, a skip
    /// connection, a gradient from another path.
    pub add: &'a [&'a [f32]],
}

impl<'a> Epilogue<'a> {
    /// The convolution as it is.
    pub fn none() -> Self {
        Self::default()
    }

    /// GELU.
    pub fn gelu() -> Self {
        Self {
            activation: Activation::Gelu,
            add: &[],
        }
    }

    /// GELU, and its derivative to `slope`.
    pub fn gelu_with_slope(slope: &'a mut [f32]) -> Self {
        Self {
            activation: Activation::GeluWithSlope(slope),
            add: &[],
        }
    }

    /// Then adds all of `add`.
    pub fn plus(self, add: &'a [&'a [f32]]) -> Self {
        Self { add, ..self }
    }
}

/// The output and its epilogue, shared by tasks that write different parts.
pub(super) struct Sink<'a> {
    output: *mut f32,
    gelu: bool,
    slope: Option<*mut f32>,
    add: &'a [&'a [f32]],
    len: usize,
    borrowed: PhantomData<&'a mut [f32]>,
}

// SAFETY: the pointers are those of exclusive borrows that live as long as the sink; who writes
// promises (`Sink::write`) that no one else writes the same part.
unsafe impl Sync for Sink<'_> {}

impl<'a> Sink<'a> {
    pub(super) fn new(epilogue: Epilogue<'a>, output: &'a mut [f32]) -> Self {
        let len = output.len();
        let (gelu, slope) = match epilogue.activation {
            Activation::Identity => (false, None),
            Activation::Gelu => (true, None),
            Activation::GeluWithSlope(slope) => {
                assert_eq!(slope.len(), len, "convolution: length of the slope");
                (true, Some(slope.as_mut_ptr()))
            }
        };
        for add in epilogue.add {
            assert_eq!(add.len(), len, "convolution: length of an addend");
        }
        Self {
            output: output.as_mut_ptr(),
            gelu,
            slope,
            add: epilogue.add,
            len,
            borrowed: PhantomData,
        }
    }

    /// Writes the first `len` pixels of a tile of `C` channels, that of channel 0 at `start`, the
    /// next `channel` further on.
    ///
    /// # Safety
    /// The processor has the instructions of `S`, and no other thread writes these places.
    #[inline(always)]
    pub(super) unsafe fn write<S: Simd, const C: usize, const R: usize>(
        &self,
        sums: &[[S; R]; C],
        start: usize,
        channel: usize,
        len: usize,
    ) {
        assert!(start + (C - 1) * channel + len <= self.len);
        for (c, sums) in sums.iter().enumerate() {
            for (r, &sum) in sums.iter().enumerate() {
                if r * S::LANES >= len {
                    break;
                }
                let at = start + c * channel + r * S::LANES;
                let lanes = S::LANES.min(len - r * S::LANES);
                // SAFETY: in bounds by the assert; the rest is promised by the caller.
                unsafe { self.put(sum, at, lanes) };
            }
        }
    }

    /// Writes a run of pixels of one channel at `start`.
    ///
    /// # Safety
    /// As [`Sink::write`].
    #[inline(always)]
    pub(super) unsafe fn write_run<S: Simd>(&self, sums: &[f32], start: usize) {
        assert!(start + sums.len() <= self.len);
        for from in (0..sums.len()).step_by(S::LANES) {
            let lanes = S::LANES.min(sums.len() - from);
            // SAFETY: in bounds by the assert; the rest is promised by the caller.
            unsafe { self.put(S::load_slice(&sums[from..]), start + from, lanes) };
        }
    }

    /// Writes the first `lanes` of a vector at `at`.
    ///
    /// # Safety
    /// As [`Sink::write`], and the places are inside the output.
    #[inline(always)]
    unsafe fn put<S: Simd>(&self, sum: S, at: usize, lanes: usize) {
        let mut value = sum;
        if self.gelu {
            let (y, slope) = gelu_and_slope(sum);
            value = y;
            if let Some(to) = self.slope {
                // SAFETY: inside the slice, and ours alone, by the caller.
                slope.store_slice(unsafe { std::slice::from_raw_parts_mut(to.add(at), lanes) });
            }
        }
        for add in self.add {
            // SAFETY: the caller promises the instructions.
            value = value.add(unsafe { S::load_slice(&add[at..at + lanes]) });
        }
        // SAFETY: as for the slope.
        value.store_slice(unsafe { std::slice::from_raw_parts_mut(self.output.add(at), lanes) });
    }
}
