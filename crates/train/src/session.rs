//! A training run from start, or from its last checkpoint, to its end.

use std::{
    fs::File,
    sync::atomic::{AtomicBool, Ordering},
};

use burn::{prelude::*, tensor::TensorData};
use serde::{Deserialize, Serialize};
use shortrun_data::{Batches, DataSet};
use shortrun_eval::{Grid, host, mean_image_mse};

use crate::{
    Checkpoint, Evaluation, Learned, Method, Metrics, MetricsLog, Parameters, Progress, Record,
    RunFolder, State, TrainConfig, TrainError, back_off, clock::Clock, folder::write_atomically,
    memory::peak_memory_mib,
};

/// Columns of the picture grids.
const COLUMNS: usize = 8;
/// A number that does not depend on how many are drawn.
const SAMPLES_AT_ONCE: usize = 50;

/// A request to stop after the present iteration, from a signal handler or another thread.
pub type Stop = AtomicBool;

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// All iterations are done, or the time that was given is over.
    Finished,
    /// It was asked to stop; the run can be resumed.
    Stopped,
    /// Too many updates in a row were skipped.
    Diverged,
}

/// `summary.json`: the end of the last session; not there while one goes on, or if it was killed.
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
    /// Seconds of training over all sessions, without looks at test images.
    pub seconds: f64,
    /// How many numbers are learned.
    #[serde(default)]
    pub parameters: Parameters,
    /// The most memory that a process had at once, of all sessions, in MiB, where the system says so.
    #[serde(default)]
    pub peak_memory_mib: Option<f64>,
}

impl Summary {
    /// The `summary.json` of a run; nothing before the end of its first session, or if it cannot be
    /// read.
    pub fn read(folder: &RunFolder) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(folder.summary()).ok()?).ok()
    }
}

/// A training run by one method.
pub struct Session<'a, B: Backend, M: Method<B>> {
    config: TrainConfig,
    folder: RunFolder,
    data: &'a DataSet,
    mean_image: Vec<f32>,
    method: M,
    state: State,
    device: B::Device,
    /// Of earlier sessions.
    peak_memory_before: Option<f64>,
    _lock: File,
}

impl<'a, B: Backend, M: Method<B>> Session<'a, B, M> {
    /// A new run in a folder just made.
    ///
    /// # Errors
    /// If a setting makes no sense, the method makes images of another shape, or another process
    /// is training in the folder.
    pub fn start(
        config: TrainConfig,
        method: M,
        data: &'a DataSet,
        folder: RunFolder,
        device: &B::Device,
    ) -> Result<Self, TrainError> {
        config.check()?;
        let lock = folder.lock()?;
        for images in [&data.train, &data.test] {
            TrainError::check_shape(images.shape(), method.image_shape())?;
        }
        Ok(Self {
            _lock: lock,
            mean_image: data.train.mean_image(),
            method,
            state: State::new(&data.name, data.train.len()),
            device: device.clone(),
            peak_memory_before: None,
            config,
            folder,
            data,
        })
    }

