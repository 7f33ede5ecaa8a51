//! `shortrun compare`.

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    str::FromStr,
    time::Duration,
};

use burn::prelude::*;
use clap::Args;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use shortrun_baselines::MethodName;
use shortrun_data::Split;
use shortrun_eval::{Grid, host};
use shortrun_fid::ClassifierOptions;
use shortrun_train::{Ending, Evaluated, RunFolder, Summary};

use super::{
    Exit, Failure,
    options::{at_least_one, one_of},
    reporting::to_json,
    train::LearnOptions,
};
use crate::{backend::OnBackend, run::LoadedRun};

/// Images of each kind in the picture.
const SHOWN: usize = 10;

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
    /// repeated. It wins over --set.
    #[arg(long, value_name = "METHOD:KEY=VALUE", value_parser = method_setting)]
    method_set: Vec<(MethodName, String)>,
    /// Print the table as one JSON object, and no progress.
    #[arg(long)]
    json: bool,
}

/// What each method is given.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Budget {
    /// So many updates.
    Updates(u64),
    /// So much time for training.
    Minutes(f64),
}

impl FromStr for Budget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unclear = || "write updates, such as 2000, or minutes, such as 10m".to_owned();
        if let Some(minutes) = text.strip_suffix('m') {
            let minutes: f64 = minutes.parse().map_err(|_| unclear())?;
            // More than a Duration holds is a slip as well.
            let sound = Duration::try_from_secs_f64(60.0 * minutes).is_ok_and(|d| !d.is_zero());
            return sound.then_some(Self::Minutes(minutes)).ok_or_else(unclear);
        }
        match text.parse() {
            Ok(0) | Err(_) => Err(unclear()),
            Ok(updates) => Ok(Self::Updates(updates)),
        }
    }
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

impl Budget {
    /// The flags of `train` that keep to it.
    fn flags(self) -> Vec<String> {
        match self {
            Self::Updates(updates) => vec!["--steps".to_owned(), updates.to_string()],
            // Steps enough never to end before the time does.
            Self::Minutes(minutes) => ["--minutes", &minutes.to_string(), "--steps", "1000000000"]
                .map(str::to_owned)
                .to_vec(),
        }
    }

    fn words(self) -> String {
        match self {
            Self::Updates(updates) => format!("{updates} updates each"),
            Self::Minutes(minutes) => format!("{minutes} minutes of training each"),
        }
    }
}

/// What a method came to.
#[derive(Clone, Debug, Serialize)]
struct Row {
    method: &'static str,
    run: PathBuf,
    ending: Ending,
    updates: u64,
    seconds: f64,
    seconds_per_update: f64,
    generator_parameters: usize,
    /// Of the inference network, or of latents that are learned.
    inference_parameters: usize,
    peak_memory_mib: Option<f64>,
    /// Of test images inferred the method's own way, per value in [-1, 1]; null where it is exact or
    /// not finite.
    mse: Option<f64>,
    distance: f64,
    /// The method's own log p(x) or bound of it, in nats an image, and which it is.
    own_log_density: Option<f64>,
    own_log_density_is: Option<String>,
    /// By annealed importance sampling, nats an image; null without a generator.
    log_density: Option<f64>,
    log_density_error: Option<f64>,
}

#[derive(Serialize)]
struct Table {
    budget: Budget,
    data: String,
    latents: Vec<usize>,
    test_images: usize,
    distance_name: String,
    extractor: String,
    reference: String,
    samples: usize,
    likelihood_images: usize,
    rows: Vec<Row>,
    picture: PathBuf,
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
    for (place, method) in args.methods.iter().enumerate() {
        if args.methods[..place].contains(method) {
            let text = format!("--methods: {} is there twice", method.name());
            return Err(Failure::Usage(text));
        }
        // A slip is told before the first run, not at the last.
        args.learning(*method).check()?;
    }
    fs::create_dir_all(&args.runs).map_err(|error| failed(&args.runs, &error))?;
    let mut looked_at = Vec::new();
    for method in &args.methods {
        if args.train(*method)? == Ending::Stopped {
            err!("stopped; the same command goes on");
            return Ok(Exit::Interrupted);
        }
        looked_at.push(args.look_at(*method)?);
    }
    let picture = args.runs.join("compare.png");
    let runs = args.methods.iter().map(|method| args.run_of(*method));
    args.learn.backend()?.run(Picture {
        runs: runs.collect(),
        out: picture.clone(),
    })??;
    let table = args.table(looked_at, picture)?;
    table.write(&args.runs)?;
    if args.json {
        out!("{}", to_json(&table)?);
    } else {
        out!("{}", table.markdown());
        out!(
            "table and picture: {}/compare.{{json,md,png}}",
            args.runs.display()
        );
    }
    Ok(Exit::Done)
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::Other(format!("{}: {error}", path.display()))
}

