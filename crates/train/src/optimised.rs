//! A module together with its optimiser.

use burn::{
    backend::Autodiff,
    module::{AutodiffModule, ModuleVisitor, Param},
    optim::{GradientsParams, Optimizer, adaptor::OptimizerAdaptor},
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
    optimiser: OptimizerAdaptor<Adam, M, Autodiff<B>>,
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

impl<B: Backend, M: AutodiffModule<Autodiff<B>>> Optimised<B, M> {
    /// A module with a fresh optimiser.
    pub fn new(name: &'static str, module: M, adam: &AdamConfig) -> Self {
        Self {
            module,
            optimiser: Adam::new(*adam).optimiser(),
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

    /// One step of Adam.
    pub fn step(&mut self, rate: f64, gradients: WeightGradients) {
        self.module = self.optimiser.step(rate, self.module.clone(), gradients.0);
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
