//! `shortrun sweep`.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
};

use clap::{Args, Parser};
use serde::{Deserialize, Serialize};
use shortrun_eval::{Panel, Plot, Series};
use shortrun_model::ConfigError;
use shortrun_train::{Ending, RunFolder, Summary, TrainError};

use super::{
    Exit, Failure,
    interrupt::stop_on_interrupt,
    reporting::to_json,
    train::{LearnOptions, STOPPING, begin_or_resume},
};

/// Arguments of `shortrun sweep`.
#[derive(Debug, Args)]
pub(super) struct SweepArgs {
    /// A setting and its values, such as langevin.steps=5,10,25 or preset=l1,table4; repeated, every
    /// combination is trained. The names are those of --set, and preset.
    #[arg(long, value_name = "KEY=VALUE,…", required = true)]
    over: Vec<Axis>,
    /// Folder of the runs and of their table: what is there already is gone on with.
    #[arg(long, value_name = "DIR")]
    runs: PathBuf,
    #[command(flatten)]
    learn: LearnOptions,
    /// Print the table as one JSON object, and no progress.
    #[arg(long)]
    json: bool,
}

/// The command line of an example that sweeps: `shortrun sweep` over these axes in this folder,
/// unless told otherwise.
pub fn sweep_example(over: &[&str], runs: &str) -> ExitCode {
    #[derive(Parser)]
    struct Example {
        #[command(flatten)]
        sweep: SweepArgs,
    }
    super::start_log();
    // As they are: a folder's name need not be UTF-8.
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let given = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let (own_axes, own_folder) = (!given("--over"), !given("--runs"));
    if own_axes {
        let axes = over.iter().flat_map(|axis| ["--over", axis]);
        arguments.extend(axes.map(OsString::from));
    }
    if own_folder {
        arguments.extend(["--runs", runs].map(OsString::from));
    }
    super::finish(main(Example::parse_from(arguments).sweep))
}

/// A setting and the values it takes.
#[derive(Clone, Debug, PartialEq)]
struct Axis {
    key: String,
    values: Vec<String>,
}

impl FromStr for Axis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unclear = || "write KEY=VALUE,VALUE,… such as langevin.steps=5,10,25".to_owned();
        let (key, values) = text.split_once('=').ok_or_else(unclear)?;
        let values = split(values);
        if key.trim().is_empty() || values.iter().any(String::is_empty) {
            return Err(unclear());
        }
        Ok(Self {
            key: key.trim().to_owned(),
            values,
        })
    }
}

/// At commas that are not within brackets.
fn split(values: &str) -> Vec<String> {
    let mut depth = 0;
    let at_commas = |letter: char| {
        match letter {
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            _ => {}
        }
        letter == ',' && depth == 0
    };
    values
        .split(at_commas)
        .map(|value| value.trim().to_owned())
        .collect()
}

/// The key of an axis that names whole shapes.
const PRESET: &str = "preset";

/// One combination: each axis' key and value, in the order of the axes.
type Combination = Vec<(String, String)>;

fn combinations(axes: &[Axis]) -> Vec<Combination> {
    axes.iter().fold(vec![Vec::new()], |found, axis| {
        let longer = |shorter: Combination| {
            axis.values.iter().map(move |value| {
                let mut longer = shorter.clone();
                longer.push((axis.key.clone(), value.clone()));
                longer
            })
        };
        found.into_iter().flat_map(longer).collect()
    })
}

/// The name of a combination's folder.
fn name(combination: &Combination) -> String {
    let plain = |text: &str| -> String {
        let kept = |letter: char| letter.is_ascii_alphanumeric() || ".-_".contains(letter);
        text.chars()
            .map(|letter| if kept(letter) { letter } else { '-' })
            .collect()
    };
    let parts = combination
        .iter()
        .map(|(key, value)| format!("{}={}", plain(key), plain(value)));
    parts.collect::<Vec<_>>().join(",")
}

/// One run of the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    settings: BTreeMap<String, String>,
    run: PathBuf,
    ending: Ending,
    iterations: u64,
    /// Per value in [-1, 1]; null if a chain left all bounds, or nothing was looked at yet.
    test_mse: Option<f64>,
    /// Over all sessions of the run.
    seconds: f64,
}

#[derive(Default, Serialize, Deserialize)]
struct Table {
    keys: Vec<String>,
    rows: Vec<Row>,
}

pub(super) fn main(args: SweepArgs) -> Result<Exit, Failure> {
    let all = combinations(&args.over);
    let names: BTreeSet<String> = all.iter().map(name).collect();
    if names.len() < all.len() {
        let text = "--over: two combinations have the same name; give each value once";
        return Err(Failure::Usage(text.to_owned()));
    }
    let plans = all
        .iter()
        .map(|combination| learn(&args.learn, combination));
    let plans: Vec<LearnOptions> = plans.collect::<Result<_, _>>()?;
    fs::create_dir_all(&args.runs).map_err(|error| failed(&args.runs, &error))?;
    let mut table = Table {
        keys: args.over.iter().map(|axis| axis.key.clone()).collect(),
        rows: Vec::new(),
    };
    let stop = stop_on_interrupt(STOPPING)?;
    for (place, (combination, plan)) in all.iter().zip(&plans).enumerate() {
        let folder = args.runs.join(name(combination));
        if !args.json {
            out!("{} of {}: {}", place + 1, all.len(), name(combination));
        }
        let read = || Summary::read(&RunFolder::open(&folder).ok()?);
        let summary = match begin_or_resume(plan, &folder, &stop, args.json) {
            // That a combination does not learn is what the table is to show.
            Err(Failure::Train(TrainError::TooManySkipped { .. })) => read().ok_or_else(|| {
                Failure::Other(format!("{}: the run left no summary", folder.display()))
            })?,
            other => other?,
        };
        table.rows.push(Row {
            settings: combination.iter().cloned().collect(),
            run: folder,
            ending: summary.ending,
            iterations: summary.iterations,
            test_mse: summary.evaluation.as_ref().and_then(|last| last.test_mse),
            seconds: summary.seconds,
        });
        table.write(&args.runs)?;
        if summary.ending == Ending::Stopped {
            err!("stopped; the same command goes on");
            return Ok(Exit::Interrupted);
        }
    }
    if args.json {
        out!("{}", to_json(&table)?);
    } else {
        out!("{}", table.markdown());
        out!(
            "table and plot: {}/sweep.{{json,md,svg}}",
            args.runs.display()
        );
    }
    Ok(Exit::Done)
}

