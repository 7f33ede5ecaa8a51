//! Weights to go back to when learning went astray.

use burn::{backend::Autodiff, module::AutodiffModule, prelude::*};

use crate::{Checkpoint, CheckpointFile, TrainError};

const KEPT: &str = "fallback.kept.json";
/// Of how many iterations weights are kept.
const MOST: usize = 2;

/// The weights of the last two iterations at which all was well. It is the older that are gone back
/// to: the newer may be on the way already to what went wrong.
pub(crate) struct Fallback<M> {
    /// The older first.
    kept: Vec<(u64, M)>,
}

impl<M: Clone> Fallback<M> {
    pub(crate) fn new() -> Self {
        Self { kept: Vec::new() }
    }

    /// Keeps the weights after an iteration, and those kept last.
    pub(crate) fn keep(&mut self, iteration: u64, module: &M) {
        if self.kept.len() == MOST {
            self.kept.remove(0);
        }
        self.kept.push((iteration, module.clone()));
    }

    /// The older weights and their iteration; the newer are forgotten.
    pub(crate) fn go_back(&mut self) -> Option<(u64, M)> {
        self.kept.truncate(1);
        self.kept.first().cloned()
    }
}

impl<M> Fallback<M> {
    /// The files of a checkpoint.
    pub(crate) fn save<B: Backend>(&self) -> Result<Vec<CheckpointFile>, TrainError>
    where
        M: AutodiffModule<Autodiff<B>>,
    {
        let iterations: Vec<u64> = self.kept.iter().map(|(iteration, _)| *iteration).collect();
        let mut files = vec![CheckpointFile::of_json(KEPT, &iterations)?];
        for (iteration, module) in &self.kept {
            files.extend(CheckpointFile::of_module(&name(*iteration), module)?);
        }
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
        // Runs from before there was any go on without.
        if !checkpoint.has(KEPT) {
            return Ok(());
        }
        let iterations: Vec<u64> = checkpoint.json(KEPT)?;
        let module = |iteration| {
            let found = checkpoint.module::<Autodiff<B>, M>(&name(iteration), like.clone(), device);
            found.map(|module| (iteration, module))
        };
        self.kept = iterations
            .into_iter()
            .map(module)
            .collect::<Result<_, _>>()?;
        Ok(())
    }
}

fn name(iteration: u64) -> String {
    format!("fallback.{iteration}")
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
