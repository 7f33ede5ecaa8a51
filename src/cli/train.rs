//! `shortrun train`, and the training examples.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use burn::prelude::*;
use clap::{Args, Parser};
use shortrun_baselines::MethodName;
use shortrun_data::DataSet;
use shortrun_model::Preset;
use shortrun_train::{
    Ending, Method, Parameters, Progress, RunFolder, Session, Stop, Summary, TrainConfig,
    TrainError,
};

use super::{
    Exit, Failure,
    interrupt::stop_on_interrupt,
    options::{BackendOption, one_of},
    versions::invocation,
};
use crate::{
    backend::{BackendName, OnBackend},
    run_config::{DataConfig, RunConfig, generator_of, training_of},
    settings::{Layers, difference},
};

/// What is learned, and how.
#[derive(Clone, Debug, Args)]
pub(super) struct LearnOptions {
    /// Images to learn from: auto (SVHN if it is there, else built-in synthetic digits), mnist,
    /// svhn, celeba, synthetic, a .npy file or a folder of pictures.
    #[arg(long, value_name = "DATA")]
    data: Option<String>,
    /// Folder of the data set's files [default: datasets/NAME].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Fetch SVHN or MNIST first, if it is not there.
    #[arg(long)]
    download: bool,
    /// Height and width to learn at: 28, 32 or 64 [default: 28 for MNIST, else 32].
    #[arg(long, value_name = "PIXELS")]
    size: Option<usize>,
    /// Channels to learn: 1 (grey) or 3 (colour) [default: those of the images].
    #[arg(long)]
    channels: Option<usize>,
    /// Shape of the generator, and how it learns: quick (made for a CPU), l1, table4 (the paper's,
    /// L = 3) or released (the authors' script, L = 5) [default: quick].
    #[arg(long)]
    pub(super) preset: Option<Preset>,
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
    pub(super) set: Vec<String>,
    /// Learning steps of the whole run.
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// Minutes of training after which the run ends even if steps remain.
    #[arg(long, value_name = "M")]
    minutes: Option<f64>,
    /// Seed of weights, batches and noise.
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    backend: BackendOption,
}

/// Arguments of `shortrun train` and of the training examples.
#[derive(Debug, Args)]
pub(super) struct TrainArgs {
    #[command(flatten)]
    learn: LearnOptions,
    /// Folder of the run [default: the first free of runs/DATA, runs/DATA-2, …].
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Go on with the run in --run from its last checkpoint, bit-exactly.
    #[arg(long, requires = "run")]
    resume: bool,
    /// Print the summary as one JSON object, and no progress.
    #[arg(long)]
    json: bool,
}

/// What an example trains when it is not told.
#[derive(Clone, Copy, Debug)]
pub struct ExampleDefaults {
    /// The data set.
    pub data: &'static str,
    /// The generator.
    pub preset: Preset,
    /// Folder of the run, if free.
    pub run: &'static str,
    /// Settings that go with the data, as `--set` takes them; what a user sets goes before them.
    pub settings: &'static [&'static str],
}

/// The command line of a training example: `shortrun train` with other defaults.
pub fn example(defaults: ExampleDefaults) -> ExitCode {
    #[derive(Parser)]
    struct Example {
        #[command(flatten)]
        train: TrainArgs,
    }
    super::start_log();
    super::finish(main(Example::parse().train, Some(defaults)))
}

pub(super) fn main(args: TrainArgs, defaults: Option<ExampleDefaults>) -> Result<Exit, Failure> {
    let TrainArgs {
        learn,
        run,
        resume,
        json,
    } = args;
    let backend = learn.backend.name()?;
    let plan = if resume {
        Plan::resume(&learn, run.unwrap_or_default(), json)?
    } else {
        Plan::start(&learn, run, defaults, json)?
    };
    let run = plan.folder.clone();
    let summary = backend.run(plan.stopped_by(stop_on_interrupt(STOPPING)?))??;
    if json {
        out!("{}", super::reporting::to_json(&summary)?);
    } else {
        report(&summary, &run);
    }
    Ok(match summary.ending {
        Ending::Finished => Exit::Done,
        Ending::Stopped => Exit::Interrupted,
        Ending::Diverged => Exit::Diverged,
    })
}