/// The options with a combination's settings on top.
fn learn(base: &LearnOptions, combination: &Combination) -> Result<LearnOptions, Failure> {
    let mut learn = base.clone();
    for (key, value) in combination {
        if key == PRESET {
            let preset = value.parse();
            let wrong = |error: ConfigError| Failure::Usage(format!("--over {PRESET}: {error}"));
            learn.preset = Some(preset.map_err(wrong)?);
        } else {
            learn.set.push(format!("{key}={value}"));
        }
    }
    // A slip is told before the first run, not at the last.
    learn.check()?;
    Ok(learn)
}

fn failed(path: &Path, error: &dyn std::error::Error) -> Failure {
    Failure::Other(format!("{}: {error}", path.display()))
}

impl Table {
    fn write(&self, runs: &Path) -> Result<(), Failure> {
        let write = |name: &str, text: &str| {
            let path = runs.join(name);
            fs::write(&path, text).map_err(|error| failed(&path, &error))
        };
        write("sweep.json", &to_json(self)?)?;
        write("sweep.md", &self.markdown())?;
        if self.rows.iter().any(|row| row.test_mse.is_some()) {
            self.plot().write_svg(runs.join("sweep.svg"))?;
        }
        Ok(())
    }

    fn markdown(&self) -> String {
        let keys = self.keys.join(" | ");
        let lines = "---|".repeat(self.keys.len() + 3);
        let mut text = format!("| {keys} | test MSE | iterations | seconds |\n|{lines}\n");
        for row in &self.rows {
            let values = self.keys.iter().map(|key| row.value(key));
            let mse = row
                .test_mse
                .map_or("-".to_owned(), |mse| format!("{mse:.5}"));
            let ending = match row.ending {
                Ending::Finished => "",
                Ending::Stopped => " (stopped)",
                Ending::Diverged => " (diverged)",
            };
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "| {} | {mse} | {}{ending} | {:.0} |",
                values.collect::<Vec<_>>().join(" | "),
                row.iterations,
                row.seconds
            );
        }
        text
    }

    /// Error and time against the first setting whose values are numbers, a line for each
    /// combination of the others.
    fn plot(&self) -> Plot {
        let numeric = |key: &&String| self.rows.iter().all(|row| row.number(key).is_some());
        let along = self.keys.iter().find(numeric);
        let panel = |y: &str, value: &dyn Fn(&Row) -> f64| {
            let mut lines: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
            for (place, row) in self.rows.iter().enumerate() {
                let others = self.keys.iter().filter(|key| Some(*key) != along);
                let others = others.map(|key| format!("{key} = {}", row.value(key)));
                let x = along
                    .and_then(|key| row.number(key))
                    .unwrap_or(place as f64 + 1.0);
                // Without a number to go along, one line joins all runs in the order of the table.
                let name = match along {
                    Some(_) => others.collect::<Vec<_>>().join(", "),
                    None => String::new(),
                };
                lines.entry(name).or_default().push((x, value(row)));
            }
            let line = |(name, mut points): (String, Vec<(f64, f64)>)| {
                points.sort_by(|a, b| a.0.total_cmp(&b.0));
                Series { name, points }
            };
            Panel {
                title: format!("{y} of {} runs", self.rows.len()),
                x: along.map_or("run".to_owned(), Clone::clone),
                y: y.to_owned(),
                series: lines.into_iter().map(line).collect(),
                ..Panel::default()
            }
        };
        let mse = panel("test MSE", &|row| row.test_mse.unwrap_or(f64::NAN));
        Plot {
            panels: vec![mse, panel("seconds", &|row| row.seconds)],
        }
    }
}

impl Row {
    fn value(&self, key: &str) -> &str {
        self.settings.get(key).map_or("", String::as_str)
    }

    fn number(&self, key: &str) -> Option<f64> {
        self.value(key).parse().ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_crossed_in_their_order() {
        let axes = ["langevin.steps=5, 10", "generator.latents=[3,5],[4]"];
        let axes: Vec<Axis> = axes.iter().map(|axis| axis.parse().unwrap()).collect();
        assert_eq!(axes[1].values, ["[3,5]", "[4]"]);
        let names: Vec<String> = combinations(&axes).iter().map(name).collect();
        assert_eq!(
            names,
            [
                "langevin.steps=5,generator.latents=-3-5-",
                "langevin.steps=5,generator.latents=-4-",
                "langevin.steps=10,generator.latents=-3-5-",
                "langevin.steps=10,generator.latents=-4-",
            ]
        );
        for wrong in ["langevin.steps", "=3", "sigma=0.1,"] {
            assert!(wrong.parse::<Axis>().is_err(), "{wrong}");
        }
    }
}
