//! The picture of a comparison.

use std::path::PathBuf;

use burn::prelude::*;
use shortrun_data::Split;
use shortrun_eval::{Grid, host};
use shortrun_train::Method;

use crate::{
    backend::OnBackend,
    cli::{Failure, run::LoadedRun},
};

/// Images of each kind at most.
const SHOWN: usize = 10;

/// The runs' reconstructions and samples in one picture.
pub(super) struct Picture {
    pub(super) runs: Vec<PathBuf>,
    pub(super) out: PathBuf,
}

impl OnBackend for Picture {
    type Output = Result<(), Failure>;

    fn run<B: Backend>(self, device: B::Device) -> Self::Output {
        let (mut originals, mut reconstructions, mut samples) =
            (Vec::new(), Vec::new(), Vec::new());
        // A row holds as many as there are test images.
        let (mut shape, mut columns) = (None, SHOWN);
        for path in &self.runs {
            let run = LoadedRun::open(path)?;
            let method = run.method::<B>(&device)?;
            let test = run
                .config
                .data
                .spec()?
                .load_split(Split::Test, Some(SHOWN))?
                .images;
            columns = test.len();
            let found = method.reconstruct(&run.checkpoint.state, &test, columns)?;
            originals = found.originals;
            reconstructions.extend(found.generated);
            for batch in method.samples(columns, columns)? {
                samples.extend(host(batch));
            }
            shape = Some(test.shape());
        }
        let Some(shape) = shape else { return Ok(()) };
        let all = [originals, reconstructions, samples].concat();
        Ok(Grid::new(shape, columns, all).write_png(&self.out)?)
    }
}
