//! `shortrun compare`.

mod budget;
mod picture;
mod runs;
mod table;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use clap::Args;
use shortrun_baselines::MethodName;
use shortrun_fid::ClassifierOptions;
use shortrun_train::Ending;

use self::{budget::Budget, picture::Picture, table::Table};
use super::{
    Exit, Failure,
    interrupt::stop_on_interrupt,
    options::{at_least_one, one_of},
    reporting::to_json,
    run::LoadedRun,
    train::LearnOptions,
};

/// Why images may have no distance.
const NO_LABELS: &str = "the images have no labels to train a classifier on; --weights gives Inception's \
    weights, --classifier a classifier of other images of this size";

/// Arguments of `shortrun compare`.
#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// Methods to train, such as short-run,vae,glow.
    #[arg(long, required = true, value_name = "NAME,…", value_delimiter = ',',
        value_parser = one_of(MethodName::ALL, MethodName::name))]
    methods: Vec<MethodName>,
    /// What each method is given: updates, such as 2000, or minutes of training, such as 10m.
    #[arg(long, value_name = "STEPS|MINUTESm")]
    budget: Budget,
    /// Folder of the runs and of their table: what is there already is gone on with.
    #[arg(long, value_name = "DIR")]
    runs: PathBuf,
    /// Test images that are reconstructed.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = at_least_one)]
    count: usize,
    /// Images that each method generates for the distance.
    #[arg(long, default_value_t = 2_000, value_name = "N", value_parser = at_least_one)]
    samples: usize,
    /// Real images of the training split for the distance [default: all].
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    reference: Option<usize>,
    /// Weights of Inception for FID; without them the distance is of a small classifier's features,
    /// trained once for all methods.
    #[arg(long, value_name = "FILE.pth")]
    weights: Option<PathBuf>,
    /// That classifier, if it is not to be trained: images without labels have no other way. It may be
    /// of other images of the same size [default: DIR/classifier.safetensors, trained if not there].
    #[arg(long, value_name = "FILE.safetensors", conflicts_with = "weights")]
    classifier: Option<PathBuf>,
    /// Updates of that classifier's weights.
    #[arg(long, default_value_t = ClassifierOptions::default().iterations, value_name = "N")]
    classifier_updates: u64,
    /// Test images whose log p(x) is estimated by annealed importance sampling; 0 for none.
    #[arg(long, default_value_t = 8, value_name = "N")]
    likelihood: usize,
    /// Temperatures of that estimate.
    #[arg(long, default_value_t = 500, value_name = "T", value_parser = at_least_one)]
    temperatures: usize,
    #[command(flatten)]
    learn: LearnOptions,
    /// One setting of one method, such as glow:method.steps=8 or abp:langevin.steps=20; may be
    /// repeated. It wins over --set, and over what defines a method (of abp its sigma, its step and
    /// their number, of mcmc their number), which --set does not change.
    #[arg(long, value_name = "METHOD:KEY=VALUE", value_parser = method_setting)]
    method_set: Vec<(MethodName, String)>,
    /// Print the table as one JSON object, and no progress.
    #[arg(long)]
    json: bool,
}

/// A setting of one method.
fn method_setting(text: &str) -> Result<(MethodName, String), String> {
    let found = text.split_once(':').and_then(|(name, setting)| {
        let method = MethodName::ALL.into_iter().find(|m| m.name() == name)?;
        Some((method, setting.to_owned()))
    });
    found.ok_or_else(|| {
        let names = MethodName::ALL.map(MethodName::name).join(", ");
        format!("write METHOD:KEY=VALUE, METHOD one of {names}")
    })
}

pub(super) fn main(args: CompareArgs) -> Result<Exit, Failure> {
    if args.learn.has_length() {
        let text = "--steps and --minutes do not go with compare; give --budget";
        return Err(Failure::Usage(text.to_owned()));
    }
    if let Some((method, _)) = args
        .method_set
        .iter()
        .find(|(m, _)| !args.methods.contains(m))
    {
        let text = format!("--method-set: {} is not among --methods", method.name());
        return Err(Failure::Usage(text));
    }
    let mut remarks = Vec::new();
    for (place, method) in args.methods.iter().enumerate() {
        if args.methods[..place].contains(method) {
            let text = format!("--methods: {} is there twice", method.name());
            return Err(Failure::Usage(text));
        }
        // A slip is told before the first run, not at the last.
        let training = args.learning(*method).check()?;
        let (annealing, has_sigma) = (training.sigma.annealing(), method.has_standard_prior());
        let method = method.name();
        let budget = args.budget.updates().filter(|budget| *budget < annealing);
        if let Some(updates) = budget.filter(|_| has_sigma) {
            remarks.push(format!(
                "{method}: sigma falls for {annealing} updates, longer than the budget of {updates}; \
                 --set sigma={{…}} says otherwise"
            ));
        }
    }
    let mut has_extractor = args.has_extractor()?;
    if has_extractor == Some(false) {
        remarks.push(format!("no distances: {NO_LABELS}"));
    }
    if !args.json {
        remarks.iter().for_each(|remark| err!("{remark}"));
    }
    fs::create_dir_all(&args.runs).map_err(|error| failed(&args.runs, &error))?;
    // The processes of a terminal are interrupted together: the one at work saves and ends.
    let stop = stop_on_interrupt("stopping, as soon as the present command has ended")?;
    let picture = args.runs.join("compare.png");
    let mut table = Table::new(&args, picture.clone());
    let stopped = || {
        err!("stopped; the same command goes on");
        Ok(Exit::Interrupted)
    };
    for method in &args.methods {
        if args.train(*method)? == Ending::Stopped {
            return stopped();
        }
        if has_extractor.is_none() {
            has_extractor = args.has_extractor()?;
        }
        let looked_at = args.look_at(*method, has_extractor != Some(false), &stop)?;
        if stop.load(Ordering::Relaxed) {
            return stopped();
        }
        table.add(&LoadedRun::open(args.run_of(*method))?, &looked_at)?;
        // Whatever happens to those to come.
        table.write(&args.runs)?;
    }
    let runs = args.methods.iter().map(|method| args.run_of(*method));
    args.learn.backend()?.run(Picture {
        runs: runs.collect(),
        out: picture,
    })??;
    if args.json {
        out!("{}", to_json(&table)?);
    } else {
        out!("{}", table.markdown());
        out!(
            "table and picture: {}/compare.{{json,md,png}}",
            args.runs.display()
        );
    }
    match table.gaps() {
        None => Ok(Exit::Done),
        Some(gaps) => Err(Failure::Other(gaps)),
    }
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::Other(format!("{}: {error}", path.display()))
}