/// What the commands found out about a run.
struct LookedAt {
    method: MethodName,
    reconstruct: Value,
    fid: Value,
    likelihood: Option<Value>,
}

impl CompareArgs {
    fn run_of(&self, method: MethodName) -> PathBuf {
        self.runs.join(method.name())
    }

    /// What a method is trained with.
    fn learning(&self, method: MethodName) -> LearnOptions {
        let own = self.method_set.iter().filter(|(of, _)| *of == method);
        let mut learn = self.learn.by(method);
        learn.set.extend(own.map(|(_, setting)| setting.clone()));
        learn
    }

    /// Trains one method in a process of its own, so that its memory can be told.
    fn train(&self, method: MethodName) -> Result<Ending, Failure> {
        let folder = self.run_of(method);
        let mut flags = self.learning(method).arguments();
        flags.extend(self.budget.flags().into_iter().map(OsString::from));
        if let Ok(opened) = RunFolder::open(&folder) {
            let wanted = arguments("train", &folder, &flags);
            match Summary::read(&opened) {
                Some(summary)
                    if summary.ending != Ending::Stopped && was_last(&opened, &wanted) =>
                {
                    return Ok(summary.ending);
                }
                _ => flags.push("--resume".into()),
            }
        }
        match self.call::<Summary>("train", &folder, &flags) {
            Ok(summary) => Ok(summary.ending),
            // That a method does not learn is what the table is to show.
            Err(failure) => match RunFolder::open(&folder)
                .ok()
                .and_then(|f| Summary::read(&f))
            {
                Some(summary) if summary.ending == Ending::Diverged => Ok(Ending::Diverged),
                _ => Err(failure),
            },
        }
    }

    fn look_at(&self, method: MethodName) -> Result<LookedAt, Failure> {
        let run = self.run_of(method);
        let backend = self.learn.backend_arguments();
        let flags = |more: &[(&str, String)]| -> Vec<OsString> {
            let more = more
                .iter()
                .flat_map(|(flag, value)| [flag.into(), value.into()]);
            backend.iter().cloned().chain(more).collect()
        };
        let reconstruct = flags(&[("--count", self.count.to_string())]);
        let mut fid = vec![
            ("--samples", self.samples.to_string()),
            ("--neighbours", "0".to_owned()),
        ];
        match &self.weights {
            Some(weights) => fid.push(("--weights", weights.display().to_string())),
            None => {
                let file = self.runs.join("classifier.safetensors");
                fid.push(("--features", "classifier".to_owned()));
                fid.push(("--classifier-updates", self.classifier_updates.to_string()));
                fid.push(("--classifier", file.display().to_string()));
            }
        }
        fid.extend(self.reference.map(|count| ("--count", count.to_string())));
        let likelihood = flags(&[
            ("--count", self.likelihood.to_string()),
            ("--temperatures", self.temperatures.to_string()),
            ("--simulated", "0".to_owned()),
        ]);
        let wanted = self.likelihood > 0 && method.has_generator();
        Ok(LookedAt {
            method,
            reconstruct: self.ask("reconstruct", &run, &reconstruct)?,
            fid: self.ask("fid", &run, &flags(&fid))?,
            likelihood: match wanted {
                true => Some(self.ask("likelihood", &run, &likelihood)?),
                false => None,
            },
        })
    }

