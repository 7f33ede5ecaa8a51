//! A training run from start, or from its last checkpoint, to its end.

use std::{
    fs::File,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use burn::{prelude::*, tensor::TensorData};
use serde::{Deserialize, Serialize};
use shortrun_data::{Batches, DataSet};
use shortrun_eval::{Grid, Inference, mean_image_mse, reconstruct, sample};
use shortrun_langevin::{LatentLayers, ShortRun};
use shortrun_model::{Generator, Learnable};

use crate::{
    Checkpoint, Evaluation, Learned, Learner, Metrics, MetricsLog, Progress, Record, RunFolder,
    Skip, State, TrainConfig, TrainError, Tuned, folder::write_atomically, tuning::Tuner,
};

/// Columns of the picture grids.
const COLUMNS: usize = 8;

/// A chain that diverged once will do so again while the weights stay as they are, and they stay
/// while updates are skipped: so each skip lowers eta by this factor, and the updates after it
/// bring it back.
const BACK_OFF: f64 = 0.8;
const RECOVERY: f64 = 1.02;

/// A request to stop after the present iteration, from a signal handler or another thread.
pub type Stop = AtomicBool;

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// All iterations are done.
    Finished,
    /// It was asked to stop; the run can be resumed.
    Stopped,
    /// Too many updates in a row were skipped.
    Diverged,
}

/// `summary.json`: the end of a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How it ended.
    pub ending: Ending,
    /// Iterations done.
    pub iterations: u64,
    /// Updates not taken.
    pub skipped: u64,
    /// Where the images came from.
    pub data: String,
    /// The last look at the test images.
    pub evaluation: Option<Evaluation>,
    /// Iteration and test error of the best checkpoint.
    pub best: Option<(u64, f64)>,
    /// Seconds of this session.
    pub seconds: f64,
}

impl Summary {
    /// The `summary.json` of a run; nothing before the end of its first session, or if it cannot be
    /// read.
    pub fn read(folder: &RunFolder) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(folder.summary()).ok()?).ok()
    }
}

/// A training run.
pub struct Session<'a, B: Backend, G: Learnable<B>> {
    config: TrainConfig,
    layers: LatentLayers,
    folder: RunFolder,
    data: &'a DataSet,
    mean_image: Vec<f32>,
    learner: Learner<B, G>,
    state: State,
    device: B::Device,
    _lock: File,
}

impl<'a, B: Backend, G: Learnable<B>> Session<'a, B, G> {
    /// A new run of `generator`, whose latents have these layers, in a folder just made.
    ///
    /// # Errors
    /// If a setting makes no sense, the generator makes images of another shape, or another process
    /// is training in the folder.
    pub fn start(
        config: TrainConfig,
        generator: G,
        layers: LatentLayers,
        data: &'a DataSet,
        folder: RunFolder,
        device: &B::Device,
    ) -> Result<Self, TrainError> {
        config.check()?;
        let lock = folder.lock()?;
        let zero = Tensor::zeros([1, layers.dim()], device);
        let [_, channels, height, width] = generator.valid().forward(zero).dims();
        TrainError::check_shape(data.train.shape(), [channels, height, width])?;
        Ok(Self {
            _lock: lock,
            mean_image: data.train.mean_image(),
            learner: Learner::new(generator, layers.clone(), &config, data.train.len(), device),
            state: State::new(&data.name, data.train.len()),
            device: device.clone(),
            config,
            layers,
            folder,
            data,
        })
    }

    /// Goes on with the run in a folder, from its newest whole checkpoint, or from the beginning if
    /// it was stopped before the first; `generator` gives the shape. Damaged checkpoints are set
    /// aside; messages about them come back beside the session.
    ///
    /// # Errors
    /// If there are checkpoints but none is whole, the run was made on other images, or it has
    /// done more iterations than asked for.
    pub fn resume(
        config: TrainConfig,
        generator: G,
        layers: LatentLayers,
        data: &'a DataSet,
        folder: RunFolder,
        device: &B::Device,
    ) -> Result<(Self, Vec<String>), TrainError> {
        let mut session = Self::start(config, generator, layers, data, folder, device)?;
        let Some((checkpoint, damaged)) = Checkpoint::to_resume(&session.folder)? else {
            let message = "stopped before its first checkpoint: beginning again".to_owned();
            return Ok((session, vec![message]));
        };
        let (found, expected) = (&checkpoint.state, &session.state);
        if (&found.data, found.images) != (&expected.data, expected.images) {
            return Err(TrainError::OtherRun {
                path: session.folder.path().to_owned(),
                difference: format!(
                    "images are {} of '{}', not {} of '{}'",
                    found.images, found.data, expected.images, expected.data
                ),
            });
        }
        let (done, asked) = (found.iteration, session.config.iterations);
        if asked < done {
            return Err(TrainError::Setting {
                setting: "iterations",
                reason: format!(
                    "is {asked}, but the run has done {done}; ask for {done} or more (--steps)"
                ),
            });
        }
        session.learner = checkpoint.restore(session.learner, device)?;
        session.state = checkpoint.state;
        if session.state.skipped_in_a_row >= session.config.max_skipped {
            // It was stopped for that; whoever resumes it has changed something.
            session.state.skipped_in_a_row = 0;
        }
        let messages = damaged
            .into_iter()
            .map(|damaged| damaged.set_aside(&session.folder))
            .collect::<Result<_, _>>()?;
        Ok((session, messages))
    }

