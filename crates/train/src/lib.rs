//! Learning a generator by short-run Langevin inference (Algorithm 1 of Nijkamp et al., 2020).
//!
//! Each iteration draws images, starts a chain from the prior for each, runs K Langevin steps with
//! the present weights, and takes one Adam step on `-log p(x, e_K)` with the latents held fixed.
//! A [`Session`] does this inside a [`RunFolder`], with metrics, pictures and checkpoints, and can
//! be resumed bit-exactly.

mod adam;
mod back_off;
mod checkpoint;
mod clock;
mod config;
mod error;
mod fallback;
mod folder;
mod invocation;
mod learned;
mod memory;
mod method;
mod metrics;
mod optimised;
mod progress;
mod schedule;
mod session;
mod short_run;
mod state;
mod tuning;

pub use back_off::Errors;
pub use checkpoint::{Checkpoint, CheckpointFile};
pub use config::{AdamConfig, CheckpointConfig, EvaluationConfig, LangevinConfig, TrainConfig};
pub use error::TrainError;
pub use folder::{RunFolder, write_atomically};
pub use invocation::{Evaluated, Invocation};
pub use learned::{Learned, Measured, Skip};
pub use method::{Density, DensityKind, Method, Parameters, Samples};
pub use metrics::{Evaluation, Metrics, MetricsLog, Record, last_update};
pub use optimised::{Gradients, Optimised, Size, WeightGradients};
pub use progress::Progress;
pub use schedule::{LearningRate, Sigma};
pub use session::{Ending, Session, Stop, Summary};
pub use short_run::ShortRunMethod;
pub use state::State;
pub use tuning::{Tuned, Tuning, TuningConfig};
