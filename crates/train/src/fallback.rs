//! Weights to go back to when learning went astray.

use burn::{backend::Autodiff, module::AutodiffModule, prelude::*};
use serde::{Deserialize, Serialize};

use crate::{Checkpoint, CheckpointFile, TrainError};

const ITERATIONS: &str = "fallback.json";
const OLDER: &str = "fallback.older";
const NEWER: &str = "fallback.newer";

/// The weights of two iterations at which all was well. It is the older that are gone back to: the
/// newer may be on the way already to what went wrong.
pub(crate) struct Fallback<M> {
    kept: Option<Kept<M>>,
}

struct Kept<M> {
    iterations: Iterations,
    older: M,
    newer: M,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Iterations {
    older: u64,
    newer: u64,
}

impl<M: Clone> Fallback<M> {
    pub(crate) fn new() -> Self {
        Self { kept: None }
    }

    /// Keeps the weights after an iteration, and those kept last.
    pub(crate) fn keep(&mut self, iteration: u64, module: &M) {
        let (before, older) = match self.kept.take() {
            Some(kept) => (kept.iterations.newer, kept.newer),
            None => (iteration, module.clone()),
        };
        self.kept = Some(Kept {
            iterations: Iterations {
                older: before,
                newer: iteration,
            },
            older,
            newer: module.clone(),
        });
    }

    /// The older weights and their iteration; the newer are forgotten.
    pub(crate) fn go_back(&mut self) -> Option<(u64, M)> {
        let kept = self.kept.as_mut()?;
        kept.iterations.newer = kept.iterations.older;
        kept.newer = kept.older.clone();
        Some((kept.iterations.older, kept.older.clone()))
    }
}

impl<M> Fallback<M> {
    /// The files of a checkpoint.
    pub(crate) fn save<B: Backend>(&self) -> Result<Vec<CheckpointFile>, TrainError>
    where
        M: AutodiffModule<Autodiff<B>>,
    {
        let Some(kept) = &self.kept else {
            return Ok(Vec::new());
        };
        let mut files = CheckpointFile::of_module(OLDER, &kept.older)?;
        files.extend(CheckpointFile::of_module(NEWER, &kept.newer)?);
        files.push(CheckpointFile::of_json(ITERATIONS, &kept.iterations)?);
        Ok(files)
    }

    /// Takes up those of a checkpoint, if it has any, given a module of the same shape.
    pub(crate) fn load<B: Backend>(
        &mut self,
        checkpoint: &Checkpoint,
        like: &M,
        device: &B::Device,
    ) -> Result<(), TrainError>
    where
        M: AutodiffModule<Autodiff<B>>,
    {
        let module = |name| checkpoint.module::<Autodiff<B>, M>(name, like.clone(), device);
        self.kept = match checkpoint.has(ITERATIONS) {
            true => Some(Kept {
                iterations: checkpoint.json(ITERATIONS)?,
                older: module(OLDER)?,
                newer: module(NEWER)?,
            }),
            false => None,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_older_that_is_gone_back_to() {
        let mut fallback = Fallback::new();
        assert_eq!(fallback.go_back(), None);
        fallback.keep(100, &"a");
        assert_eq!(fallback.go_back(), Some((100, "a")));
        fallback.keep(200, &"b");
        assert_eq!(fallback.go_back(), Some((100, "a")));
        // The newer went astray with all that came after the older.
        fallback.keep(300, &"c");
        assert_eq!(fallback.go_back(), Some((100, "a")));
        fallback.keep(400, &"d");
        fallback.keep(500, &"e");
        assert_eq!(fallback.go_back(), Some((400, "d")));
    }
}
