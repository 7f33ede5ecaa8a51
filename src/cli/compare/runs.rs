//! The runs of a comparison: trained and looked at by this program in processes of their own.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering},
};

use serde_json::Value;
use shortrun_baselines::MethodName;
use shortrun_data::Split;
use shortrun_train::{Ending, Evaluated, RunFolder, Summary};

use super::{CompareArgs, budget::Budget};
use crate::cli::{Exit, Failure, train::LearnOptions};

/// What the commands found out about a run, but for those that failed.
#[derive(Clone, Debug)]
pub(super) struct LookedAt {
    pub(super) method: MethodName,
    pub(super) reconstruct: Option<Value>,
    pub(super) fid: Option<Value>,
    pub(super) likelihood: Option<Value>,
    /// The commands that failed.
    pub(super) failed: Vec<&'static str>,
}

impl CompareArgs {
    pub(super) fn run_of(&self, method: MethodName) -> PathBuf {
        self.runs.join(method.name())
    }

    /// What a method is trained with.
    pub(super) fn learning(&self, method: MethodName) -> LearnOptions {
        let own = self.method_set.iter().filter(|(of, _)| *of == method);
        let mut learn = self.learn.by(method);
        learn.set.extend(own.map(|(_, setting)| setting.clone()));
        learn
    }

    /// Whether the images can be told apart by features: by Inception's, by those of a classifier that is
    /// given, or of one that is trained on their labels. `None` if the images are not there yet.
    pub(super) fn has_extractor(&self) -> Result<Option<bool>, Failure> {
        if self.weights.is_some() || self.classifier.is_some() {
            return Ok(Some(true));
        }
        let spec = self.learn.data()?.spec()?;
        let first = spec.load_split(Split::Test, Some(1)).ok();
        Ok(first.map(|first| first.images.labels().is_some()))
    }

    /// Trains one method in a process of its own, so that its memory can be told.
    pub(super) fn train(&self, method: MethodName) -> Result<Ending, Failure> {
        let folder = self.run_of(method);
        let mut flags = self.learning(method).arguments();
        flags.extend(self.budget.flags().into_iter().map(OsString::from));
        let mut wanted = arguments("train", &folder, &flags);
        if let Ok(opened) = RunFolder::open(&folder) {
            let before = last_arguments(&opened);
            self.refuse_another_run(&folder, before.as_deref(), &wanted)?;
            match Summary::read(&opened) {
                Some(summary)
                    if summary.ending != Ending::Stopped && before.as_ref() == Some(&wanted) =>
                {
                    return Ok(summary.ending);
                }
                _ => wanted.push("--resume".into()),
            }
        }
        if self.json {
            wanted.push("--json".into());
        }
        let mut train = self.command("train", &folder, &wanted)?;
        let status = train.stdout(Stdio::null()).status();
        let status = status.map_err(|e| Failure::Other(format!("cannot start train: {e}")))?;
        match status.code() {
            Some(0) => Ok(Ending::Finished),
            // That a method does not learn is what the table is to show.
            Some(code) if code == i32::from(Exit::Diverged.code()) => Ok(Ending::Diverged),
            Some(code) if code == i32::from(Exit::Interrupted.code()) => Ok(Ending::Stopped),
            _ => Err(failed("train", &folder, status)),
        }
    }

