//! What a chain says of itself: gradient norms, displacements, whole traces, and whether it
//! diverged. Returned, never printed.

use burn::prelude::*;
use serde::Serialize;

use crate::LatentLayers;

/// Gradient norms and displacements by step.
#[derive(Clone, Debug)]
pub struct Diagnostics<B: Backend> {
    /// `|∇U(e_k)|` for k = 0, …, K-1: `[K, n]`.
    pub gradient_norm: Tensor<B, 2>,
    /// `|e_k - e_0|` within each layer, top first, for k = 0, …, K-1: `[K, n, L]`.
    pub displacement: Tensor<B, 3>,
}

/// The whole way of a chain.
#[derive(Clone, Debug)]
pub struct Trace<B: Backend> {
    /// The noise `n_k` (zeros where it was off): `[K, n, d]`.
    pub noise: Tensor<B, 3>,
    /// The positions `e_0, …, e_K`: `[K+1, n, d]`.
    pub positions: Tensor<B, 3>,
    /// `∇U(e_0)`: `[n, d]`.
    pub gradient0: Tensor<B, 2>,
    /// `U(e_K)`: `[n]`.
    pub final_energy: Tensor<B, 1>,
}

pub(crate) struct DiagnosticsRecorder<'a, B: Backend> {
    layers: &'a LatentLayers,
    gradient_norm: Vec<Tensor<B, 2>>,
    displacement: Vec<Tensor<B, 3>>,
}

impl<B: Backend> Diagnostics<B> {
    pub(crate) fn recorder(layers: &LatentLayers) -> DiagnosticsRecorder<'_, B> {
        DiagnosticsRecorder {
            layers,
            gradient_norm: Vec::new(),
            displacement: Vec::new(),
        }
    }
}

impl<B: Backend> DiagnosticsRecorder<'_, B> {
    pub(crate) fn record(
        &mut self,
        gradient: &Tensor<B, 2>,
        latents: &Tensor<B, 2>,
        start: &Tensor<B, 2>,
    ) {
        self.gradient_norm
            .push(row_norms(gradient.clone()).swap_dims(0, 1));
        let moved = self.layers.split(latents.clone() - start.clone());
        let norms = moved.into_iter().map(row_norms).collect();
        self.displacement
            .push(Tensor::cat(norms, 1).unsqueeze_dim(0));
    }

    pub(crate) fn finish(self) -> Diagnostics<B> {
        Diagnostics {
            gradient_norm: Tensor::cat(self.gradient_norm, 0),
            displacement: Tensor::cat(self.displacement, 0),
        }
    }
}

/// Euclidean norm of each row: `[n, d]` to `[n, 1]`.
fn row_norms<B: Backend>(rows: Tensor<B, 2>) -> Tensor<B, 2> {
    rows.square().sum_dim(1).sqrt()
}

pub(crate) struct TraceRecorder<B: Backend> {
    noise: Vec<Tensor<B, 3>>,
    positions: Vec<Tensor<B, 3>>,
    gradient0: Option<Tensor<B, 2>>,
    start: Tensor<B, 2>,
}

impl<B: Backend> Trace<B> {
    pub(crate) fn recorder(start: Tensor<B, 2>) -> TraceRecorder<B> {
        TraceRecorder {
            noise: Vec::new(),
            positions: vec![start.clone().unsqueeze_dim(0)],
            gradient0: None,
            start,
        }
    }
}

impl<B: Backend> TraceRecorder<B> {
    pub(crate) fn noise(&mut self, noise: Option<Tensor<B, 2>>) {
        let noise = noise.unwrap_or_else(|| self.start.zeros_like());
        self.noise.push(noise.unsqueeze_dim(0));
    }

    pub(crate) fn gradient(&mut self, gradient: &Tensor<B, 2>) {
        self.gradient0.get_or_insert_with(|| gradient.clone());
    }

    pub(crate) fn position(&mut self, latents: Tensor<B, 2>) {
        self.positions.push(latents.unsqueeze_dim(0));
    }

