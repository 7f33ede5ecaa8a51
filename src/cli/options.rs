//! Options that several commands share.

use std::{
    ffi::OsString,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use shortrun_data::{DataSpec, Images, Split, read_npy};
use shortrun_langevin::{Divergence, ShortRun, StepSize};
use shortrun_model::{Precision, set_precision};

use super::{Failure, run::LoadedRun};
use crate::{backend::BackendName, run_config::DataConfig};

/// Where to compute.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct BackendOption {
    /// Backend to compute on; it must have been compiled in (`--features NAME`).
    #[arg(long, value_enum, value_name = "NAME")]
    backend: Option<BackendName>,
    /// What the generator's products are computed in, where the backend has a choice (cuda, vulkan, wgpu): bf16 or f16
    /// (through Vulkan both mean f16) or f32 (nearly so on CUDA), slower [default: the run's own, else bf16].
    #[arg(long, value_name = "bf16|f16|f32", hide_possible_values = true,
        value_parser = one_of(Precision::ALL, Precision::name))]
    precision: Option<Precision>,
}

impl BackendOption {
    pub(super) fn name(&self) -> Result<BackendName, Failure> {
        let first = BackendName::COMPILED.first().copied();
        let name = self.backend.or(first).unwrap_or(BackendName::Flex);
        let name = name.compiled()?;
        if let Some(precision) = self.precision {
            if precision != Precision::F32 && !name.has_precisions() {
                return Err(Failure::Usage(format!(
                    "--precision {precision}: backend {name} computes in float32 and has no choice; \
                     leave the flag out, or take --backend cuda"
                )));
            }
            set_precision(precision);
        }
        Ok(name)
    }

    /// What products are computed in, if it is said.
    pub(super) fn precision(self) -> Option<Precision> {
        self.precision
    }

    /// The flags that say so, for another process.
    pub(super) fn arguments(self) -> Vec<OsString> {
        let flag =
            |flag: &str, value: Option<String>| value.map(|value| [flag.into(), value.into()]);
        [
            flag("--backend", self.backend.map(|name| name.to_string())),
            flag("--precision", self.precision.map(|name| name.to_string())),
        ]
        .into_iter()
        .flatten()
        .flatten()
        .collect()
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
    /// Which split to look at [default: test; for fid train].
    #[arg(long, value_enum)]
    split: Option<SplitName>,
    /// How many images [default: 64; for step-size and likelihood 8; for fid all].
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    count: Option<usize>,
}

/// Images looked at unless `--count` says otherwise.
pub(super) const DEFAULT_COUNT: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum SplitName {
    Train,
    Test,
}

/// Images, and where they came from.
pub(super) struct Chosen {
    pub(super) images: Images,
    /// A short name, such as `svhn`.
    pub(super) name: String,
    pub(super) provenance: String,
    /// Which part of what is there.
    pub(super) part: &'static str,
    /// What the images are a split of; nothing for a whole array.
    spec: Option<DataSpec>,
}

impl Chosen {
    /// The first `count` images of the training split; of a whole array its own.
    pub(super) fn training_images(&self, count: usize) -> Result<Images, Failure> {
        match &self.spec {
            None => Ok(self.images.clone()),
            Some(spec) => Ok(spec.load_split(Split::Train, Some(count))?.images),
        }
    }

    /// The image to compare with: the mean of the training split; of a whole array its own.
    pub(super) fn mean_image(&self) -> Result<Vec<f32>, Failure> {
        match &self.spec {
            None => Ok(self.images.mean_image()),
            Some(spec) => Ok(spec.load_split(Split::Train, None)?.images.mean_image()),
        }
    }
}

/// Says that chains diverged, and what to do.
pub(super) fn warn_of_divergence(found: Option<&Divergence>) {
    if let Some(divergence) = found {
        err!(
            "warning: {:.1} % of the chains diverged; lower the step size (--step-size eta=…)",
            100.0 * divergence.share
        );
    }
}

/// Of anything that is counted on the command line, at most.
pub(super) const MOST: usize = 1_000_000;
/// Images that are computed on at once, at most.
pub(super) const MOST_AT_ONCE: usize = 100_000;
/// Chains, probes or redraws of each of several images, at most.
pub(super) const MOST_OF_EACH: usize = 10_000;

/// A count on the command line: of one at least, and no more than [`MOST`].
pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    count_within(text, &(1..=MOST))
}

/// A count on the command line that has other bounds.
pub(super) fn counted(bounds: RangeInclusive<usize>) -> impl TypedValueParser<Value = usize> {
    move |text: &str| count_within(text, &bounds)
}

fn count_within(text: &str, bounds: &RangeInclusive<usize>) -> Result<usize, String> {
    let (least, most) = (bounds.start(), bounds.end());
    match text.parse::<usize>() {
        Ok(count) if count < *least => Err(format!("must be at least {least}")),
        Ok(count) if count > *most => Err(format!("must be at most {most}")),
        Ok(count) => Ok(count),
        Err(error) => Err(error.to_string()),
    }
}

