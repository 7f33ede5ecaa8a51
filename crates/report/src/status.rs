//! How far a run has come, and whether it goes on.

use std::fs;

use shortrun_train::{Ending, Record, RunFolder, Summary, TrainConfig};

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// A process is training in the folder.
    Running,
    /// All iterations are done, or all minutes spent.
    Finished,
    /// It was asked to stop, and saved what it had.
    Stopped,
    /// Too many updates in a row were skipped.
    Diverged,
    /// It ended without a word: killed, or never begun.
    CutOff,
}

impl Status {
    /// How the run in a folder stands, whose metrics are `records`.
    pub fn of(folder: &RunFolder, records: &[Record], training: &TrainConfig) -> Self {
        if folder.is_training() {
            return Self::Running;
        }
        let logged = records.iter().map(Record::iteration).max().unwrap_or(0);
        match Summary::read(folder) {
            // Else it is that of a session before the last.
            Some(summary) if summary.iterations >= logged => match summary.ending {
                // A longer run than the one that finished; but one with so many minutes has no length.
                Ending::Finished
                    if summary.iterations < training.iterations && training.minutes.is_none() =>
                {
                    Self::CutOff
                }
                Ending::Finished => Self::Finished,
                Ending::Stopped => Self::Stopped,
                Ending::Diverged => Self::Diverged,
            },
            _ => Self::CutOff,
        }
    }

    /// A word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Stopped => "stopped",
            Self::Diverged => "diverged",
            Self::CutOff => "cut off",
        }
    }

    /// What to say of a run that is not finished.
    pub(crate) fn note(self) -> Option<&'static str> {
        match self {
            Self::Finished => None,
            Self::Running => Some("Still training: everything here is of the run so far."),
            Self::Stopped => Some(
                "Stopped before its end, and saved: `shortrun train --run … --resume` goes on with it.",
            ),
            Self::Diverged => Some(
                "Stopped because too many updates in a row were skipped: chains diverged, or the loss \
                 did. See “Training”.",
            ),
            Self::CutOff => Some(
                "Cut off: no process is training here, and none said how it ended. `shortrun train \
                 --run … --resume` goes on from the last checkpoint.",
            ),
        }
    }
}

/// Whether the last line of `metrics.jsonl` was cut off.
pub(crate) fn torn(folder: &RunFolder) -> bool {
    let text = fs::read(folder.metrics()).unwrap_or_default();
    text.last().is_some_and(|last| *last != b'\n')
}