/// What an interrupted run says.
pub(super) const STOPPING: &str = "stopping after this iteration";

/// One run of a sweep: begun, gone on with, or, if it is finished, only read.
pub(super) fn begin_or_resume(
    learn: &LearnOptions,
    folder: &Path,
    stop: &Arc<Stop>,
    quiet: bool,
) -> Result<Summary, Failure> {
    let backend = learn.backend.name()?;
    let Ok(opened) = RunFolder::open(folder) else {
        let plan = Plan::start(learn, Some(folder.to_owned()), None, quiet)?;
        return backend.run(plan.stopped_by(stop.clone()))?;
    };
    let plan = Plan::resume(learn, folder.to_owned(), quiet)?;
    let stored = RunConfig::read(&opened)?.training;
    if let Some(difference) = difference("training", &stored, &plan.config.training) {
        let path = folder.to_owned();
        return Err(TrainError::OtherRun { path, difference }.into());
    }
    match Summary::read(&opened) {
        Some(summary) if summary.ending != Ending::Stopped => Ok(summary),
        _ => backend.run(plan.stopped_by(stop.clone()))?,
    }
}

fn report(summary: &Summary, run: &Path) {
    let run = run.display();
    out!("data: {}", summary.data);
    if let Some(evaluation) = &summary.evaluation {
        out!("{evaluation}");
    }
    match summary.ending {
        Ending::Finished => out!(
            "{} iterations done in {:.0} s; pictures: {run}/reconstructions, {run}/samples",
            summary.iterations,
            summary.seconds
        ),
        Ending::Stopped | Ending::Diverged => out!(
            "stopped and saved at iteration {}; go on with: shortrun train --run {run} --resume",
            summary.iterations
        ),
    }
}

/// A run about to be made or gone on with.
struct Plan {
    config: RunConfig,
    data: DataSet,
    folder: PathBuf,
    backend: BackendName,
    resume: bool,
    quiet: bool,
    stop: Arc<Stop>,
}

impl Plan {
    fn start(
        args: &LearnOptions,
        run: Option<PathBuf>,
        defaults: Option<ExampleDefaults>,
        quiet: bool,
    ) -> Result<Self, Failure> {
        let layers = args.layers()?;
        let mut data = layers.data(&DataConfig {
            source: defaults.map_or("auto", |d| d.data).to_owned(),
            dir: None,
            size: 0,
            channels: None,
        })?;
        if data.size == 0 {
            data.size = DataConfig::usual_size(&data.source);
        }
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
            backend: args.backend.name()?,
            resume: false,
            quiet,
            stop: Arc::default(),
        })
    }

    /// The stored configuration, with only those changes that do not make it another run.
    fn resume(args: &LearnOptions, folder: PathBuf, quiet: bool) -> Result<Self, Failure> {
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
            backend: args.backend.name()?,
            resume: true,
            quiet,
            stop: Arc::default(),
        })
    }

    /// The same, ended early once `stop` is set.
    fn stopped_by(self, stop: Arc<Stop>) -> Self {
        Self { stop, ..self }
    }
}

impl LearnOptions {
    /// Whether the settings make sense, as far as that can be told without images.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let (layers, preset) = (self.layers()?, self.preset.unwrap_or(Preset::Quick));
        layers.training(&training_of(preset))?;
        let name = layers.method_name()?.unwrap_or(MethodName::ShortRun);
        let generator = layers.generator(&preset.config(32, 3)?)?;
        Ok(layers.method(&name.config())?.check(&generator)?)
    }

    /// The same, of another method.
    pub(super) fn by(&self, method: MethodName) -> Self {
        Self {
            method: Some(method),
            ..self.clone()
        }
    }

    /// Whether it is said when training ends.
    pub(super) fn has_length(&self) -> bool {
        self.steps.is_some() || self.minutes.is_some()
    }

    /// Where to compute.
    pub(super) fn backend(&self) -> Result<BackendName, Failure> {
        self.backend.name()
    }

    /// The flags that say where to compute, for another process.
    pub(super) fn backend_arguments(&self) -> Vec<OsString> {
        self.backend.arguments()
    }

    /// The flags that say all this, for another process.
    pub(super) fn arguments(&self) -> Vec<OsString> {
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

    fn layers(&self) -> Result<Layers, Failure> {
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
