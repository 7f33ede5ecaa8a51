//! Options that several commands share.

use std::path::PathBuf;

use clap::Args;
use shortrun_data::{Images, Split, read_npy};
use shortrun_langevin::{ShortRun, StepSize};

use super::{Failure, run::LoadedRun};
use crate::{backend::BackendName, run_config::DataConfig};

/// Where to compute.
#[derive(Clone, Debug, Args)]
pub(super) struct BackendOption {
    /// Backend to compute on; it must have been compiled in (`--features NAME`).
    #[arg(long, value_enum, value_name = "NAME")]
    backend: Option<BackendName>,
}

impl BackendOption {
    pub(super) fn name(&self) -> Result<BackendName, Failure> {
        let first = BackendName::COMPILED.first().copied();
        self.backend.or(first).ok_or_else(|| {
            let text = "this program was compiled without any backend; build it with \
                        `--features flex`";
            Failure::Other(text.to_owned())
        })
    }
}

/// Which images to look at.
#[derive(Clone, Debug, Args)]
pub(super) struct DataOptions {
    /// Images to look at, if not the run's own: auto, mnist, svhn, celeba, synthetic, a .npy file
    /// or a folder. Of a .npy file all images are taken unless --split is given.
    #[arg(long, value_name = "DATA")]
    data: Option<String>,
    /// Folder of the data set's files.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Which split to look at [default: test].
    #[arg(long, value_enum)]
    split: Option<SplitName>,
    /// How many images.
    #[arg(long, default_value_t = 64, value_name = "N")]
    count: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum SplitName {
    Train,
    Test,
}

/// Images, where they came from, and the mean image to compare with.
pub(super) struct Chosen {
    pub(super) images: Images,
    pub(super) provenance: String,
    /// The mean of the training split; of a whole array its own.
    pub(super) mean_image: Vec<f32>,
}

impl DataOptions {
    pub(super) fn load(&self, run: &LoadedRun) -> Result<Chosen, Failure> {
        if self.count == 0 {
            return Err(Failure::Usage("--count must be at least 1; found 0".into()));
        }
        let own = &run.config.data;
        let generator = &run.config.generator;
        let config = DataConfig {
            source: self.data.clone().unwrap_or_else(|| own.source.clone()),
            dir: match (&self.data_dir, &self.data) {
                (Some(dir), _) => Some(dir.clone()),
                (None, None) => own.dir.clone(),
                (None, Some(_)) => None,
            },
            size: generator.image_size,
            channels: Some(generator.image_channels),
        };
        let spec = config.spec()?;
        if let (shortrun_data::Source::Array(path), Some(_), None) =
            (&spec.source, &self.data, self.split)
        {
            let images = read_npy(path, Some(self.count))?;
            let images = if generator.image_channels == 1 {
                images.to_grey()
            } else {
                images.to_rgb()
            };
            let images = images.resize(generator.image_size)?;
            return Ok(Chosen {
                mean_image: images.mean_image(),
                provenance: format!("{}, all images", path.display()),
                images,
            });
        }
        let split = match self.split {
            Some(SplitName::Train) => Split::Train,
            Some(SplitName::Test) | None => Split::Test,
        };
        let part = spec.load_split(split, Some(self.count))?;
        let train = spec.load_split(Split::Train, None)?;
        Ok(Chosen {
            images: part.images,
            provenance: part.provenance,
            mean_image: train.images.mean_image(),
        })
    }
}

/// How to infer, if not as in training.
#[derive(Clone, Debug, Args)]
pub(super) struct ChainOptions {
    /// Langevin steps K, if not the run's own.
    #[arg(long, value_name = "K")]
    langevin_steps: Option<usize>,
    /// Step size, if not the run's own: eta=0.05 (noise eta, drift eta^2/2) or drift=0.00125.
    #[arg(long, value_name = "eta=X|drift=X")]
    step_size: Option<StepSize>,
    /// Seed of starts and Langevin noise, if not the run's own.
    #[arg(long)]
    pub(super) seed: Option<u64>,
}

impl ChainOptions {
    /// The chain of the run's checkpoint, with what the options change.
    pub(super) fn chain(&self, run: &LoadedRun) -> Result<ShortRun, Failure> {
        let training = &run.config.training;
        let steps = self.langevin_steps.unwrap_or(training.langevin.steps);
        let sizes = match self.step_size {
            Some(step) => step.into(),
            None => training.step_sizes(run.last_iteration()),
        };
        Ok(ShortRun::new(steps, sizes)?)
    }
}
