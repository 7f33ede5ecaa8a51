//! `config.toml`: everything a run was made with.
//!
//! The keys of [`TrainConfig`] stand at the top; `[data]`, `[generator]` and `[method]` are tables.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use shortrun_baselines::MethodConfig;
use shortrun_data::{DataSpec, ImageShape, Source};
use shortrun_langevin::{StepSize, StepSizes};
use shortrun_model::{ConfigError, GeneratorConfig, Preset};
use shortrun_train::{
    AdamConfig, CheckpointConfig, LangevinConfig, LearningRate, RunFolder, Sigma, TrainConfig,
};
use thiserror::Error;
use toml::{Table, Value};

/// Everything a run was made with.
#[derive(Clone, Debug, PartialEq)]
pub struct RunConfig {
    /// Which images.
    pub data: DataConfig,
    /// The shape of the generator.
    pub generator: GeneratorConfig,
    /// By which method.
    pub method: MethodConfig,
    /// How it learns.
    pub training: TrainConfig,
}

/// Which images a run learns from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// `auto`, `mnist`, `svhn`, `celeba`, `synthetic`, a `.npy` file or a folder.
    pub source: String,
    /// Where the files of a named data set lie, if not under `datasets/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// Height and width in pixels: 28, 32 or 64.
    pub size: usize,
    /// 1 or 3, if not what the images have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<usize>,
}