    /// What a command finds out about a run; if it was asked the same about the same checkpoint
    /// before, what it said then.
    fn ask(&self, command: &str, run: &Path, flags: &[OsString]) -> Result<Value, Failure> {
        let known = || {
            let folder = RunFolder::open(run).ok()?;
            let checkpoint = Summary::read(&folder)?.iterations;
            let mut kept = folder.evaluated().into_iter();
            let (_, found) = kept.find(|(name, _)| name == command)?;
            let Evaluated {
                invocation, report, ..
            } = found.ok()?;
            let asked = arguments(command, run, flags);
            let before = invocation.arguments.iter().skip(1).map(OsString::from);
            let same = before.eq(asked) && report["checkpoint"] == checkpoint;
            same.then_some(report)
        };
        match known() {
            Some(report) => Ok(report),
            None => self.call(command, run, flags),
        }
    }

    /// Runs a command of this program on a run, and reads its result.
    fn call<T: DeserializeOwned>(
        &self,
        command: &str,
        run: &Path,
        flags: &[OsString],
    ) -> Result<T, Failure> {
        let program = std::env::current_exe().map_err(|e| Failure::Other(e.to_string()))?;
        if !self.json {
            err!("{command} {}", run.display());
        }
        let output = Command::new(program)
            .args(arguments(command, run, flags))
            .stderr(Stdio::inherit())
            .output()
            .map_err(|e| Failure::Other(format!("cannot start {command}: {e}")))?;
        serde_json::from_slice(&output.stdout).map_err(|_| {
            let run = run.display();
            Failure::Other(format!("{command} --run {run} failed; it says why above"))
        })
    }

    fn table(&self, all: Vec<LookedAt>, picture: PathBuf) -> Result<Table, Failure> {
        let first = all
            .first()
            .ok_or_else(|| Failure::Usage("no methods".to_owned()))?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut table = Table {
            budget: self.budget,
            data: text(&first.reconstruct["data"]),
            latents: Vec::new(),
            test_images: first.reconstruct["images"].as_u64().unwrap_or(0) as usize,
            distance_name: text(&first.fid["distance_name"]),
            extractor: text(&first.fid["extractor"]),
            reference: text(&first.fid["reference"]),
            samples: self.samples,
            likelihood_images: self.likelihood,
            rows: Vec::new(),
            picture,
        };
        for looked_at in all {
            let run = LoadedRun::open(self.run_of(looked_at.method))?;
            table.latents = run.config.generator.latents.sizes().to_vec();
            table.rows.push(looked_at.row(&run)?);
        }
        Ok(table)
    }
}

/// Whether a run was last trained by these arguments, resumed or not.
fn was_last(folder: &RunFolder, wanted: &[OsString]) -> bool {
    let last = folder.invocations().pop();
    last.is_some_and(|last| {
        let given = last.arguments.iter().skip(1);
        let given = given.filter(|argument| *argument != "--resume");
        given.map(OsString::from).eq(wanted.iter().cloned())
    })
}

/// The arguments of a command of this program about a run.
fn arguments(command: &str, run: &Path, flags: &[OsString]) -> Vec<OsString> {
    let named = [command.into(), "--json".into(), "--run".into(), run.into()];
    named.into_iter().chain(flags.iter().cloned()).collect()
}

impl LookedAt {
    fn row(&self, run: &LoadedRun) -> Result<Row, Failure> {
        let folder = run.folder.path();
        let summary =
            Summary::read(&run.folder).ok_or_else(|| failed(folder, &"the run left no summary"))?;
        let seconds = run.seconds_trained()?;
        let likelihood = self.likelihood.as_ref().map(|found| &found["measured"]);
        let exact = self.reconstruct["exact"] == Value::Bool(true);
        Ok(Row {
            method: self.method.name(),
            run: folder.to_owned(),
            ending: summary.ending,
            updates: summary.iterations,
            seconds,
            seconds_per_update: seconds / summary.iterations.max(1) as f64,
            generator_parameters: summary.parameters.generator,
            inference_parameters: summary.parameters.inference,
            peak_memory_mib: summary.peak_memory_mib,
            mse: self.reconstruct["mse"].as_f64().filter(|_| !exact),
            distance: self.fid["distance"].as_f64().unwrap_or(f64::NAN),
            own_log_density: self.reconstruct["log_density"].as_f64(),
            own_log_density_is: self.reconstruct["log_density_is"]
                .as_str()
                .map(str::to_owned),
            log_density: likelihood.and_then(|found| found["log_density"].as_f64()),
            log_density_error: likelihood.and_then(|found| found["standard_error"].as_f64()),
        })
    }
}

