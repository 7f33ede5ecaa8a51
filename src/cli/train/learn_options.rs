//! What is learned, and how: the options that training, sweeps and comparisons share.

use std::{ffi::OsString, path::PathBuf};

use clap::Args;
use shortrun_baselines::MethodName;
use shortrun_model::Preset;
use shortrun_train::TrainConfig;

use crate::{
    backend::BackendName,
    cli::{
        Failure,
        options::{BackendOption, one_of},
    },
    run_config::{DataConfig, training_of},
    settings::{Layers, assignment},
};

/// What is learned, and how.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct LearnOptions {
    /// Images to learn from: auto (SVHN if it is there, else built-in synthetic digits), mnist,
    /// svhn, celeba, synthetic, a .npy file or a folder of pictures.
    #[arg(long, value_name = "DATA")]
    data: Option<String>,
    /// Folder of the data set's files [default: datasets/NAME].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Fetch SVHN or MNIST first, if it is not there.
    #[arg(long)]
    pub(super) download: bool,
    /// Height and width to learn at: 28, 32 or 64 [default: 28 for MNIST, else 32].
    #[arg(long, value_name = "PIXELS")]
    size: Option<usize>,
    /// Channels to learn: 1 (grey) or 3 (colour) [default: those of the images].
    #[arg(long)]
    channels: Option<usize>,
    /// Shape of the generator, and how it learns: quick (made for a CPU), l1, table4 (the paper's,
    /// L = 3) or released (the authors' script, L = 5) [default: quick].
    #[arg(long)]
    pub(in crate::cli) preset: Option<Preset>,
    /// What it learns by: short-run, or one of its rivals vae, ladder-vae, vae-iaf, abp, mcmc, glo, glow
    /// [default: short-run].
    #[arg(long, value_name = "NAME", hide_possible_values = true,
        value_parser = one_of(MethodName::ALL, MethodName::name))]
    method: Option<MethodName>,
    /// TOML file whose settings replace the preset's.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, such as batch_size=32, sigma=0.2, langevin.steps=15, checkpoint.every=100 or
    /// langevin.step_size.eta=0.05; may be repeated. The names are those of config.toml.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(in crate::cli) set: Vec<String>,
    /// Learning steps of the whole run.
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// Minutes of training, looks at test images not counted, after which the run ends even if steps
    /// remain.
    #[arg(long, value_name = "M")]
    minutes: Option<f64>,
    /// Seed of weights, batches and noise.
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    backend: BackendOption,
}

impl LearnOptions {
    /// The settings of training; an error if any makes no sense, as far as that can be told without images.
    pub(in crate::cli) fn check(&self) -> Result<TrainConfig, Failure> {
        let (layers, preset) = (self.layers()?, self.preset.unwrap_or(Preset::Quick));
        let training = layers.training(&training_of(preset))?;
        let name = layers.method_name()?.unwrap_or(MethodName::ShortRun);
        let generator = layers.generator(&preset.config(32, 3)?)?;
        layers.method(&name.config())?.check(&generator)?;
        Ok(training)
    }

    /// The same, of another method: what defines it stands over `--config` and `--set`.
    pub(in crate::cli) fn by(&self, method: MethodName) -> Self {
        let training = method.training(&training_of(self.preset.unwrap_or(Preset::Quick)));
        let own = method.defined_by().iter();
        let mut learn = Self {
            method: Some(method),
            ..self.clone()
        };
        learn
            .set
            .extend(own.filter_map(|key| assignment(&training, key)));
        learn
    }

    /// Whether it is said when training ends.
    pub(in crate::cli) fn has_length(&self) -> bool {
        self.steps.is_some() || self.minutes.is_some()
    }

    /// Where to compute.
    pub(in crate::cli) fn backend(&self) -> Result<BackendName, Failure> {
        self.backend.name()
    }

    /// The flags that say where to compute, for another process.
    pub(in crate::cli) fn backend_arguments(&self) -> Vec<OsString> {
        self.backend.arguments()
    }

    /// The flags that say all this, for another process.
    pub(in crate::cli) fn arguments(&self) -> Vec<OsString> {
        let mut flags = self.backend_arguments();
        let mut flag = |name: &str, value: Option<OsString>| {
            flags.extend(value.into_iter().flat_map(|value| [name.into(), value]));
        };
        let text = |value: &dyn ToString| Some(value.to_string().into());
        flag("--data", self.data.as_ref().map(Into::into));
        flag("--data-dir", self.data_dir.as_ref().map(Into::into));
        flag("--size", self.size.and_then(|size| text(&size)));
        flag("--channels", self.channels.and_then(|count| text(&count)));
        flag("--preset", self.preset.map(|preset| preset.name().into()));
        flag("--method", self.method.map(|method| method.name().into()));
        flag("--config", self.config.as_ref().map(Into::into));
        for assignment in &self.set {
            flag("--set", Some(assignment.into()));
        }
        flag("--steps", self.steps.and_then(|steps| text(&steps)));
        flag("--minutes", self.minutes.and_then(|minutes| text(&minutes)));
        flag("--seed", self.seed.and_then(|seed| text(&seed)));
        if self.download {
            flags.push("--download".into());
        }
        flags
    }

    /// The images to learn from.
    pub(in crate::cli) fn data(&self) -> Result<DataConfig, Failure> {
        data_of(&self.layers()?, None)
    }

    pub(super) fn layers(&self) -> Result<Layers, Failure> {
        let mut layers = Layers::default();
        if let Some(path) = &self.config {
            let place = path.display().to_string();
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::Other(format!("{place}: {error}")))?;
            layers.file(&place, &text)?;
        }
        for assignment in &self.set {
            layers.set(assignment)?;
        }
        // Flags of their own come last: they win over --config and --set.
        let number = |value: u64, flag: &str| {
            i64::try_from(value).map_err(|_| {
                let text = format!("{flag} {value}: must be at most {}", i64::MAX);
                Failure::Usage(text)
            })
        };
        if let Some(steps) = self.steps {
            layers.put("iterations", number(steps, "--steps")?);
        }
        if let Some(method) = self.method {
            layers.put("method.name", method.name());
        }
        if let Some(minutes) = self.minutes {
            layers.put("minutes", minutes);
        }
        if let Some(precision) = self.backend.precision() {
            layers.put("precision", precision.name());
        }
        if let Some(seed) = self.seed {
            layers.put("seed", number(seed, "--seed")?);
        }
        if let Some(source) = &self.data {
            layers.put("data.source", source.as_str());
        }
        if let Some(dir) = &self.data_dir {
            layers.put("data.dir", dir.to_string_lossy().into_owned());
        }
        if let Some(size) = self.size {
            layers.put("data.size", number(size as u64, "--size")?);
        }
        if let Some(channels) = self.channels {
            layers.put("data.channels", number(channels as u64, "--channels")?);
        }
        Ok(layers)
    }
}

/// The images that are said to be learned from, else the `usual` ones.
pub(super) fn data_of(layers: &Layers, usual: Option<&str>) -> Result<DataConfig, Failure> {
    let mut data = layers.data(&DataConfig {
        source: usual.unwrap_or("auto").to_owned(),
        dir: None,
        size: 0,
        channels: None,
    })?;
    if data.size == 0 {
        data.size = DataConfig::usual_size(&data.source);
    }
    Ok(data)
}
