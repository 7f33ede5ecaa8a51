//! `metrics.jsonl`: one JSON object a line.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{File, OpenOptions},
    io::Write,
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use crate::{
    Learned, Measured, RunFolder, TrainError, Tuning,
    error::at,
    folder::{whole_lines, write_atomically},
};

/// One line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Record {
    /// A learning iteration.
    Train(Metrics),
    /// A look at the test images.
    Evaluation(Evaluation),
    /// An update of the step size.
    StepSize(Tuning),
}

/// A learning iteration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Iterations done, this one included.
    pub iteration: u64,
    /// The mean loss in nats an image; null if it is not finite. Of short-run inference:
    /// `-log p(x, e_K)` without constants.
    pub loss: Option<f64>,
    /// What the method reports beside its loss, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, Option<f64>>,
    /// Mean squared error at the end of the chains, per value in [-1, 1].
    pub mse: Option<f64>,
    /// Mean energy at the start of the chains, in nats; null if it is not finite.
    pub start_energy: Option<f64>,
    /// Norm of the loss's gradient in all weights; null if it is not finite or there was none.
    /// (Runs of earlier versions have neither norm.)
    #[serde(default)]
    pub weight_gradient_norm: Option<f64>,
    /// Mean over the chains of the norm of the last gradient they followed, `|∇U(e_{K-1})|`.
    #[serde(default)]
    pub latent_gradient_norm: Option<f64>,
    /// Share of chains that diverged.
    pub diverged: f64,
    /// Why the update was not taken, if it was not.
    pub skipped: Option<String>,
    /// Standard deviation of a pixel.
    pub sigma: f64,
    /// Learning rate.
    pub learning_rate: f64,
    /// Step sizes, noise form: one, or one for each step; none without chains.
    pub eta: Vec<f64>,
    /// Step sizes, drift form.
    pub drift: Vec<f64>,
    /// Seconds so far, over all sessions.
    pub seconds: f64,
}

impl Metrics {
    /// The line of an iteration.
    pub fn new(iteration: u64, learned: &Learned, seconds: f64) -> Self {
        let finite = |value: f64| value.is_finite().then_some(value);
        let measured = |value: fn(&Measured) -> f64| learned.measured.as_ref().map(value);
        let sizes = learned.step_sizes.as_ref().map_or(&[][..], |s| s.sizes());
        Self {
            iteration,
            loss: finite(learned.loss),
            parts: learned
                .parts
                .iter()
                .map(|(name, part)| ((*name).to_owned(), finite(*part)))
                .collect(),
            mse: measured(|m| m.mse).and_then(finite),
            start_energy: finite(learned.start_energy),
            weight_gradient_norm: measured(|m| m.weight_gradient).and_then(finite),
            latent_gradient_norm: measured(|m| m.latent_gradient).and_then(finite),
            diverged: learned.diverged,
            skipped: learned.reason(),
            sigma: learned.sigma,
            learning_rate: learned.learning_rate,
            eta: sizes.iter().map(|step| step.eta()).collect(),
            drift: sizes.iter().map(|step| step.drift()).collect(),
            seconds,
        }
    }
}

/// A look at the test images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Iterations done.
    pub iteration: u64,
    /// Mean squared error of test reconstructions, per value in [-1, 1]; null if not finite, or if the
    /// method gives images back as they are.
    pub test_mse: Option<f64>,
    /// The error of the mean training image on the same images.
    pub mean_image_mse: f64,
    /// How many test images.
    pub images: usize,
    /// Share of the chains that diverged.
    pub diverged: f64,
    /// Mean over these images of what the method itself says of log p(x), in nats, if it does: the
    /// value, or a lower bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_density: Option<f64>,
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.test_mse, self.log_density) {
            (None, Some(nats)) => {
                write!(f, "log p(x) {nats:.1} nats on {} test images", self.images)
            }
            (mse, _) => write!(
                f,
                "test MSE {:.5} per value in [-1, 1] on {} images (mean image: {:.5})",
                mse.unwrap_or(f64::NAN),
                self.images,
                self.mean_image_mse
            ),
        }
    }
}

impl Record {
    /// The iteration it belongs to.
    pub fn iteration(&self) -> u64 {
        match self {
            Self::Train(metrics) => metrics.iteration,
            Self::Evaluation(evaluation) => evaluation.iteration,
            Self::StepSize(tuning) => tuning.iteration,
        }
    }
}

/// The last learning iteration in the log.
pub fn last_update(records: &[Record]) -> Option<&Metrics> {
    records.iter().rev().find_map(|record| match record {
        Record::Train(metrics) => Some(metrics),
        Record::Evaluation(_) | Record::StepSize(_) => None,
    })
}

/// The open file.
#[derive(Debug)]
pub struct MetricsLog {
    file: File,
    path: PathBuf,
}

impl MetricsLog {
    /// Opens the log of a run that has done `iteration` iterations. Lines beyond that, and a last
    /// line that was cut off, are removed: the run will write them again.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn open(folder: &RunFolder, iteration: u64) -> Result<Self, TrainError> {
        let path = folder.metrics();
        if path.exists() {
            let kept: String = whole_lines::<Record>(&path)?
                .into_iter()
                .filter(|(record, _)| record.iteration() <= iteration)
                .map(|(_, line)| line + "\n")
                .collect();
            write_atomically(&path, kept.as_bytes())?;
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(at(&path))?;
        Ok(Self { file, path })
    }

    /// The records of a run so far.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read(folder: &RunFolder) -> Result<Vec<Record>, TrainError> {
        let lines = whole_lines(&folder.metrics())?;
        Ok(lines.into_iter().map(|(record, _)| record).collect())
    }

    /// The last look at the test images, if there was one.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn last_evaluation(folder: &RunFolder) -> Result<Option<Evaluation>, TrainError> {
        let records = Self::read(folder)?.into_iter().rev();
        Ok(records
            .filter_map(|record| match record {
                Record::Evaluation(evaluation) => Some(evaluation),
                Record::Train(_) | Record::StepSize(_) => None,
            })
            .next())
    }

    /// Appends a line.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&mut self, record: &Record) -> Result<(), TrainError> {
        let mut line = serde_json::to_vec(record).map_err(|e| at(&self.path)(e.into()))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(at(&self.path))
    }

    /// Waits until all lines are on the disk.
    pub(crate) fn sync(&self) -> Result<(), TrainError> {
        self.file.sync_data().map_err(at(&self.path))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn evaluation(iteration: u64) -> Record {
        Record::Evaluation(Evaluation {
            iteration,
            test_mse: Some(0.1),
            mean_image_mse: 0.2,
            images: 4,
            diverged: 0.0,
            log_density: None,
        })
    }

    #[test]
    fn reopening_drops_what_lies_beyond_the_checkpoint_and_a_torn_line() {
        let path = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(path.path(), "").unwrap();
        let mut log = MetricsLog::open(&folder, 0).unwrap();
        for iteration in [10, 20, 30] {
            log.write(&evaluation(iteration)).unwrap();
        }
        log.file.write_all(b"{\"kind\":\"train\",\"itera").unwrap();
        let mut log = MetricsLog::open(&folder, 20).unwrap();
        log.write(&evaluation(40)).unwrap();
        let found = MetricsLog::read(&folder).unwrap();
        assert_eq!(found, [10, 20, 40].map(evaluation));
    }
}
