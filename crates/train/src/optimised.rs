//! A module together with its optimiser.

use burn::{
    backend::Autodiff,
    module::{AutodiffModule, ModuleVisitor, Param},
    optim::GradientsParams,
    prelude::*,
    tensor::backend::AutodiffBackend,
};

use shortrun_model::gradient_sums;

use crate::{AdamConfig, Checkpoint, CheckpointFile, TrainError, adam::Adam};

/// The tape's gradients of a loss.
pub type Gradients<B> = <Autodiff<B> as AutodiffBackend>::Gradients;

/// A module and the state of its Adam. Its name is that of its files in a checkpoint.
pub struct Optimised<B: Backend, M: AutodiffModule<Autodiff<B>>> {
    /// The module with its present weights.
    pub module: M,
    optimiser: Adam<B, M>,
    clip: Option<f64>,
    name: &'static str,
}

/// The gradients of one module's weights.
pub struct WeightGradients(GradientsParams);

/// What is known of gradients as a whole.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// The sum of the squares of all entries.
    pub square: f64,
    /// Whether all entries are finite numbers.
    pub finite: bool,
}

impl Size {
    /// Their norm.
    pub fn norm(&self) -> f64 {
        self.square.sqrt()
    }

    /// Of these gradients and others together.
    pub fn and(self, other: Self) -> Self {
        Self {
            square: self.square + other.square,
            finite: self.finite && other.finite,
        }
    }
}

impl<B: Backend, M: AutodiffModule<Autodiff<B>>> Optimised<B, M> {
    /// A module with a fresh optimiser.
    pub fn new(name: &'static str, module: M, adam: &AdamConfig) -> Self {
        Self {
            module,
            optimiser: Adam::new(*adam),
            clip: adam.clip,
            name,
        }
    }

    /// Takes this module's gradients from the tape's.
    pub fn gradients(&self, tape: &mut Gradients<B>) -> WeightGradients {
        WeightGradients(GradientsParams::from_module(tape, &self.module))
    }

    /// How large its gradients are: waits for the device.
    pub fn size(&self, gradients: &WeightGradients) -> Size {
        let mut flat = Flat {
            gradients: &gradients.0,
            found: Vec::new(),
        };
        self.module.visit(&mut flat);
        let sums = gradient_sums::<B>(&flat.found);
        Size {
            square: sums.iter().map(|[_, square]| square).sum(),
            finite: sums.iter().all(|[sum, _]| sum.is_finite()),
        }
    }

    /// One step of Adam, on gradients that are clipped if the loss's whole gradient has a larger
    /// `norm` than the settings allow.
    pub fn step(&mut self, rate: f64, mut gradients: WeightGradients, norm: f64) {
        if let Some(clip) = self.clip.filter(|clip| norm > *clip) {
            self.module.visit(&mut Scale {
                gradients: &mut gradients.0,
                factor: clip / norm,
            });
        }
        self.module = self.optimiser.step(rate, self.module.clone(), gradients.0);
    }

    /// The files of a checkpoint.
    ///
    /// # Errors
    /// If the weights cannot be encoded.
    pub fn save(&self) -> Result<Vec<CheckpointFile>, TrainError> {
        let mut files = CheckpointFile::of_module(self.name, &self.module)?;
        let record = self.optimiser.records.clone();
        files.push(CheckpointFile::of_record::<Autodiff<B>, _>(
            optimiser_file(self.name),
            record,
        )?);
        Ok(files)
    }

    /// Takes up the weights and the optimiser of a checkpoint.
    ///
    /// # Errors
    /// If they are not there, or of a module of another shape.
    pub fn load(&mut self, checkpoint: &Checkpoint, device: &B::Device) -> Result<(), TrainError> {
        self.module =
            checkpoint.module::<Autodiff<B>, M>(self.name, self.module.clone(), device)?;
        self.optimiser.records =
            checkpoint.record::<Autodiff<B>, _>(&optimiser_file(self.name), device)?;
        Ok(())
    }
}

fn optimiser_file(name: &str) -> String {
    format!("{name}.optimiser.bin")
}

/// Multiplies the gradients.
struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    factor: f64,
}

impl<B: Backend> ModuleVisitor<Autodiff<B>> for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, weight: &Param<Tensor<Autodiff<B>, D>>) {
        if let Some(gradient) = self.gradients.remove::<B, D>(weight.id) {
            self.gradients.register(weight.id, gradient * self.factor);
        }
    }
}

/// Collects the gradients, each value by value.
struct Flat<'a, B: Backend> {
    gradients: &'a GradientsParams,
    found: Vec<Tensor<B, 1>>,
}

impl<B: Backend> ModuleVisitor<Autodiff<B>> for Flat<'_, B> {
    fn visit_float<const D: usize>(&mut self, weight: &Param<Tensor<Autodiff<B>, D>>) {
        if let Some(gradient) = self.gradients.get::<B, D>(weight.id) {
            self.found.push(gradient.flatten(0, D - 1));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::{
        backend::Flex,
        nn::{Linear, LinearConfig},
    };

    use super::*;

    /// Weights after two updates of `sum a w` with these a, whose gradient is a in each of 4 weights.
    fn after(slopes: [f64; 2], clip: Option<f64>) -> Vec<f32> {
        let device = Default::default();
        let adam = AdamConfig {
            beta1: 0.5,
            beta2: 0.9,
            epsilon: 1e-3,
            clip,
        };
        let linear = LinearConfig::new(2, 2)
            .with_bias(false)
            .with_initializer(burn::nn::Initializer::Zeros)
            .init(&device);
        let mut optimised: Optimised<Flex, Linear<Autodiff<Flex>>> =
            Optimised::new("linear", linear, &adam);
        for slope in slopes {
            let loss = optimised.module.weight.val().sum() * slope;
            let gradients = optimised.gradients(&mut loss.backward());
            let size = optimised.size(&gradients);
            assert!((size.norm() - 2.0 * slope.abs()).abs() < 1e-5 * slope.abs());
            optimised.step(0.1, gradients, size.norm());
        }
        optimised.module.weight.val().into_data().to_vec().unwrap()
    }

    #[test]
    fn a_gradient_longer_than_clip_counts_as_one_of_that_norm() {
        // A norm of 1 is a slope of 1/2 in each weight.
        let (long, clipped) = ([0.25, 40.0], after([0.25, 40.0], Some(1.0)));
        let expected = after([0.25, 0.5], None);
        for (found, expected) in clipped.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
        assert!((after(long, None)[0] - expected[0]).abs() > 1e-3);
        assert_eq!(after([0.25, 0.5], Some(1.001)), expected);
    }
}
