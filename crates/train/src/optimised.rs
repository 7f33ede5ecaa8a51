//! A module together with its optimiser.

use burn::{
    backend::Autodiff,
    module::{AutodiffModule, ModuleVisitor, Param},
    optim::{
        Adam, AdamConfig as BurnAdamConfig, GradientsParams, Optimizer, adaptor::OptimizerAdaptor,
    },
    prelude::*,
    tensor::backend::AutodiffBackend,
};

use crate::{AdamConfig, Checkpoint, CheckpointFile, TrainError};

/// The tape's gradients of a loss.
pub type Gradients<B> = <Autodiff<B> as AutodiffBackend>::Gradients;

/// A module and the state of its Adam. Its name is that of its files in a checkpoint.
pub struct Optimised<B: Backend, M: AutodiffModule<Autodiff<B>>> {
    /// The module with its present weights.
    pub module: M,
    optimiser: OptimizerAdaptor<Adam, M, Autodiff<B>>,
    name: &'static str,
}

/// The gradients of one module's weights.
pub struct WeightGradients {
    gradients: GradientsParams,
    square: f64,
    finite: bool,
}

impl WeightGradients {
    /// The sum of the squares of all entries; 0 if it was not measured.
    pub fn square(&self) -> f64 {
        self.square
    }

    /// Whether all entries are finite numbers.
    pub fn is_finite(&self) -> bool {
        self.finite
    }
}

impl<B: Backend, M: AutodiffModule<Autodiff<B>>> Optimised<B, M> {
    /// A module with a fresh optimiser.
    pub fn new(name: &'static str, module: M, adam: &AdamConfig) -> Self {
        let adam = BurnAdamConfig::new()
            .with_beta_1(adam.beta1)
            .with_beta_2(adam.beta2)
            .with_epsilon(adam.epsilon);
        Self {
            module,
            optimiser: adam.init(),
            name,
        }
    }

    /// Takes this module's gradients from the tape's; with `measure`, their size as well.
    pub fn gradients(&self, tape: &mut Gradients<B>, measure: bool) -> WeightGradients {
        let gradients = GradientsParams::from_module(tape, &self.module);
        let sums = |of: fn(Tensor<B, 1>) -> Tensor<B, 1>| {
            let mut sums = GradientSums {
                gradients: &gradients,
                of,
                sums: Vec::new(),
            };
            self.module.visit(&mut sums);
            match sums.sums {
                sums if sums.is_empty() => Vec::new(),
                sums => crate::host(Tensor::cat(sums, 0)),
            }
        };
        let square = match measure {
            true => sums(Tensor::square).into_iter().map(f64::from).sum(),
            false => 0.0,
        };
        let finite = sums(|gradient| gradient).iter().all(|sum| sum.is_finite());
        WeightGradients {
            gradients,
            square,
            finite,
        }
    }

    /// One step of Adam.
    pub fn step(&mut self, rate: f64, gradients: WeightGradients) {
        self.module = self
            .optimiser
            .step(rate, self.module.clone(), gradients.gradients);
    }

    /// The files of a checkpoint.
    ///
    /// # Errors
    /// If the weights cannot be encoded.
    pub fn save(&self) -> Result<Vec<CheckpointFile>, TrainError> {
        let mut files = CheckpointFile::of_module(self.name, &self.module)?;
        let record = self.optimiser.to_record();
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
        let record = checkpoint.record::<Autodiff<B>, _>(&optimiser_file(self.name), device)?;
        self.optimiser = self.optimiser.clone().load_record(record);
        Ok(())
    }
}

fn optimiser_file(name: &str) -> String {
    format!("{name}.optimiser.bin")
}

/// Collects one number from each weight's gradient: the sum of a function of its entries.
struct GradientSums<'a, B: Backend> {
    gradients: &'a GradientsParams,
    of: fn(Tensor<B, 1>) -> Tensor<B, 1>,
    sums: Vec<Tensor<B, 1>>,
}

impl<B: Backend> ModuleVisitor<Autodiff<B>> for GradientSums<'_, B> {
    fn visit_float<const D: usize>(&mut self, weight: &Param<Tensor<Autodiff<B>, D>>) {
        if let Some(gradient) = self.gradients.get::<B, D>(weight.id) {
            self.sums.push((self.of)(gradient.flatten(0, D - 1)).sum());
        }
    }
}