    /// Iterations done.
    pub fn iteration(&self) -> u64 {
        self.state.iteration
    }

    /// The generator with its present weights.
    pub fn generator(&self) -> &G {
        &self.learner.generator
    }

    /// Learns until all iterations are done or `stop` is set. In the end, and at every checkpoint,
    /// everything needed to go on is saved.
    ///
    /// # Errors
    /// If a file cannot be written, or too many updates in a row were not taken.
    pub fn run(&mut self, stop: &Stop, progress: &mut Progress) -> Result<Summary, TrainError> {
        let result = self.run_to_end(stop, progress);
        progress.finish();
        result
    }

    fn run_to_end(&mut self, stop: &Stop, progress: &mut Progress) -> Result<Summary, TrainError> {
        let begun = Instant::now();
        let mut log = MetricsLog::open(&self.folder, self.state.iteration)?;
        let mut batches = Batches::new(
            self.config.seed,
            self.data.train.len(),
            self.config.batch_size,
        )?;
        let mut evaluation = MetricsLog::last_evaluation(&self.folder)?;
        // What is not new came from a checkpoint.
        let mut saved = self.state.iteration > 0;
        progress.begin(self.state.iteration);
        while self.state.iteration < self.config.iterations && !stop.load(Ordering::Relaxed) {
            let learned = self.iterate(&mut batches, &mut log, begun, progress)?;
            if let Some(skip) = &learned.skipped
                && self.state.skipped_in_a_row >= self.config.max_skipped
            {
                self.save(&log)?;
                self.summarise(Ending::Diverged, evaluation, begun)?;
                return Err(TrainError::TooManySkipped {
                    iteration: self.state.iteration,
                    count: self.state.skipped_in_a_row,
                    reason: skip.reason(learned.sigma, &learned.step_sizes),
                    advice: skip.advice().to_owned(),
                });
            }
            saved = self
                .state
                .iteration
                .is_multiple_of(self.config.checkpoint.every);
            if saved {
                evaluation = Some(self.checkpoint(&mut log, progress)?);
            }
        }
        let ending = if self.state.iteration >= self.config.iterations {
            Ending::Finished
        } else {
            Ending::Stopped
        };
        let evaluated = evaluation
            .as_ref()
            .is_some_and(|last| last.iteration == self.state.iteration);
        // A stopped run must log what an unstopped one would: the evaluation waits for the end.
        match ending {
            Ending::Finished if !evaluated => {
                evaluation = Some(self.checkpoint(&mut log, progress)?);
            }
            _ if !saved => self.save(&log)?,
            _ => {}
        }
        self.summarise(ending, evaluation, begun)
    }

    /// One iteration, its line in the log, and its words.
    fn iterate(
        &mut self,
        batches: &mut Batches,
        log: &mut MetricsLog,
        begun: Instant,
        progress: &mut Progress,
    ) -> Result<Learned, TrainError> {
        let places = batches.indices(self.state.iteration);
        let logged = (self.state.iteration + 1).is_multiple_of(self.config.log_every);
        let images = self.images(&places);
        self.tune(log, progress)?;
        let step_sizes = self.state.step_sizes(&self.config, self.state.iteration);
        let learned =
            self.learner
                .iterate(self.state.iteration, images, &places, step_sizes, logged)?;
        self.state.iteration += 1;
        progress.advance(self.state.iteration);
        if logged || learned.skipped.is_some() {
            let seconds = begun.elapsed().as_secs_f64();
            let metrics = Metrics::new(self.state.iteration, &learned, seconds);
            progress.learned(&metrics);
            log.write(&Record::Train(metrics))?;
        }
        match &learned.skipped {
            None => {
                self.state.skipped_in_a_row = 0;
                self.state.step_factor = (self.state.step_factor * RECOVERY).min(1.0);
            }
            Some(skip) => {
                self.state.skipped += 1;
                self.state.skipped_in_a_row += 1;
                if matches!(skip, Skip::Diverged(_)) {
                    self.state.step_factor *= BACK_OFF;
                }
                progress.say(&format!(
                    "iteration {}: update skipped, {}. {}",
                    self.state.iteration,
                    skip.reason(learned.sigma, &learned.step_sizes),
                    skip.advice()
                ));
            }
        }
        Ok(learned)
    }

