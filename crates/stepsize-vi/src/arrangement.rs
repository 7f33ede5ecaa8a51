//! One step size, one for each step, or one for each layer.

use serde::{Deserialize, Serialize};
use shortrun_langevin::{LatentLayers, StepSizes};

/// How many step sizes a chain has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrangement {
    /// One for all steps.
    #[default]
    Constant,
    /// One for each of the K steps.
    Step,
    /// One for each latent layer.
    Layer,
}

impl Arrangement {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Constant, Self::Step, Self::Layer];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Step => "step",
            Self::Layer => "layer",
        }
    }

    /// Step sizes so arranged: as they are if they already are so, else each the geometric mean of
    /// the given ones.
    pub fn of(self, sizes: &StepSizes, steps: usize, layers: &LatentLayers) -> StepSizes {
        let mean = sizes.mean();
        match (self, sizes) {
            (Self::Constant, StepSizes::Constant(_)) => sizes.clone(),
            (Self::Step, StepSizes::PerStep(list)) if list.len() == steps => sizes.clone(),
            (Self::Layer, StepSizes::PerLayer { layers: own, .. }) if own == layers => {
                sizes.clone()
            }
            (Self::Constant, _) => StepSizes::Constant(mean),
            (Self::Step, _) => StepSizes::PerStep(vec![mean; steps]),
            (Self::Layer, _) => StepSizes::PerLayer {
                layers: layers.clone(),
                sizes: vec![mean; layers.count()],
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shortrun_langevin::StepSize;

    #[test]
    fn one_size_becomes_many_and_many_become_one() {
        let eta = |eta| StepSize::from_eta(eta).unwrap();
        let layers = LatentLayers::new([2, 3]).unwrap();
        let one: StepSizes = eta(0.1).into();
        let steps = Arrangement::Step.of(&one, 3, &layers);
        assert_eq!(steps, StepSizes::PerStep(vec![eta(0.1); 3]));
        assert_eq!(Arrangement::Layer.of(&one, 3, &layers).sizes().len(), 2);
        let uneven = steps.with_sizes(vec![eta(0.1), eta(0.4), eta(0.2)]);
        assert_eq!(Arrangement::Step.of(&uneven, 3, &layers), uneven);
        let mean = Arrangement::Constant.of(&uneven, 3, &layers).sizes()[0];
        assert!((mean.eta() - 0.2).abs() < 1e-12);
    }
}
