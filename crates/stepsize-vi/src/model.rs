//! What the objectives need of a posterior, and how much memory they may use for it.

use burn::prelude::*;
use shortrun_langevin::{Curvature, EnergyGradient};

use crate::ObjectiveError;

/// How much memory the objectives may use for Hessians and their products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBudget {
    /// Bytes, host and device together.
    pub bytes: usize,
}

impl MemoryBudget {
    /// A budget in MiB.
    pub fn mib(mib: usize) -> Self {
        Self { bytes: mib << 20 }
    }
}

impl Default for MemoryBudget {
    /// 1 GiB.
    fn default() -> Self {
        Self::mib(1024)
    }
}

/// A posterior as the objectives see it: with gradients, and perhaps with second derivatives.
#[derive(Clone, Copy)]
pub struct Model<'a, B: Backend> {
    pub(crate) gradient: &'a dyn EnergyGradient<B>,
    pub(crate) curvature: Option<&'a dyn Curvature<B>>,
    budget: MemoryBudget,
}

/// Copies of a Hessian in flight: float32 on the device and on the host, float64 with its
/// eigenvectors and the weights of the third derivative.
const BYTES_PER_ENTRY: usize = 2 * 4 + 4 * 8;

impl<'a, B: Backend> Model<'a, B> {
    /// A posterior of which only gradients can be had.
    pub fn with_gradient(gradient: &'a dyn EnergyGradient<B>) -> Self {
        Self {
            gradient,
            curvature: None,
            budget: MemoryBudget::default(),
        }
    }

    /// A posterior with second derivatives, for which so much memory may be used.
    pub fn with_curvature<C: Curvature<B>>(curvature: &'a C, budget: MemoryBudget) -> Self {
        Self {
            gradient: curvature,
            curvature: Some(curvature),
            budget,
        }
    }

    /// The second derivatives, for the objective called `name`.
    pub(crate) fn curvature(
        &self,
        name: &'static str,
    ) -> Result<&'a dyn Curvature<B>, ObjectiveError> {
        self.curvature.ok_or(ObjectiveError::NoCurvature(name))
    }

    /// How many (example, direction) pairs fit beside the Hessians of `n` examples.
    pub(crate) fn rows_beside_hessians(
        &self,
        [n, d]: [usize; 2],
        bytes_per_row: usize,
    ) -> Result<usize, ObjectiveError> {
        let needed = |n: usize, d: usize| n * (d * d * BYTES_PER_ENTRY + bytes_per_row);
        let budget = self.budget.bytes;
        if needed(n, d) > budget {
            let entries = budget.saturating_sub(bytes_per_row) / BYTES_PER_ENTRY;
            return Err(ObjectiveError::Memory {
                examples: n,
                dim: d,
                needed_mib: needed(n, d).div_ceil(1 << 20),
                budget_mib: budget >> 20,
                examples_that_fit: budget / needed(1, d),
                dim_that_fits: entries.isqrt(),
            });
        }
        Ok(self.rows(budget - n * d * d * BYTES_PER_ENTRY, bytes_per_row))
    }

    /// How many (example, direction) pairs fit.
    pub(crate) fn rows_alone(&self, bytes_per_row: usize) -> usize {
        self.rows(self.budget.bytes, bytes_per_row)
    }

    fn rows(&self, bytes: usize, bytes_per_row: usize) -> usize {
        (bytes / bytes_per_row.max(1)).max(1)
    }
}