/// One of these values, by its name; the help lists the names.
pub(super) fn one_of<T: Copy + Send + Sync + 'static, const N: usize>(
    all: [T; N],
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(all.map(name)).try_map(move |given| {
        let found = all.into_iter().find(|value| name(*value) == given);
        found.ok_or_else(|| format!("there is no {given}"))
    })
}

/// Says before any work is done that the file of `--out` could not be written in the end.
pub(super) fn check_output(path: &Path, extension: &str) -> Result<(), Failure> {
    check_file("--out", path, extension)
}

/// Likewise of another flag.
pub(super) fn check_file(flag: &str, path: &Path, extension: &str) -> Result<(), Failure> {
    let shown = path.display();
    if path.extension().is_none_or(|found| found != extension) {
        return Err(Failure::Usage(format!(
            "{flag} {shown}: the name must end in .{extension}"
        )));
    }
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    match folder {
        Some(folder) if !folder.is_dir() => Err(Failure::Other(format!(
            "{flag} {shown}: there is no folder {}; make it first",
            folder.display()
        ))),
        _ => Ok(()),
    }
}

impl DataOptions {
    /// The same with another number of images.
    pub(super) fn with_count(&self, count: usize) -> Self {
        Self {
            count: Some(count),
            ..self.clone()
        }
    }

    /// Whether other images, or another place of them, were asked for.
    pub(super) fn given(&self) -> bool {
        self.data.is_some() || self.data_dir.is_some()
    }

    /// How many images.
    pub(super) fn count(&self, default: usize) -> usize {
        self.count.unwrap_or(default)
    }

    /// How many images, if the options say.
    pub(super) fn limit(&self) -> Option<usize> {
        self.count
    }

    pub(super) fn load(&self, run: &LoadedRun, default: usize) -> Result<Chosen, Failure> {
        self.load_first(run, self.count(default))
    }

    /// The first `count` images of the split, or as many as there are.
    pub(super) fn load_first(&self, run: &LoadedRun, count: usize) -> Result<Chosen, Failure> {
        self.load_from(run, Split::Test, Some(count))
    }

    /// What the images are a split of.
    pub(super) fn spec(&self, run: &LoadedRun) -> Result<DataSpec, Failure> {
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
        Ok(config.spec()?)
    }

    /// The first `limit` images, or all of them, of the split that the options name, else of `split`.
    pub(super) fn load_from(
        &self,
        run: &LoadedRun,
        split: Split,
        limit: Option<usize>,
    ) -> Result<Chosen, Failure> {
        let spec = self.spec(run)?;
        let generator = &run.config.generator;
        if let (shortrun_data::Source::Array(path), Some(_), None) =
            (&spec.source, &self.data, self.split)
        {
            let images = read_npy(path, limit)?;
            let images = if generator.image_channels == 1 {
                images.to_grey()
            } else {
                images.to_rgb()
            };
            let images = images.resize(generator.image_size)?;
            let name = path.file_name().unwrap_or(path.as_os_str());
            return Ok(Chosen {
                spec: None,
                name: name.to_string_lossy().into_owned(),
                part: "all images",
                provenance: format!("{}, all images", path.display()),
                images,
            });
        }
        let split = match self.split {
            Some(SplitName::Train) => Split::Train,
            Some(SplitName::Test) => Split::Test,
            None => split,
        };
        let part = spec.load_split(split, limit)?;
        Ok(Chosen {
            images: part.images,
            name: part.name,
            provenance: part.provenance,
            part: match split {
                Split::Train => "training split",
                Split::Test => "test split",
            },
            spec: Some(spec),
        })
    }
}

/// How to infer, if not as in training.
#[derive(Clone, Debug, Args)]
pub(super) struct ChainOptions {
    /// Langevin steps K, if not the run's own.
    #[arg(long, value_name = "K", value_parser = at_least_one)]
    langevin_steps: Option<usize>,
    /// Step size, if not the run's own: eta=0.05 (noise eta, drift eta^2/2) or drift=0.00125.
    #[arg(long, value_name = "eta=X|drift=X")]
    step_size: Option<StepSize>,
    /// Seed of starts and Langevin noise, if not the run's own.
    #[arg(long)]
    pub(super) seed: Option<u64>,
}

impl ChainOptions {
    /// Whether a chain was asked for, not only the run's own way.
    pub(super) fn given(&self) -> bool {
        self.langevin_steps.is_some() || self.step_size.is_some()
    }

    /// The chain of the run's checkpoint, with what the options change.
    pub(super) fn chain(&self, run: &LoadedRun) -> Result<ShortRun, Failure> {
        let training = &run.config.training;
        let steps = self.langevin_steps.unwrap_or(training.langevin.steps);
        let sizes = match self.step_size {
            Some(step) => step.into(),
            None => run.step_sizes(),
        };
        if let Some(given) = sizes.count().filter(|given| *given != steps) {
            return Err(Failure::Usage(format!(
                "the run has a step size for each of {given} steps; for {steps} give one for all \
                 (--step-size eta=…)"
            )));
        }
        Ok(ShortRun::new(steps, sizes)?)
    }
}
