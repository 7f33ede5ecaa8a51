//! A run about to be made or gone on with.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use burn::prelude::*;
use shortrun_baselines::MethodName;
use shortrun_data::DataSet;
use shortrun_model::{Precision, Preset, set_precision};
use shortrun_train::{
    Method, Parameters, Progress, RunFolder, Session, Stop, Summary, TrainConfig, TrainError,
};

use super::{ExampleDefaults, LearnOptions, learn_options::data_of};
use crate::{
    backend::{BackendName, OnBackend},
    cli::{Failure, versions::invocation},
    run_config::{DataConfig, RunConfig, generator_of, training_of},
    settings::{Layers, difference},
};

/// A run about to be made or gone on with.
pub(super) struct Plan {
    pub(super) config: RunConfig,
    data: DataSet,
    pub(super) folder: PathBuf,
    backend: BackendName,
    resume: bool,
    quiet: bool,
    stop: Arc<Stop>,
}

impl Plan {
    pub(super) fn start(
        args: &LearnOptions,
        run: Option<PathBuf>,
        defaults: Option<ExampleDefaults>,
        quiet: bool,
    ) -> Result<Self, Failure> {
        let layers = args.layers()?;
        let data = data_of(&layers, defaults.map(|d| d.data))?;
        let folder = run.unwrap_or_else(|| free_folder(defaults, &data.source));
        if RunFolder::open(&folder).is_ok() {
            return Err(TrainError::Occupied(folder).into());
        }
        let preset = args
            .preset
            .or(defaults.map(|d| d.preset))
            .unwrap_or(Preset::Quick);
        let mut usual = Layers::default();
        for setting in defaults.map_or(&[][..], |defaults| defaults.settings) {
            usual.set(setting)?;
        }
        // A slip in the settings is told before images are loaded.
        let name = layers.method_name()?.unwrap_or(MethodName::ShortRun);
        let method = layers.method(&name.config())?;
        let generator = preset.config(data.size, data.channels.unwrap_or(3))?;
        method.check(&layers.generator(&generator)?)?;
        let usual = name.training(&usual.training(&training_of(preset))?);
        let training = layers.training(&usual)?;
        let method = method.of_run(&training);
        let images = load(&data, args.download, quiet)?;
        let shape = images.train.shape();
        let config = RunConfig {
            generator: layers.generator(&generator_of(preset, shape)?)?,
            method,
            training,
            data,
        };
        TrainError::check_shape(shape, config.generator.image_shape())?;
        Ok(Self {
            config,
            data: images,
            folder,
            backend: args.backend()?,
            resume: false,
            quiet,
            stop: Arc::default(),
        })
    }

    /// The stored configuration, with only those changes that do not make it another run.
    pub(super) fn resume(
        args: &LearnOptions,
        folder: PathBuf,
        quiet: bool,
    ) -> Result<Self, Failure> {
        let opened = RunFolder::open(&folder)?;
        let mut config = RunConfig::read(&opened)?;
        let layers = args.layers()?;
        let other = |difference: String| TrainError::OtherRun {
            path: folder.clone(),
            difference,
        };
        let stored = &config.generator;
        let asked = match args.preset {
            Some(preset) => preset.config(stored.image_size, stored.image_channels)?,
            None => stored.clone(),
        };
        if let Some(found) = difference("generator", stored, &layers.generator(&asked)?) {
            return Err(other(found).into());
        }
        let (stored, asked) = (config.method.name(), layers.method_name()?);
        if let Some(asked) = asked.filter(|asked| *asked != stored) {
            let (stored, asked) = (stored.name(), asked.name());
            return Err(other(format!("method is {stored}, not {asked}")).into());
        }
        let asked = layers.method(&config.method)?;
        if let Some(found) = difference("method", &config.method, &asked) {
            return Err(other(found).into());
        }
        let asked = layers.data(&config.data)?;
        // The files may have moved; what they hold may not have changed.
        let moved = DataConfig {
            dir: asked.dir.clone(),
            ..config.data.clone()
        };
        if let Some(found) = difference("data", &moved, &asked) {
            return Err(other(found).into());
        }
        let training = layers.training(&config.training)?;
        let fixed = |training: &TrainConfig| {
            [
                ("seed", training.seed.to_string()),
                ("batch_size", training.batch_size.to_string()),
                (
                    "langevin.persistent",
                    training.langevin.persistent.to_string(),
                ),
            ]
        };
        for ((key, stored), (_, asked)) in fixed(&config.training).into_iter().zip(fixed(&training))
        {
            if stored != asked {
                return Err(other(format!("{key} is {stored}, not {asked}")).into());
            }
        }
        config.data = asked;
        config.training = training;
        let data = load(&config.data, args.download, quiet)?;
        TrainError::check_shape(data.train.shape(), config.generator.image_shape())?;
        Ok(Self {
            config,
            data,
            folder,
            backend: args.backend()?,
            resume: true,
            quiet,
            stop: Arc::default(),
        })
    }

