//! Tensors side by side in one array, each where a device may begin one.

use std::ops::Range;

use cubecl::server::Handle;

/// Values from one place where a tensor may begin to the next: 512 bytes, which CUDA's memory is aligned to,
/// and twice what WebGPU lets a device ask for.
const STEP: usize = 128;

/// The places of tensors, in the order in which they were taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    /// The values of each tensor. What lies between two of them is no one's.
    pub(crate) tensors: Vec<Range<usize>>,
    /// Values of the whole array.
    pub(crate) length: usize,
}

impl Layout {
    /// Of tensors with so many values.
    pub(crate) fn of(counts: impl IntoIterator<Item = usize>) -> Self {
        let mut layout = Self::default();
        for count in counts {
            layout.take(count);
        }
        layout
    }

    /// A place for a tensor of so many values.
    pub(crate) fn take(&mut self, count: usize) -> usize {
        let begin = self.length.next_multiple_of(STEP);
        self.length = begin + count;
        self.tensors.push(begin..self.length);
        begin
    }

    /// All values of the tensors.
    pub(crate) fn count(&self) -> usize {
        self.tensors.iter().map(Range::len).sum()
    }

    /// Each tensor's own part of an array laid out so, without a copy.
    pub(crate) fn views(&self, array: &Handle) -> Vec<Handle> {
        let views = self.tensors.iter().map(|own| {
            let after = array.size_in_used() - 4 * own.end as u64;
            array
                .clone()
                .offset_start(4 * own.start as u64)
                .offset_end(after)
        });
        views.collect()
    }
}