    /// Goes on with the run in a folder, from its newest whole checkpoint, or from the beginning if
    /// it was stopped before the first; `method` is as it was made for the start. Damaged
    /// checkpoints are set aside; messages about them come back beside the session.
    ///
    /// # Errors
    /// If there are checkpoints but none is whole, the run was made on other images, or it has
    /// done more iterations than asked for.
    pub fn resume(
        config: TrainConfig,
        method: M,
        data: &'a DataSet,
        folder: RunFolder,
        device: &B::Device,
    ) -> Result<(Self, Vec<String>), TrainError> {
        let mut session = Self::start(config, method, data, folder, device)?;
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
        session.method.load(&checkpoint)?;
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

    /// What is learned, as it is now.
    pub fn method(&self) -> &M {
        &self.method
    }

    /// Learns until all iterations are done, the time is over or `stop` is set. In the end, and at every checkpoint,
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
        let mut log = MetricsLog::open(&self.folder, self.state.iteration)?;
        let minutes = self.config.minutes;
        let clock = Clock::go_on(&self.folder, self.state.iteration, minutes)?;
        self.forget_summary()?;
        let mut batches = Batches::new(
            self.config.seed,
            self.data.train.len(),
            self.config.batch_size,
        )?;
        let mut evaluation = MetricsLog::last_evaluation(&self.folder)?;
        // What is not new came from a checkpoint.
        let mut saved = self.state.iteration > 0;
        let iterations = self.config.iterations;
        let done = |iteration: u64| iteration >= iterations || clock.is_over();
        progress.begin(self.state.iteration);
        while !done(self.state.iteration) && !stop.load(Ordering::Relaxed) {
            let learned = self.iterate(&mut batches, &mut log, &clock, progress)?;
            if let Some(skip) = &learned.skipped
                && self.state.skipped_in_a_row >= self.config.max_skipped
            {
                self.save(&log)?;
                self.summarise(Ending::Diverged, evaluation, &clock)?;
                return Err(TrainError::TooManySkipped {
                    iteration: self.state.iteration,
                    count: self.state.skipped_in_a_row,
                    reason: learned.reason().unwrap_or_default(),
                    advice: skip.advice().to_owned(),
                });
            }
            saved = self
                .state
                .iteration
                .is_multiple_of(self.config.checkpoint.every);
            if saved {
                evaluation = Some(clock.aside(|| self.checkpoint(&mut log, progress))?);
            }
        }
        let ending = if done(self.state.iteration) {
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
                evaluation = Some(clock.aside(|| self.checkpoint(&mut log, progress))?);
            }
            _ if !saved => self.save(&log)?,
            _ => {}
        }
        self.summarise(ending, evaluation, &clock)
    }

    /// One iteration, its line in the log, and its words.
    fn iterate(
        &mut self,
        batches: &mut Batches,
        log: &mut MetricsLog,
        clock: &Clock,
        progress: &mut Progress,
    ) -> Result<Learned, TrainError> {
        if back_off::all_is_well(&self.state) {
            // Not at the end of the iteration: a checkpoint made there has these weights already.
            self.method.keep_weights(self.state.iteration);
            self.state.went_back = false;
        }
        let places = batches.indices(self.state.iteration);
        let logged = (self.state.iteration + 1).is_multiple_of(self.config.log_every);
        let images = self.images(&places);
        if let Some((sizes, tuning)) = self.method.tune(&mut self.state, &self.data.train)? {
            progress.tuned(&tuning, &sizes);
            log.write(&Record::StepSize(tuning))?;
        }
        let learned = self.method.learn(&self.state, images, &places, logged)?;
        self.state.iteration += 1;
        progress.advance(self.state.iteration);
        if logged || learned.skipped.is_some() {
            let metrics = Metrics::new(self.state.iteration, &learned, clock.seconds());
            progress.learned(&metrics);
            log.write(&Record::Train(metrics))?;
        }
        match &learned.skipped {
            None => self.state.skipped_in_a_row = 0,
            Some(skip) => {
                self.state.skipped += 1;
                self.state.skipped_in_a_row += 1;
                progress.say(&format!(
                    "iteration {}: update skipped, {}. {}",
                    self.state.iteration,
                    learned.reason().unwrap_or_default(),
                    skip.advice()
                ));
            }
        }
        self.back_off(&learned, progress);
        Ok(learned)
    }

    /// Shorter steps if chains diverged, and weights of before where that does not help.
    fn back_off(&mut self, learned: &Learned, progress: &Progress) {
        let allowed = self.config.langevin.max_diverged;
        back_off::update(&mut self.state, learned, allowed);
        if back_off::is_astray(&self.state)
            && let Some(before) = self.method.go_back()
        {
            progress.say(&format!(
                "iteration {}: learning went astray; going on with the weights of iteration {before}",
                self.state.iteration
            ));
            back_off::went_back(&mut self.state);
        }
    }

    /// Removes the `summary.json` of the session before: were this one killed, it would be taken for
    /// its end.
    fn forget_summary(&mut self) -> Result<(), TrainError> {
        let path = self.folder.summary();
        let before = Summary::read(&self.folder);
        self.peak_memory_before = before.and_then(|summary| summary.peak_memory_mib);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(crate::error::at(&path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Writes `summary.json`.
    fn summarise(
        &self,
        ending: Ending,
        evaluation: Option<Evaluation>,
        clock: &Clock,
    ) -> Result<Summary, TrainError> {
        let summary = Summary {
            ending,
            iterations: self.state.iteration,
            skipped: self.state.skipped,
            data: self.data.provenance.clone(),
            evaluation,
            best: self.state.best,
            seconds: clock.seconds(),
            parameters: self.method.parameters(),
            peak_memory_mib: [self.peak_memory_before, peak_memory_mib()]
                .into_iter()
                .flatten()
                .reduce(f64::max),
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
        let evaluation = match self.evaluate() {
            Ok(evaluation) => evaluation,
            Err(error) => {
                // What was learned must not be lost for a look at it.
                self.save(log)?;
                return Err(error);
            }
        };
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
        Checkpoint::save(&self.folder, self.method.save()?, &self.state, keep)
    }

    fn evaluate(&self) -> Result<Evaluation, TrainError> {
        let iteration = self.state.iteration;
        let settings = self.config.evaluation;
        let (test, shape) = (&self.data.test, self.data.test.shape());
        let count = settings.images.min(test.len());
        let found = self.method.reconstruct(&self.state, test, count)?;
        let shown = count.min(COLUMNS * 4) * shape.values();
        let name = format!("step-{iteration:08}.png");
        Grid::pairs(
            shape,
            COLUMNS,
            &found.originals[..shown],
            &found.generated[..shown],
        )
        .write_png(self.folder.reconstructions().join(&name))?;
        let drawn = self.method.samples(settings.samples, SAMPLES_AT_ONCE)?;
        let samples: Vec<f32> = drawn.flat_map(host).collect();
        Grid::new(shape, COLUMNS, samples).write_png(self.folder.samples().join(&name))?;
        let mse = Some(found.mse()).filter(|mse| mse.is_finite() && !self.method.is_exact());
        let density = self.method.log_density(&self.state, test, count)?;
        Ok(Evaluation {
            iteration,
            test_mse: mse,
            mean_image_mse: mean_image_mse(&self.mean_image, test, count),
            images: count,
            diverged: found.divergence.map_or(0.0, |found| found.share),
            log_density: density
                .map(|density| density.mean())
                .filter(|nats| nats.is_finite()),
        })
    }
}
