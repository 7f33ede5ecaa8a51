//! Errors and exit codes.

use std::process::ExitCode;

use shortrun_train::TrainError;
use thiserror::Error;

use crate::{backend::BackendError, run_config::RunConfigError};

/// Why a command failed.
#[derive(Debug, Error)]
pub enum Failure {
    /// The backend was not compiled in.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A setting makes no sense.
    #[error(transparent)]
    Config(#[from] RunConfigError),
    /// Images could not be loaded.
    #[error(transparent)]
    Data(#[from] shortrun_data::Error),
    /// A generator cannot be built.
    #[error(transparent)]
    Generator(#[from] shortrun_model::ConfigError),
    /// Weights could not be read or written.
    #[error(transparent)]
    Weights(#[from] shortrun_model::WeightsError),
    /// A step size makes no sense.
    #[error(transparent)]
    StepSize(#[from] shortrun_langevin::StepSizeError),
    /// A chain cannot be run.
    #[error(transparent)]
    Chain(#[from] shortrun_langevin::ChainError),
    /// An evaluation failed.
    #[error(transparent)]
    Eval(#[from] shortrun_eval::EvalError),
    /// Two sets of images cannot be compared.
    #[error(transparent)]
    Fid(#[from] shortrun_fid::FidError),
    /// A step size cannot be looked for as asked.
    #[error(transparent)]
    Objective(#[from] shortrun_stepsize_vi::ObjectiveError),
    /// A page cannot be made.
    #[error(transparent)]
    Report(#[from] shortrun_report::ReportError),
    /// Training failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Flags that do not go together, or anything else in plain words.
    #[error("{0}")]
    Usage(String),
    /// Something that has no better name.
    #[error("{0}")]
    Other(String),
}

/// What a command ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: an error.
    Error,
    /// 2: wrong usage.
    Usage,
    /// 3: training stopped because updates were skipped again and again.
    Diverged,
    /// 130: interrupted, saved.
    Interrupted,
}

impl Exit {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Error => 1,
            Self::Usage => 2,
            Self::Diverged => 3,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

impl Failure {
    /// The exit code of this failure.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Train(TrainError::TooManySkipped { .. }) => Exit::Diverged,
            _ => Exit::Error,
        }
    }
}
