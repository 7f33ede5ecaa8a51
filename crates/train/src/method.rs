//! What a training run asks of the method it learns by.

use burn::prelude::*;
use shortrun_data::Images;
use shortrun_eval::Reconstruction;
use shortrun_langevin::StepSizes;

use crate::{Checkpoint, CheckpointFile, Learned, State, TrainError, Tuning};

/// A way of learning a generative model of images: what a [`Session`](crate::Session) drives.
///
/// [`ShortRunMethod`](crate::ShortRunMethod) is Algorithm 1. The crate `shortrun-baselines` has
/// the methods it is compared with.
pub trait Method<B: Backend> {
    /// The images it makes: `[channels, height, width]`.
    fn image_shape(&self) -> [usize; 3];

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

    /// `count` images drawn from the model, `[n, c, h, w]` in [-1, 1], row by row.
    ///
    /// # Errors
    /// If `count` is 0.
    fn sample(&self, count: usize) -> Result<Vec<f32>, TrainError>;

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