    /// The same, ended early once `stop` is set.
    pub(super) fn stopped_by(self, stop: Arc<Stop>) -> Self {
        Self { stop, ..self }
    }
}

/// The first of the usual folders that is not there yet.
fn free_folder(defaults: Option<ExampleDefaults>, source: &str) -> PathBuf {
    let name = Path::new(source).file_stem().unwrap_or(source.as_ref());
    let first = match defaults {
        Some(defaults) => PathBuf::from(defaults.run),
        None => Path::new("runs").join(name),
    };
    let numbered = (2..).map(|number| {
        let mut name = first.clone().into_os_string();
        name.push(format!("-{number}"));
        PathBuf::from(name)
    });
    std::iter::once(first.clone())
        .chain(numbered)
        .find(|folder| !folder.exists())
        .unwrap_or(first)
}

fn load(data: &DataConfig, download: bool, quiet: bool) -> Result<DataSet, Failure> {
    let spec = data.spec()?;
    if download {
        spec.download()?;
    }
    let images = spec.load()?;
    if !quiet {
        out!(
            "data: {} ({} training, {} test images)",
            images.provenance,
            images.train.len(),
            images.test.len()
        );
    }
    Ok(images)
}

impl OnBackend for Plan {
    type Output = Result<Summary, Failure>;

    fn run<B: Backend>(self, device: B::Device) -> Self::Output {
        let text = self.config.to_toml()?;
        let asked = self.config.training.precision;
        if let Some(precision) = asked.filter(|precision| *precision != Precision::F32)
            && !self.backend.has_precisions()
        {
            err!(
                "warning: precision is {precision}, but backend {} computes in float32",
                self.backend
            );
        }
        set_precision(asked.unwrap_or_default());
        let RunConfig {
            generator,
            method: chosen,
            training,
            ..
        } = self.config;
        let (layers, total) = (&generator.latents, training.iterations);
        let images = self.data.train.len();
        let method = chosen.build::<B>(&generator, &training, images, &device)?;
        let mut progress = if self.quiet {
            Progress::hidden()
        } else {
            let Parameters {
                generator,
                inference,
            } = method.parameters();
            let on = B::name(&device);
            if chosen.name().has_generator() {
                let (count, sizes) = (layers.count(), layers.sizes());
                out!(
                    "generator: L = {count}, latents {sizes:?} (top first), {generator} parameters, on {on}"
                );
            }
            match chosen.name() {
                MethodName::ShortRun => {}
                name if name.has_generator() => out!(
                    "method: {}, {inference} parameters for inference",
                    name.name()
                ),
                name => out!("method: {}, {generator} parameters, on {on}", name.name()),
            }
            out!("run: {}", self.folder.display());
            Progress::visible(total)
        };
        let mut session = if self.resume {
            let folder = RunFolder::open(&self.folder)?;
            let (session, messages) =
                Session::<B, _>::resume(training, method, &self.data, folder.clone(), &device)?;
            folder.rewrite_config(&text)?;
            for message in messages {
                progress.say(&format!("warning: {message}"));
            }
            progress.say(&format!("resuming at iteration {}", session.iteration()));
            session
        } else {
            let folder = RunFolder::create(&self.folder, &text)?;
            Session::start(training, method, &self.data, folder, &device)?
        };
        let called = invocation(session.iteration(), self.backend);
        RunFolder::open(&self.folder)?.record(&called)?;
        Ok(session.run(&self.stop, &mut progress)?)
    }
}