    /// Asks everything about a trained run, until `stop` is set. A command that fails says why, and leaves
    /// a gap: it is no reason to lose what is known of the others.
    pub(super) fn look_at(
        &self,
        method: MethodName,
        distances: bool,
        stop: &AtomicBool,
    ) -> Result<LookedAt, Failure> {
        let run = self.run_of(method);
        let mut failed = Vec::new();
        let mut ask = |command: &'static str, more: Vec<(&str, String)>| {
            let more = more
                .into_iter()
                .flat_map(|(flag, value)| [flag.into(), value.into()]);
            let flags: Vec<OsString> = self
                .learn
                .backend_arguments()
                .into_iter()
                .chain(more)
                .collect();
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let found = self.ask(command, &run, &flags)?;
            if found.is_none() {
                failed.push(command);
            }
            Ok::<_, Failure>(found)
        };
        let reconstruct = ask("reconstruct", vec![("--count", self.count.to_string())])?;
        let fid = match distances {
            true => ask("fid", self.fid_flags())?,
            false => None,
        };
        let likelihood = match self.likelihood > 0 && method.has_standard_prior() {
            true => ask(
                "likelihood",
                vec![
                    ("--count", self.likelihood.to_string()),
                    ("--temperatures", self.temperatures.to_string()),
                    ("--simulated", "0".to_owned()),
                ],
            )?,
            false => None,
        };
        Ok(LookedAt {
            method,
            reconstruct,
            fid,
            likelihood,
            failed,
        })
    }

    fn fid_flags(&self) -> Vec<(&'static str, String)> {
        let mut flags = vec![
            ("--samples", self.samples.to_string()),
            ("--neighbours", "0".to_owned()),
        ];
        match &self.weights {
            Some(weights) => flags.push(("--weights", weights.display().to_string())),
            None => {
                let usual = || self.runs.join("classifier.safetensors");
                let file = self.classifier.clone().unwrap_or_else(usual);
                flags.push(("--features", "classifier".to_owned()));
                flags.push(("--classifier-updates", self.classifier_updates.to_string()));
                flags.push(("--classifier", file.display().to_string()));
            }
        }
        flags.extend(self.reference.map(|count| ("--count", count.to_string())));
        flags
    }

    /// What a command finds out about a run; if it was asked the same about the same checkpoint
    /// before, what it said then. `None` if it failed.
    fn ask(&self, command: &str, run: &Path, flags: &[OsString]) -> Result<Option<Value>, Failure> {
        let mut asked = arguments(command, run, flags);
        asked.push("--json".into());
        let known = || {
            let folder = RunFolder::open(run).ok()?;
            let checkpoint = Summary::read(&folder)?.iterations;
            let mut kept = folder.evaluated().into_iter();
            let (_, found) = kept.find(|(name, _)| name == command)?;
            let Evaluated {
                invocation, report, ..
            } = found.ok()?;
            let before = invocation.arguments.iter().skip(1).map(OsString::from);
            let same = before.eq(asked.iter().cloned()) && report["checkpoint"] == checkpoint;
            same.then_some(report)
        };
        if let Some(report) = known() {
            return Ok(Some(report));
        }
        let output = self.command(command, run, &asked)?.output();
        let output = output.map_err(|e| Failure::Other(format!("cannot start {command}: {e}")))?;
        Ok(serde_json::from_slice(&output.stdout).ok())
    }

    /// A command of this program on a run.
    fn command(
        &self,
        command: &str,
        run: &Path,
        arguments: &[OsString],
    ) -> Result<Command, Failure> {
        let program = std::env::current_exe().map_err(|e| Failure::Other(e.to_string()))?;
        if !self.json {
            err!("{command} {}", run.display());
        }
        let mut process = Command::new(program);
        process.args(arguments).stderr(Stdio::inherit());
        Ok(process)
    }

    /// A larger budget of the same kind, or data that moved, is the same comparison; any other setting
    /// is not.
    fn refuse_another_run(
        &self,
        folder: &Path,
        before: Option<&[OsString]>,
        wanted: &[OsString],
    ) -> Result<(), Failure> {
        let Some(before) = before else { return Ok(()) };
        let folder = folder.display();
        let (then, now) = (fixed(before), fixed(wanted));
        if then != now {
            return Err(Failure::Other(format!(
                "{folder}: this run was trained with other settings; give another --runs folder\n  then: \
                 {then}\n  now:  {now}"
            )));
        }
        match Budget::of(before) {
            Some(before) if !self.budget.goes_on_from(before) => Err(Failure::Other(format!(
                "{folder}: this run was given {}, and goes on with no less of the same kind, not with \
                 {}; give another --runs folder",
                before.words(),
                self.budget.words()
            ))),
            _ => Ok(()),
        }
    }
}

fn failed(command: &str, run: &Path, status: ExitStatus) -> Failure {
    let run = run.display();
    Failure::Other(format!(
        "{command} --run {run} failed ({status}); it says why above"
    ))
}

/// The arguments that a run was last trained by, resumed or not.
fn last_arguments(folder: &RunFolder) -> Option<Vec<OsString>> {
    let last = folder.invocations().pop()?;
    let given = last.arguments.into_iter().skip(1);
    Some(
        given
            .filter(|given| given != "--resume" && given != "--json")
            .map(OsString::from)
            .collect(),
    )
}

/// Those that another session of the same run must have as well.
fn fixed(arguments: &[OsString]) -> String {
    let mut arguments = arguments.iter();
    let mut kept = Vec::new();
    while let Some(argument) = arguments.next() {
        if ["--steps", "--minutes", "--data-dir"]
            .iter()
            .any(|free| argument == free)
        {
            arguments.next();
        } else {
            kept.push(argument.to_string_lossy().into_owned());
        }
    }
    kept.join(" ")
}

/// The arguments of a command of this program about a run.
fn arguments(command: &str, run: &Path, flags: &[OsString]) -> Vec<OsString> {
    let named = [command.into(), "--run".into(), run.into()];
    named.into_iter().chain(flags.iter().cloned()).collect()
}