    pub(crate) fn finish(self, final_energy: Tensor<B, 1>) -> Trace<B> {
        Trace {
            noise: Tensor::cat(self.noise, 0),
            positions: Tensor::cat(self.positions, 0),
            gradient0: self.gradient0.unwrap_or(self.start),
            final_energy,
        }
    }
}

/// Chains whose energy rose where it should have fallen.
///
/// Langevin dynamics is unstable once a step size times the largest curvature passes 2: the energy
/// then grows along the chain. That happens when sigma falls, or the generator sharpens, under a
/// fixed step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Divergence {
    /// The share of chains that diverged, in (0, 1].
    pub share: f64,
    /// The first step (counted from 1) after which one of them was beyond saving.
    pub step: usize,
    /// The lowest mean energy along the chain (nats).
    pub lowest: f64,
    /// The mean energy at the end (nats).
    pub last: f64,
}

impl Divergence {
    /// Looks at the energies `U(e_0), …, U(e_K)` of `n` chains in `dim` dimensions, given row by
    /// row (`[K+1, n]`); `None` if every chain is healthy.
    ///
    /// A chain has diverged if an energy is not finite, or if it ends above its lowest energy by
    /// more than half of what it had descended and by more than `dim` nats. Thermal noise moves
    /// the energy by about `sqrt(dim / 2)`, so a chain at rest passes.
    pub fn find(energies: &[f32], n: usize, dim: usize) -> Option<Self> {
        let rows: Vec<&[f32]> = energies.chunks_exact(n.max(1)).collect();
        let last = rows.last()?;
        let mut diverged = 0;
        let mut step = rows.len();
        for chain in 0..n {
            let along: Vec<f64> = rows.iter().map(|row| f64::from(row[chain])).collect();
            if let Some(at) = first_beyond_saving(&along, dim as f64) {
                diverged += 1;
                step = step.min(at);
            }
        }
        (diverged > 0).then(|| Self {
            share: diverged as f64 / n as f64,
            step,
            lowest: rows.iter().map(|row| mean(row)).fold(f64::NAN, f64::min),
            last: mean(last),
        })
    }
}

/// The step after which a chain that ends diverged first was above its limit.
fn first_beyond_saving(energies: &[f64], dim: f64) -> Option<usize> {
    if let Some(at) = energies.iter().position(|energy| !energy.is_finite()) {
        return Some(at);
    }
    let (first, last) = (energies.first()?, energies.last()?);
    let lowest = energies.iter().copied().fold(f64::INFINITY, f64::min);
    let limit = lowest + (0.5 * (first - lowest)).max(dim);
    if *last <= limit {
        return None;
    }
    // Everything after the last position still below the limit is on the way out.
    let stayed = energies.iter().rposition(|energy| *energy <= limit)?;
    Some(stayed + 1)
}

fn mean(values: &[f32]) -> f64 {
    values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_falling_chain_and_a_chain_at_rest_are_healthy() {
        assert_eq!(Divergence::find(&[900.0, 400.0, 120.0, 100.0], 1, 10), None);
        assert_eq!(Divergence::find(&[100.0, 104.0, 98.0, 103.0], 1, 10), None);
    }

    #[test]
    fn a_rising_chain_is_found_with_its_step_and_share() {
        // Two chains, row by row; the second turns after step 1.
        let energies = [900.0, 900.0, 400.0, 400.0, 200.0, 800.0, 100.0, 3000.0];
        let found = Divergence::find(&energies, 2, 10).unwrap();
        assert_eq!((found.share, found.step), (0.5, 2));
        assert_eq!((found.lowest, found.last), (400.0, 1550.0));
    }

    #[test]
    fn not_a_number_is_divergence() {
        let found = Divergence::find(&[9.0, f32::NAN], 1, 10).unwrap();
        assert_eq!((found.share, found.step), (1.0, 1));
    }
}