impl Table {
    fn write(&self, runs: &Path) -> Result<(), Failure> {
        let write = |name: &str, text: &str| {
            let path = runs.join(name);
            fs::write(&path, text).map_err(|error| failed(&path, &error))
        };
        write("compare.json", &to_json(self)?)?;
        write("compare.md", &self.markdown())
    }

    fn markdown(&self) -> String {
        let mut text = format!(
            "{}; {}; L = {} (latents {:?}, top first).\n\n\
             | method | test MSE | distance | log p(x) by AIS | own log p(x) | parameters: generator | \
             inference | updates | s/update | peak MiB |\n|{}\n",
            self.budget.words(),
            self.data,
            self.latents.len(),
            self.latents,
            "---|".repeat(10)
        );
        let number = |value: Option<f64>, digits: usize| {
            value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
        };
        for row in &self.rows {
            let ending = match row.ending {
                Ending::Diverged => " (diverged)",
                Ending::Finished | Ending::Stopped => "",
            };
            let own = match &row.own_log_density_is {
                Some(kind) => format!("{} ({kind})", number(row.own_log_density, 1)),
                None => "-".to_owned(),
            };
            let estimate = match row.log_density_error {
                Some(error) => format!("{} ± {error:.1}", number(row.log_density, 1)),
                None => number(row.log_density, 1),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "| {}{ending} | {} | {:.3} | {estimate} | {own} | {} | {} | {} | {:.4} | {} |",
                row.method,
                number(row.mse, 5),
                row.distance,
                row.generator_parameters,
                row.inference_parameters,
                row.updates,
                row.seconds_per_update,
                number(row.peak_memory_mib, 0),
            );
        }
        let _ = write!(
            text,
            "\nMSE per value in [-1, 1] on {} test images, inferred the method's own way. Distance: {}, \
             {}, {} samples against {}. log p(x): nats an image, values in [-1, 1], on {} test images. \
             {}: test images, then a row of reconstructions for each method in the order of the \
             table, then a row of samples for each. Seconds and memory are of training on this machine; memory \
             on a GPU does not count.\n",
            self.test_images,
            self.distance_name,
            self.extractor,
            self.samples,
            self.reference,
            self.likelihood_images,
            self.picture.display()
        );
        text
    }
}

/// The runs' reconstructions and samples in one picture.
struct Picture {
    runs: Vec<PathBuf>,
    out: PathBuf,
}

impl OnBackend for Picture {
    type Output = Result<(), Failure>;

    fn run<B: Backend>(self, device: B::Device) -> Self::Output {
        let (mut originals, mut reconstructions, mut samples) =
            (Vec::new(), Vec::new(), Vec::new());
        let mut shape = None;
        for path in &self.runs {
            let run = LoadedRun::open(path)?;
            let method = run.method::<B>(&device)?;
            let test = run
                .config
                .data
                .spec()?
                .load_split(Split::Test, Some(SHOWN))?
                .images;
            let found = method.reconstruct(&run.checkpoint.state, &test, SHOWN)?;
            originals = found.originals;
            reconstructions.extend(found.generated);
            for batch in method.samples(SHOWN, SHOWN)? {
                samples.extend(host(batch));
            }
            shape = Some(test.shape());
        }
        let Some(shape) = shape else { return Ok(()) };
        let all = [originals, reconstructions, samples].concat();
        Ok(Grid::new(shape, SHOWN, all).write_png(&self.out)?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_updates_or_minutes() {
        assert_eq!("2000".parse(), Ok(Budget::Updates(2000)));
        assert_eq!("2.5m".parse(), Ok(Budget::Minutes(2.5)));
        for wrong in ["0", "0m", "-1m", "m", "ten", "infm", "NaNm", "1e300m", "5s"] {
            assert!(wrong.parse::<Budget>().is_err(), "{wrong}");
        }
    }
}
