//! `shortrun train`, and the training examples.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use burn::{backend::Autodiff, prelude::*};
use clap::{Args, Parser};
use shortrun_data::{DataSet, ImageShape};
use shortrun_model::{MultiLayerGenerator, Preset, Summary as Parameters};
use shortrun_train::{Ending, Progress, RunFolder, Session, Summary, TrainError};

use super::{Exit, Failure, options::BackendOption, run::read_config};
use crate::{
    backend::OnBackend,
    run_config::{DataConfig, Layers, RunConfig, generator_of, training_of},
};

/// Arguments of `shortrun train` and of the training examples.
#[derive(Debug, Args)]
pub(super) struct TrainArgs {
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
    preset: Option<Preset>,
    /// TOML file whose settings replace the preset's.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, such as batch_size=32, sigma=0.2, langevin.steps=15, checkpoint.every=100 or
    /// langevin.step_size.eta=0.05; may be repeated. The names are those of config.toml.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Folder of the run [default: the first free of runs/DATA, runs/DATA-2, …].
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Learning steps of the whole run.
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// Seed of weights, batches and noise.
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    backend: BackendOption,
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
    let json = args.json;
    let backend = args.backend.name()?;
    let plan = if args.resume {
        Plan::resume(&args)?
    } else {
        Plan::start(&args, defaults)?
    };
    let run = plan.folder.clone();
    let summary = backend.run(plan)??;
    if json {
        println!("{}", super::info::to_json(&summary)?);
    } else {
        report(&summary, &run);
    }
    Ok(match summary.ending {
        Ending::Finished => Exit::Done,
        Ending::Stopped => Exit::Interrupted,
    })
}

