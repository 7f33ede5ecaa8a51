//! The time of a run.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use crate::{MetricsLog, RunFolder, Summary, TrainError, last_update};

/// Counts the seconds of a run over all its sessions. Looks at test images are no training: methods
/// differ in how long they take over them.
pub(crate) struct Clock {
    before: f64,
    begun: Instant,
    /// Spent on something else since.
    aside: Cell<Duration>,
    limit: Option<f64>,
}

impl Clock {
    /// Goes on from what the run's files say of its first `iteration` iterations; the time is over after
    /// `minutes`, if given.
    ///
    /// # Errors
    /// If `metrics.jsonl` cannot be read.
    pub(crate) fn go_on(
        folder: &RunFolder,
        iteration: u64,
        minutes: Option<f64>,
    ) -> Result<Self, TrainError> {
        let records = MetricsLog::read(folder)?;
        let logged = last_update(&records).map_or(0.0, |update| update.seconds);
        // A summary also counts what came after the last line: iterations that were not logged.
        let summary = Summary::read(folder).filter(|summary| summary.iterations == iteration);
        Ok(Self {
            before: summary.map_or(logged, |summary| summary.seconds.max(logged)),
            begun: Instant::now(),
            aside: Cell::default(),
            limit: minutes.map(|minutes| 60.0 * minutes),
        })
    }

    /// Seconds so far.
    pub(crate) fn seconds(&self) -> f64 {
        self.before + (self.begun.elapsed() - self.aside.get()).as_secs_f64()
    }

    /// Does something whose time is not counted.
    pub(crate) fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = work();
        self.aside.set(self.aside.get() + begun.elapsed());
        done
    }

    /// Whether the time is over.
    pub(crate) fn is_over(&self) -> bool {
        self.limit.is_some_and(|limit| self.seconds() >= limit)
    }
}
