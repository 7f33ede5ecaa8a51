//! Expected: on MNIST, steps that fall from eta 0.1 towards 0.07 as sigma falls, and curves with more than
//! one minimum; see docs/STEP_SIZE.md.
//!
//! The paper's Figure 6 on your images: the step size over training, tuned by (a) grid and (b)
//! gradient, for several seeds, and (c) the objective against the step size on the way.
//!
//! ```text
//! cargo run --release --example step_size -- --data mnist --data-dir ../shared/datasets/mnist
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::{error::Error, fs, path::PathBuf, process::ExitCode};

use burn::backend::{Autodiff, Flex};
use clap::Parser;
use shortrun::{
    data::{DataSet, DataSpec, Source},
    eval::{Panel, Plot, Series},
    model::Preset,
    run_config::{generator_of, training_of},
    stepsize_vi::SearchName,
    train::{MetricsLog, Progress, Record, RunFolder, Session, ShortRunMethod, Stop, Tuning},
};

/// Tunes the step size while training, by grid and by gradient, for several seeds.
#[derive(Parser)]
struct Arguments {
    /// auto, svhn, mnist, celeba, synthetic, a .npy file or a folder of pictures.
    #[arg(long, default_value = "auto")]
    data: String,
    /// Folder of the data set's files.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Image size: 28, 32 or 64 [default: 28 for mnist, else 32].
    #[arg(long)]
    size: Option<usize>,
    /// Runs with seeds 1 to this.
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// Learning iterations of each run.
    #[arg(long, default_value_t = 1000)]
    steps: u64,
    /// Iterations between updates of the step size, T_s.
    #[arg(long, default_value_t = 50)]
    every: u64,
    /// Images for each update.
    #[arg(long, default_value_t = 4)]
    examples: usize,
    /// A folder that does not exist yet.
    #[arg(long, default_value = "runs/step-size")]
    out: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Arguments) -> Result<(), Box<dyn Error>> {
    let source: Source = args.data.parse()?;
    let size = if source == Source::Mnist { 28 } else { 32 };
    let spec = DataSpec {
        data_dir: args.data_dir.clone(),
        ..DataSpec::new(source, args.size.unwrap_or(size))
    };
    let data = spec.load()?;
    println!("data: {}", data.provenance);
    let mut panels = Vec::new();
    let mut curves = Vec::new();
    let mut table = Vec::new();
    for search in [SearchName::Grid, SearchName::Gradient] {
        let mut series = Vec::new();
        for seed in 1..=args.seeds {
            let updates = train(args, &data, search, seed)?;
            let points = updates
                .iter()
                .map(|update| (update.iteration as f64, update.eta[0]));
            series.push(Series {
                name: format!("seed {seed}"),
                points: points.collect(),
            });
            if seed == 1 && search == SearchName::Grid {
                curves = some_curves(&updates);
            }
            table.push(serde_json::json!({"search": search, "seed": seed, "updates": updates}));
        }
        let letter = match search {
            SearchName::Gradient => "(b) gradient",
            _ => "(a) grid",
        };
        panels.push(Panel {
            title: format!("{letter}: step size over training"),
            x: "iteration".to_owned(),
            y: "eta".to_owned(),
            series,
            ..Panel::default()
        });
    }
    panels.push(Panel {
        title: "(c) objective above its minimum".to_owned(),
        x: "eta".to_owned(),
        y: "nats an image".to_owned(),
        series: curves,
        ..Panel::default()
    });
    let plot = args.out.join("step-size.svg");
    Plot { panels }.write_svg(&plot)?;
    let numbers = args.out.join("step-size.json");
    fs::write(&numbers, serde_json::to_vec_pretty(&table)?)?;
    println!("plot: {}; numbers: {}", plot.display(), numbers.display());
    Ok(())
}

/// Trains once and returns every update of the step size.
fn train(
    args: &Arguments,
    data: &DataSet,
    search: SearchName,
    seed: u64,
) -> Result<Vec<Tuning>, Box<dyn Error>> {
    let device = Default::default();
    let generator = generator_of(Preset::Quick, data.train.shape())?;
    let mut config = training_of(Preset::Quick);
    config.seed = seed;
    config.iterations = args.steps;
    config.step_size.every = args.every;
    config.step_size.examples = args.examples;
    config.step_size.search = search;
    let folder = args.out.join(format!("{}-{seed}", search.name()));
    let folder = RunFolder::create(&folder, &toml::to_string(&config)?)?;
    let model = generator.try_init::<Autodiff<Flex>>(seed, &device)?;
    let images = data.train.len();
    let method = ShortRunMethod::<Flex, _>::new(model, generator.latents, &config, images, &device);
    let mut session = Session::start(config, method, data, folder.clone(), &device)?;
    session.run(&Stop::new(false), &mut Progress::visible(args.steps))?;
    let updates = MetricsLog::read(&folder)?.into_iter();
    Ok(updates
        .filter_map(|record| match record {
            Record::StepSize(update) => Some(update),
            _ => None,
        })
        .collect())
}

/// The objective's curve at four points of training, each from its own lowest value.
fn some_curves(updates: &[Tuning]) -> Vec<Series> {
    let chosen = updates.iter().step_by(updates.len().div_ceil(4).max(1));
    chosen
        .map(|update| {
            let finite = update
                .curve
                .iter()
                .filter_map(|(eta, f)| Some((*eta, (*f)?)));
            let lowest = finite.clone().map(|(_, f)| f).fold(f64::INFINITY, f64::min);
            Series {
                name: format!("iteration {}", update.iteration),
                points: finite
                    .map(|(eta, f)| (eta, f - lowest))
                    .filter(|(_, above)| *above < 500.0)
                    .collect(),
            }
        })
        .collect()
}
