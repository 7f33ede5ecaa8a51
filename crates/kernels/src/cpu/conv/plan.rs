//! How a convolution is cut into parallel tasks.

use std::ops::Range;

/// Tasks over images, groups of rows and groups of channel blocks. The cut changes which thread
/// computes a value, never the order of its sum.
pub(super) struct Plan {
    batch: usize,
    rows: usize,
    blocks: usize,
    rows_per_task: usize,
    blocks_per_task: usize,
}

/// What one task computes.
pub(super) struct Part {
    pub(super) image: usize,
    pub(super) rows: Range<usize>,
    pub(super) blocks: Range<usize>,
}

/// Floats that a task may keep: half of a usual second-level cache.
const SCRATCH: usize = 128 * 1024;

impl Plan {
    /// `step` rows fill whole vectors; `scratch` gives the floats of the copies that a task keeps
    /// for so many rows.
    pub(super) fn new(
        step: usize,
        scratch: impl Fn(usize) -> usize,
        blocks: usize,
        [batch, rows]: [usize; 2],
        threads: usize,
    ) -> Self {
        let mut rows_per_task = rows;
        while scratch(rows_per_task) > SCRATCH && rows_per_task > 3 * step {
            rows_per_task = halve(rows_per_task, step);
        }
        // Few images: smaller groups, so that all threads have an equal share.
        let tasks = |rows_per_task| batch * rows.div_ceil(rows_per_task);
        let even = |tasks: usize| tasks.is_multiple_of(threads) || tasks >= 4 * threads;
        while !even(tasks(rows_per_task)) && rows_per_task > 3 * step {
            rows_per_task = halve(rows_per_task, step);
        }
        let parts = if even(tasks(rows_per_task)) {
            1
        } else {
            threads.div_ceil(tasks(rows_per_task).max(1))
        };
        Self {
            batch,
            rows,
            blocks,
            rows_per_task,
            blocks_per_task: blocks.div_ceil(parts),
        }
    }

    fn row_groups(&self) -> usize {
        self.rows.div_ceil(self.rows_per_task)
    }

    fn block_groups(&self) -> usize {
        self.blocks.div_ceil(self.blocks_per_task)
    }

    pub(super) fn tasks(&self) -> Range<usize> {
        0..self.batch * self.row_groups() * self.block_groups()
    }

    /// The parts of different tasks do not overlap.
    pub(super) fn part(&self, task: usize) -> Part {
        let (rest, b) = (task / self.block_groups(), task % self.block_groups());
        let (image, r) = (rest / self.row_groups(), rest % self.row_groups());
        let group = |i: usize, size: usize, all: usize| i * size..all.min((i + 1) * size);
        Part {
            image,
            rows: group(r, self.rows_per_task, self.rows),
            blocks: group(b, self.blocks_per_task, self.blocks),
        }
    }
}

/// Half of `rows`, rounded up to a multiple of `step`.
fn halve(rows: usize, step: usize) -> usize {
    rows.div_ceil(2).next_multiple_of(step)
}