/// A configuration that cannot be read.
#[derive(Debug, Error)]
pub enum RunConfigError {
    /// Not TOML.
    #[error("{place}: {reason}")]
    Syntax {
        /// The file or option.
        place: String,
        /// What the parser said.
        reason: String,
    },
    /// `--set` without `=`.
    #[error("--set {0}: write key=value, such as batch_size=32 or langevin.steps=15")]
    Set(String),
    /// A key that does not exist, or a value of another type.
    #[error("{0}")]
    Key(String),
    /// A data source that does not exist.
    #[error(transparent)]
    Data(#[from] shortrun_data::Error),
    /// A generator that cannot be built.
    #[error(transparent)]
    Generator(#[from] ConfigError),
    /// A run without a generator, where one is needed.
    #[error(
        "the run learned by {0}, which has no generator with latents; it can be sampled, reconstructed, \
         measured by fid and reported, or train one by another --method"
    )]
    NoGenerator(&'static str),
    /// A setting that makes no sense.
    #[error(transparent)]
    Training(#[from] shortrun_train::TrainError),
}

/// Tables of `config.toml`; all other keys are of how it learns.
pub(crate) const DATA: &str = "data";
pub(crate) const GENERATOR: &str = "generator";
pub(crate) const METHOD: &str = "method";

impl RunConfig {
    /// The text of `config.toml`.
    ///
    /// # Errors
    /// If a number cannot be written as TOML.
    pub fn to_toml(&self) -> Result<String, RunConfigError> {
        let text = || -> Result<String, toml::ser::Error> {
            let mut table = Table::try_from(&self.training)?;
            table.insert(DATA.to_owned(), Value::try_from(&self.data)?);
            table.insert(GENERATOR.to_owned(), Value::try_from(&self.generator)?);
            table.insert(METHOD.to_owned(), Value::try_from(&self.method)?);
            toml::to_string_pretty(&table)
        };
        text().map_err(|e| RunConfigError::Key(e.to_string()))
    }

    /// Reads the configuration in a run folder.
    ///
    /// # Errors
    /// If it cannot be read or is not a whole configuration.
    pub fn read(folder: &RunFolder) -> Result<Self, RunConfigError> {
        let place = folder.path().join("config.toml");
        Self::from_toml(&place.display().to_string(), &folder.config()?)
    }

    /// Reads the text of `config.toml`.
    ///
    /// # Errors
    /// If it is not a whole configuration.
    pub fn from_toml(place: &str, text: &str) -> Result<Self, RunConfigError> {
        let syntax = |reason: String| RunConfigError::Syntax {
            place: place.to_owned(),
            reason: reason.trim().replace('\n', " "),
        };
        let mut table = text.parse::<Table>().map_err(|e| syntax(e.to_string()))?;
        let mut part = |name: &str| {
            table
                .remove(name)
                .ok_or_else(|| syntax(format!("the table [{name}] is missing")))
        };
        let data = part(DATA)?
            .try_into()
            .map_err(|e| syntax(format!("[data]: {e}")))?;
        let generator: GeneratorConfig = part(GENERATOR)?
            .try_into()
            .map_err(|e| syntax(format!("[generator]: {e}")))?;
        // Older runs knew one method only.
        let method = match table.remove(METHOD) {
            None => MethodConfig::default(),
            Some(method) => method
                .try_into()
                .map_err(|e| syntax(format!("[method]: {e}")))?,
        };
        let training: TrainConfig = table.try_into().map_err(|e| syntax(e.to_string()))?;
        generator.check()?;
        training.check()?;
        Ok(Self {
            data,
            generator,
            method,
            training,
        })
    }
}

impl DataConfig {
    /// The usual size of a data set: 28 for MNIST, else 32.
    pub fn usual_size(source: &str) -> usize {
        if source == "mnist" { 28 } else { 32 }
    }

    /// What the data crate is asked for.
    ///
    /// # Errors
    /// If there is no such source.
    pub fn spec(&self) -> Result<DataSpec, RunConfigError> {
        let source: Source = self.source.parse()?;
        Ok(DataSpec {
            data_dir: self.dir.clone(),
            channels: self.channels,
            ..DataSpec::new(source, self.size)
        })
    }
}

/// How a preset learns, unless told otherwise.
pub fn training_of(preset: Preset) -> TrainConfig {
    let paper = TrainConfig::default();
    if preset != Preset::Quick {
        return paper;
    }
    let eta = StepSize::from_eta(0.05).map(StepSizes::Constant);
    TrainConfig {
        iterations: 1_000,
        batch_size: 32,
        learning_rate: LearningRate::Pieces(vec![(0, 3e-4), (800, 1e-4)]),
        adam: AdamConfig {
            beta1: 0.9,
            ..paper.adam
        },
        sigma: Sigma::Annealed {
            start: 0.3,
            end: 0.15,
            iterations: 600,
        },
        langevin: LangevinConfig {
            steps: 15,
            step_size: eta.unwrap_or(paper.langevin.step_size),
            ..paper.langevin
        },
        checkpoint: CheckpointConfig {
            every: 250,
            ..paper.checkpoint
        },
        ..paper
    }
}

/// The generator of a preset for images of this shape.
///
/// # Errors
/// If the images are not square, or of a size or number of channels the generator has not.
pub fn generator_of(preset: Preset, images: ImageShape) -> Result<GeneratorConfig, ConfigError> {
    if images.height != images.width {
        return Err(ConfigError::ImageSize(images.height.max(images.width)));
    }
    preset.config(images.height, images.channels)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use shortrun_baselines::MethodName;

    use super::*;

    fn whole() -> RunConfig {
        RunConfig {
            data: DataConfig {
                source: "svhn".to_owned(),
                dir: None,
                size: 32,
                channels: None,
            },
            generator: Preset::Table4.config(32, 3).unwrap(),
            method: MethodName::LadderVae.config(),
            training: training_of(Preset::Table4),
        }
    }

    /// As written before there was a choice of architecture.
    #[test]
    fn a_configuration_without_an_architecture_is_conditional() {
        let text = whole().to_toml().unwrap();
        let older = text.replace("architecture = \"conditional\"\n", "");
        assert_ne!(older, text);
        assert_eq!(
            RunConfig::from_toml("config.toml", &older).unwrap(),
            whole()
        );
    }

    /// As written before there was a choice of method.
    #[test]
    fn a_configuration_without_a_method_is_of_short_run_inference() {
        let text = whole().to_toml().unwrap();
        let mut older: Table = text.parse().unwrap();
        assert!(older.remove("method").is_some());
        let older = toml::to_string(&older).unwrap();
        let read = RunConfig::from_toml("config.toml", &older).unwrap();
        assert_eq!(read.method.name(), MethodName::ShortRun);
    }

    #[test]
    fn toml_gives_the_same_configuration_back() {
        let config = whole();
        let text = config.to_toml().unwrap();
        assert_eq!(RunConfig::from_toml("config.toml", &text).unwrap(), config);
    }
}
