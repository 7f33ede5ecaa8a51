//! One scale of the flow.

use burn::{module::Module, prelude::*};
use shortrun_model::Init;

use super::{ActNorm, Coupling, GlowConfig, InvertibleConv, Split};

/// One step of flow: actnorm, invertible 1x1 convolution, additive coupling.
#[derive(Module, Debug)]
pub struct Step<B: Backend> {
    /// First.
    pub actnorm: ActNorm<B>,
    /// Second.
    pub conv: InvertibleConv<B>,
    /// Third.
    pub coupling: Coupling<B>,
}

impl<B: Backend> Step<B> {
    /// # Shapes
    /// `[n, c, h, w]`, and `log |det|`: `[1]`
    pub fn forward(&self, x: Tensor<B, 4>) -> (Tensor<B, 4>, Tensor<B, 1>) {
        let (x, scale) = self.actnorm.forward(x);
        let (x, volume) = self.conv.forward(x);
        (self.coupling.forward(x), scale + volume)
    }

    /// The inverse of [`forward`](Self::forward).
    pub fn inverse(&self, y: Tensor<B, 4>) -> Tensor<B, 4> {
        self.actnorm
            .inverse(self.conv.inverse(self.coupling.inverse(y)))
    }
}

/// The steps of one scale and, but for the last scale, the split after them.
#[derive(Module, Debug)]
pub struct Level<B: Backend> {
    /// In the order of computation.
    pub steps: Vec<Step<B>>,
    /// None in the last level.
    pub split: Option<Split<B>>,
}

/// What a level makes of its input.
#[derive(Clone, Debug)]
pub struct Through<B: Backend> {
    /// What the next level works on, `[n, c / 2, h, w]`; none after the last.
    pub kept: Option<Tensor<B, 4>>,
    /// Standard normal under the model: `[n, c / 2, h, w]`, after the last `[n, c, h, w]`.
    pub noise: Tensor<B, 4>,
    /// `log |det|`: `[n]` or `[1]`
    pub log_det: Tensor<B, 1>,
}

impl<B: Backend> Level<B> {
    /// A level on so many channels; `rotation` counts the flow's convolutions.
    pub fn new(
        channels: usize,
        splits: bool,
        config: &GlowConfig,
        seed: u64,
        rotation: &mut u64,
        init: &mut Init<'_, B>,
    ) -> Self {
        let steps = (0..config.steps).map(|_| {
            *rotation += 1;
            Step {
                actnorm: ActNorm::new(channels, init),
                conv: InvertibleConv::new(channels, seed, *rotation, init),
                coupling: Coupling::new(channels, config.width, init),
            }
        });
        Self {
            steps: steps.collect(),
            split: splits.then(|| Split::new(channels, init)),
        }
    }

    /// # Shapes
    /// `[n, c, h, w]`
    pub fn forward(&self, x: Tensor<B, 4>) -> Through<B> {
        let mut log_det = Tensor::zeros([1], &x.device());
        let mut x = x;
        for step in &self.steps {
            let (next, volume) = step.forward(x);
            (x, log_det) = (next, log_det + volume);
        }
        match &self.split {
            None => Through {
                kept: None,
                noise: x,
                log_det,
            },
            Some(split) => {
                let (kept, noise, volume) = split.forward(x);
                Through {
                    kept: Some(kept),
                    noise,
                    log_det: log_det + volume,
                }
            }
        }
    }

    /// The inverse of [`forward`](Self::forward).
    pub fn inverse(&self, kept: Option<Tensor<B, 4>>, noise: Tensor<B, 4>) -> Tensor<B, 4> {
        let joined = match (&self.split, kept) {
            (Some(split), Some(kept)) => split.inverse(kept, noise),
            _ => noise,
        };
        let steps = self.steps.iter().rev();
        steps.fold(joined, |y, step| step.inverse(y))
    }

    /// The level with the actnorms of its steps set from this batch, one after the other.
    pub(crate) fn initialised(mut self, x: &Tensor<B, 4>) -> Self {
        let mut x = x.clone();
        self.steps = self
            .steps
            .into_iter()
            .map(|mut step| {
                step.actnorm = step.actnorm.initialised(&x);
                x = step.forward(x.clone()).0.detach();
                step
            })
            .collect();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;
    use shortrun_langevin::{NoiseKey, Purpose};

    #[test]
    fn every_step_is_normalised_by_what_the_steps_before_it_make() {
        let device = Default::default();
        let config = GlowConfig {
            steps: 3,
            width: 4,
            ..GlowConfig::default()
        };
        let init = &mut Init::new(0, Purpose::Weights, &device);
        let mut level = Level::<Flex>::new(4, true, &config, 1, &mut 0, init);
        for step in &mut level.steps {
            // As it begins, a coupling changes nothing.
            step.coupling.conv3 = init.conv([4, 2], 3, 1);
        }
        let key = NoiseKey {
            seed: 1,
            iteration: 0,
            purpose: Purpose::Samples,
        };
        let mut x = key.normal([6, 4, 5, 5], 0, &device) * 3.0 - 1.0;
        let level = level.initialised(&x);
        for step in &level.steps {
            let (y, _) = step.actnorm.forward(x.clone());
            let values: Tensor<Flex, 2> = y.swap_dims(0, 1).flatten(1, 3);
            let moments = [
                values.clone().mean_dim(1),
                values.square().mean_dim(1) - 1.0,
            ];
            for moment in moments {
                assert!(moment.abs().max().into_scalar() < 1e-3);
            }
            x = step.forward(x).0;
        }
    }
}