    /// Updates the step size, if it is time to.
    fn tune(&mut self, log: &mut MetricsLog, progress: &mut Progress) -> Result<(), TrainError> {
        let iteration = self.state.iteration;
        if !self.config.step_size.due(iteration) {
            return Ok(());
        }
        let tuner = Tuner {
            config: &self.config.step_size,
            seed: self.config.seed,
            steps: self.config.langevin.steps,
            layers: &self.layers,
            sigma: self.config.sigma.at(iteration),
        };
        // Without the back-off: that passes, and is no finding of the objective.
        let scale = self.config.step_scale(iteration);
        let now = match &self.state.tuned {
            Some(tuned) => tuned.step_sizes.scaled(scale),
            None => self.config.langevin.step_size.scaled(scale),
        };
        let mut adam = self
            .state
            .tuned
            .as_ref()
            .map_or_else(Default::default, |tuned| tuned.adam.clone());
        let (sizes, tuning) = tuner.update::<B, G>(
            iteration,
            &self.learner.generator,
            &self.data.train,
            &now,
            &mut adam,
            &self.device,
        )?;
        self.state.tuned = Some(Tuned {
            step_sizes: sizes.scaled(1.0 / scale),
            adam,
        });
        progress.tuned(&tuning, &sizes);
        log.write(&Record::StepSize(tuning))
    }

    /// Writes `summary.json`.
    fn summarise(
        &self,
        ending: Ending,
        evaluation: Option<Evaluation>,
        begun: Instant,
    ) -> Result<Summary, TrainError> {
        let summary = Summary {
            ending,
            iterations: self.state.iteration,
            skipped: self.state.skipped,
            data: self.data.provenance.clone(),
            evaluation,
            best: self.state.best,
            seconds: begun.elapsed().as_secs_f64(),
        };
        let path = self.folder.summary();
        let json =
            serde_json::to_vec_pretty(&summary).map_err(|e| crate::error::at(&path)(e.into()))?;
        write_atomically(&path, &json)?;
        Ok(summary)
    }

    fn images(&self, places: &[usize]) -> Tensor<B, 4> {
        let shape = self.data.train.shape();
        let shape = [places.len(), shape.channels, shape.height, shape.width];
        let values = self.data.train.to_f32(places);
        Tensor::from_data(TensorData::new(values, shape), &self.device)
    }

    /// Looks at test images and samples, then saves.
    fn checkpoint(
        &mut self,
        log: &mut MetricsLog,
        progress: &mut Progress,
    ) -> Result<Evaluation, TrainError> {
        let evaluation = self.evaluate()?;
        progress.evaluated(&evaluation);
        if let Some(mse) = evaluation.test_mse
            && self.state.best.is_none_or(|(_, best)| mse < best)
        {
            self.state.best = Some((self.state.iteration, mse));
        }
        log.write(&Record::Evaluation(evaluation.clone()))?;
        self.save(log)?;
        Ok(evaluation)
    }

    /// Saves a checkpoint, once the lines up to it are on the disk.
    fn save(&self, log: &MetricsLog) -> Result<(), TrainError> {
        log.sync()?;
        let keep = self.config.checkpoint.keep;
        Checkpoint::save(&self.folder, &self.learner, &self.state, keep)
    }

    fn evaluate(&self) -> Result<Evaluation, TrainError> {
        let iteration = self.state.iteration;
        let settings = self.config.evaluation;
        let (test, shape) = (&self.data.test, self.data.test.shape());
        let last = iteration.saturating_sub(1);
        let inference = Inference {
            chain: ShortRun::new(
                self.config.langevin.steps,
                self.state.step_sizes(&self.config, last),
            )?,
            sigma: self.config.sigma.at(last),
            seed: self.config.seed,
            layers: self.layers.clone(),
        };
        let generator = &self.learner.generator;
        let count = settings.images.min(test.len());
        let found = reconstruct::<B, G>(generator, test, count, &inference, &self.device)?;
        let shown = count.min(COLUMNS * 4) * shape.values();
        let name = format!("step-{iteration:08}.png");
        Grid::pairs(
            shape,
            COLUMNS,
            &found.originals[..shown],
            &found.generated[..shown],
        )
        .write_png(self.folder.reconstructions().join(&name))?;
        let samples = sample::<B, G>(
            generator,
            &self.layers,
            settings.samples,
            self.config.seed,
            &self.device,
        )?;
        Grid::new(shape, COLUMNS, samples).write_png(self.folder.samples().join(&name))?;
        let mse = found.mse();
        Ok(Evaluation {
            iteration,
            test_mse: mse.is_finite().then_some(mse),
            mean_image_mse: mean_image_mse(&self.mean_image, test, count),
            images: count,
            diverged: found.divergence.map_or(0.0, |found| found.share),
        })
    }
}
