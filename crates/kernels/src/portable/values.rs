//! Arrays of float32 on the device.

use cubecl::{prelude::*, server::Handle};

/// An array on the device and its length.
#[derive(Clone, Debug)]
pub(super) struct Values {
    pub(super) handle: Handle,
    pub(super) length: usize,
}

impl Values {
    /// Of which nothing is known.
    pub(super) fn empty<R: Runtime>(client: &ComputeClient<R>, length: usize) -> Self {
        // A device has no buffer of no bytes.
        let length = length.max(1);
        Self::new(client.empty(length * 4), length)
    }

    pub(super) fn new(handle: Handle, length: usize) -> Self {
        Self { handle, length }
    }

    /// As the argument of a launch.
    pub(super) fn argument<R: Runtime>(&self) -> ArrayArg<R> {
        // SAFETY: the array has this length, by its maker's word.
        unsafe { ArrayArg::from_raw_parts(self.handle.clone(), self.length) }
    }
}