fn report(summary: &Summary, run: &Path) {
    let run = run.display();
    println!("data: {}", summary.data);
    if let Some(evaluation) = &summary.evaluation {
        println!(
            "test MSE {:.5} per value in [-1, 1] on {} images (mean image: {:.5})",
            evaluation.test_mse.unwrap_or(f64::NAN),
            evaluation.images,
            evaluation.mean_image_mse
        );
    }
    match summary.ending {
        Ending::Finished => println!(
            "{} iterations done in {:.0} s; pictures: {run}/reconstructions, {run}/samples",
            summary.iterations, summary.seconds
        ),
        Ending::Stopped => println!(
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
    resume: bool,
    quiet: bool,
}

impl Plan {
    fn start(args: &TrainArgs, defaults: Option<ExampleDefaults>) -> Result<Self, Failure> {
        let layers = args.layers()?;
        let source = args.data.clone().or(defaults.map(|d| d.data.to_owned()));
        let named = DataConfig {
            source: source.unwrap_or_else(|| "auto".to_owned()),
            dir: args.data_dir.clone(),
            size: 0,
            channels: args.channels,
        };
        let mut data = layers.data(&named)?;
        if data.size == 0 {
            let usual = DataConfig::usual_size(&data.source);
            data.size = args.size.unwrap_or(usual);
        }
        let folder = args.folder(defaults, &data.source);
        if RunFolder::open(&folder).is_ok() {
            return Err(TrainError::Occupied(folder).into());
        }
        let preset = args
            .preset
            .or(defaults.map(|d| d.preset))
            .unwrap_or(Preset::Quick);
        let images = load(&data, args)?;
        let shape = images.train.shape();
        let config = RunConfig {
            generator: layers.generator(&generator_of(preset, shape)?)?,
            training: layers.training(&training_of(preset))?,
            data,
        };
        fits(&config, shape)?;
        Ok(Self {
            config,
            data: images,
            folder,
            resume: false,
            quiet: args.json,
        })
    }

    /// The stored configuration, with only those changes that do not make it another run.
    fn resume(args: &TrainArgs) -> Result<Self, Failure> {
        let folder = args.run.clone().unwrap_or_default();
        let opened = RunFolder::open(&folder)?;
        let mut config = read_config(&opened)?;
        let layers = args.layers()?;
        let other = |difference: String| TrainError::OtherRun {
            path: folder.clone(),
            difference,
        };
        if let Some(preset) = args.preset {
            let [size, channels] = [config.generator.image_size, config.generator.image_channels];
            if preset.config(size, channels)? != config.generator {
                return Err(other(format!("its generator is not the preset {preset}")).into());
            }
        }
        let stored = config.data.clone();
        let asked = layers.data(&DataConfig {
            source: args.data.clone().unwrap_or_else(|| stored.source.clone()),
            dir: args.data_dir.clone().or_else(|| stored.dir.clone()),
            size: args.size.unwrap_or(stored.size),
            channels: args.channels.or(stored.channels),
        })?;
        // The files may have moved; what they hold may not have changed.
        if (&asked.source, asked.size, asked.channels)
            != (&stored.source, stored.size, stored.channels)
        {
            let difference = format!(
                "it learns from '{}' at {} pixels",
                stored.source, stored.size
            );
            return Err(other(difference).into());
        }
        if layers.generator(&config.generator)? != config.generator {
            return Err(other("its generator has another shape".to_owned()).into());
        }
        let training = layers.training(&config.training)?;
        let fixed = [
            ("seed", training.seed != config.training.seed),
            (
                "batch_size",
                training.batch_size != config.training.batch_size,
            ),
            (
                "langevin.persistent",
                training.langevin.persistent != config.training.langevin.persistent,
            ),
        ];
        if let Some((key, _)) = fixed.into_iter().find(|(_, differs)| *differs) {
            return Err(other(format!("its {key} cannot change")).into());
        }
        config.data = asked;
        config.training = training;
        let data = load(&config.data, args)?;
        fits(&config, data.train.shape())?;
        Ok(Self {
            config,
            data,
            folder,
            resume: true,
            quiet: args.json,
        })
    }
}

impl TrainArgs {
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
        if let Some(steps) = self.steps {
            layers.set(&format!("iterations={steps}"))?;
        }
        if let Some(seed) = self.seed {
            layers.set(&format!("seed={seed}"))?;
        }
        Ok(layers)
    }

    fn folder(&self, defaults: Option<ExampleDefaults>, source: &str) -> PathBuf {
        if let Some(run) = &self.run {
            return run.clone();
        }
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
}

fn load(data: &DataConfig, args: &TrainArgs) -> Result<DataSet, Failure> {
    let spec = data.spec()?;
    if args.download {
        spec.download()?;
    }
    let images = spec.load()?;
    if !args.json {
        println!(
            "data: {} ({} training, {} test images)",
            images.provenance,
            images.train.len(),
            images.test.len()
        );
    }
    Ok(images)
}

fn fits(config: &RunConfig, images: ImageShape) -> Result<(), TrainError> {
    let generator = config.generator.image_shape();
    let found = [images.channels, images.height, images.width];
    if generator == found {
        return Ok(());
    }
    let words = |[c, h, w]: [usize; 3]| format!("{c} x {h} x {w}");
    Err(TrainError::ImageShape {
        images: words(found),
        generator: words(generator),
    })
}

impl OnBackend for Plan {
    type Output = Result<Summary, Failure>;

    fn run<B: Backend>(self, device: B::Device) -> Self::Output {
        type Model<B> = MultiLayerGenerator<Autodiff<B>>;
        let stop = stop_on_interrupt()?;
        let text = self.config.to_toml()?;
        let RunConfig {
            generator,
            training,
            ..
        } = self.config;
        let layers = generator.latents.clone();
        let total = training.iterations;
        let model: Model<B> = generator.try_init(training.seed, &device)?;
        let mut progress = if self.quiet {
            Progress::hidden()
        } else {
            println!(
                "generator: L = {}, latents {:?} (top first), {} parameters, on {}",
                layers.count(),
                layers.sizes(),
                Parameters::of(&model).total,
                B::name(&device)
            );
            println!("run: {}", self.folder.display());
            Progress::visible(total)
        };
        let mut session = if self.resume {
            let folder = RunFolder::open(&self.folder)?;
            let (session, damaged) = Session::<B, Model<B>>::resume(
                training,
                model,
                layers,
                &self.data,
                folder.clone(),
                &device,
            )?;
            folder.rewrite_config(&text)?;
            for message in damaged {
                progress.say(&format!(
                    "warning: {message}; the checkpoint before it is used"
                ));
            }
            progress.say(&format!("resuming at iteration {}", session.iteration()));
            session
        } else {
            let folder = RunFolder::create(&self.folder, &text)?;
            Session::start(training, model, layers, &self.data, folder, &device)?
        };
        Ok(session.run(&stop, &mut progress)?)
    }
}

/// The first interrupt asks the run to stop after its iteration, the second ends the program.
fn stop_on_interrupt() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    ctrlc::set_handler(move || {
        if asked.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("stopping after this iteration; interrupt again to stop at once");
    })
    .map_err(|error| Failure::Other(format!("cannot listen for interrupts: {error}")))?;
    Ok(stop)
}
