//! What a training run asks of the method it learns by.

use burn::prelude::*;
use serde::{Deserialize, Serialize};
use shortrun_data::Images;
use shortrun_eval::Reconstruction;
use shortrun_langevin::StepSizes;

use crate::{Checkpoint, CheckpointFile, Learned, State, TrainError, Tuning};

/// Batches of images `[n, c, h, w]`.
pub type Samples<'a, B> = Box<dyn Iterator<Item = Tensor<B, 4>> + 'a>;

/// How many numbers a method learns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// Of what makes images.
    pub generator: usize,
    /// Of what infers latents, or of latents that are learned: 0 if there is nothing of the kind.
    pub inference: usize,
}

/// What a method says itself of how likely images are.
#[derive(Clone, Debug, PartialEq)]
pub struct Density {
    /// Of each image in nats, of its values scaled to [-1, 1].
    pub nats: Vec<f64>,
    /// Whether these are log p(x) or lower bounds of it.
    pub kind: DensityKind,
}

/// What a [`Density`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DensityKind {
    /// log p(x).
    Exact,
    /// In expectation not above log p(x).
    LowerBound,
}

/// A way of learning a generative model of images: what a [`Session`](crate::Session) drives.
///
/// [`ShortRunMethod`](crate::ShortRunMethod) is Algorithm 1. The crate `shortrun-baselines` has
/// the methods it is compared with.
pub trait Method<B: Backend> {
    /// The images it makes: `[channels, height, width]`.
    fn image_shape(&self) -> [usize; 3];

    /// How many numbers it learns.
    fn parameters(&self) -> Parameters;

    /// Tunes the step sizes of `state`, if the method has chains and it is time to; gives them as
    /// they hold from now on. The default has nothing to tune.
    ///
    /// # Errors
    /// If they cannot be tuned at all.
    fn tune(
        &mut self,
        state: &mut State,
        images: &Images,
    ) -> Result<Option<(StepSizes, Tuning)>, TrainError> {
        let _ = (state, images);
        Ok(None)
    }

    /// One learning step on `images` `[n, c, h, w]`, which stand at `places` in the data set. With
    /// `measure` [`Measured`](crate::Measured) is reported as well.
    ///
    /// An update that must not be taken is reported as skipped, and leaves the weights as they are.
    ///
    /// # Errors
    /// If a setting makes no sense.
    fn learn(
        &mut self,
        state: &State,
        images: Tensor<B, 4>,
        places: &[usize],
        measure: bool,
    ) -> Result<Learned, TrainError>;

    /// Keeps the weights after an iteration at which all was well, to [go back](Self::go_back) to.
    /// Methods whose chains cannot diverge, as by default, have no need of it.
    fn keep_weights(&mut self, iteration: u64) {
        let _ = iteration;
    }

    /// Takes up weights that were kept, if any were; gives the iteration they are of.
    fn go_back(&mut self) -> Option<u64> {
        None
    }

    /// The first `count` of `images` beside what the model makes of them.
    ///
    /// # Errors
    /// If there are no images.
    fn reconstruct(
        &self,
        state: &State,
        images: &Images,
        count: usize,
    ) -> Result<Reconstruction, TrainError>;

    /// Whether [`reconstruct`](Self::reconstruct) gives every image back, whatever was learned: its
    /// error is that of an inverse then, and says nothing of the model.
    fn is_exact(&self) -> bool {
        false
    }

    /// How likely the first `count` of `images` are, by the method's own account; `None`, the default,
    /// if it gives none.
    ///
    /// # Errors
    /// If there are no images.
    fn log_density(
        &self,
        state: &State,
        images: &Images,
        count: usize,
    ) -> Result<Option<Density>, TrainError> {
        let _ = (state, images, count);
        Ok(None)
    }

    /// `count` images drawn from the model, in [-1, 1], `batch_size` of them at a time. Which
    /// images depends on the seed of the run alone.
    ///
    /// # Errors
    /// If `count` or `batch_size` is 0.
    fn samples(&self, count: usize, batch_size: usize) -> Result<Samples<'_, B>, TrainError>;

    /// All that is needed to go on, as the files of a checkpoint.
    ///
    /// # Errors
    /// If something cannot be encoded.
    fn save(&self) -> Result<Vec<CheckpointFile>, TrainError>;

    /// Takes up what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// If a file is missing or of a model of another shape.
    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), TrainError>;
}

impl Density {
    /// The mean over the images, in nats; not a number of none.
    pub fn mean(&self) -> f64 {
        self.nats.iter().sum::<f64>() / self.nats.len() as f64
    }
}

impl<B: Backend, M: Method<B> + ?Sized> Method<B> for Box<M> {
    fn image_shape(&self) -> [usize; 3] {
        (**self).image_shape()
    }

    fn parameters(&self) -> Parameters {
        (**self).parameters()
    }

    fn is_exact(&self) -> bool {
        (**self).is_exact()
    }

    fn log_density(
        &self,
        state: &State,
        images: &Images,
        count: usize,
    ) -> Result<Option<Density>, TrainError> {
        (**self).log_density(state, images, count)
    }

    fn tune(
        &mut self,
        state: &mut State,
        images: &Images,
    ) -> Result<Option<(StepSizes, Tuning)>, TrainError> {
        (**self).tune(state, images)
    }

    fn learn(
        &mut self,
        state: &State,
        images: Tensor<B, 4>,
        places: &[usize],
        measure: bool,
    ) -> Result<Learned, TrainError> {
        (**self).learn(state, images, places, measure)
    }

    fn keep_weights(&mut self, iteration: u64) {
        (**self).keep_weights(iteration);
    }

    fn go_back(&mut self) -> Option<u64> {
        (**self).go_back()
    }

    fn reconstruct(
        &self,
        state: &State,
        images: &Images,
        count: usize,
    ) -> Result<Reconstruction, TrainError> {
        (**self).reconstruct(state, images, count)
    }

    fn samples(&self, count: usize, batch_size: usize) -> Result<Samples<'_, B>, TrainError> {
        (**self).samples(count, batch_size)
    }

    fn save(&self) -> Result<Vec<CheckpointFile>, TrainError> {
        (**self).save()
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        (**self).load(checkpoint)
    }
}
