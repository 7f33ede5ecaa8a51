//! The runs of a comparison: trained and looked at by this program in processes of their own.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::de::DeserializeOwned;
use serde_json::Value;
use shortrun_baselines::MethodName;
use shortrun_train::{Ending, Evaluated, RunFolder, Summary};

use super::CompareArgs;
use crate::cli::{Failure, train::LearnOptions};

/// What the commands found out about a run.
pub(super) struct LookedAt {
    pub(super) method: MethodName,
    pub(super) reconstruct: Value,
    pub(super) fid: Value,
    pub(super) likelihood: Option<Value>,
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

    /// Trains one method in a process of its own, so that its memory can be told.
    pub(super) fn train(&self, method: MethodName) -> Result<Ending, Failure> {
        let folder = self.run_of(method);
        let mut flags = self.learning(method).arguments();
        flags.extend(self.budget.flags().into_iter().map(OsString::from));
        if let Ok(opened) = RunFolder::open(&folder) {
            let wanted = arguments("train", &folder, &flags);
            match Summary::read(&opened) {
                Some(summary)
                    if summary.ending != Ending::Stopped
                        && last_arguments(&opened).as_ref() == Some(&wanted) =>
                {
                    return Ok(summary.ending);
                }
                _ => {
                    refuse_other_settings(&opened, &wanted)?;
                    flags.push("--resume".into());
                }
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

    pub(super) fn look_at(&self, method: MethodName) -> Result<LookedAt, Failure> {
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
        let wanted = self.likelihood > 0 && method.has_standard_prior();
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
}

/// The arguments that a run was last trained by, resumed or not.
fn last_arguments(folder: &RunFolder) -> Option<Vec<OsString>> {
    let last = folder.invocations().pop()?;
    let given = last.arguments.into_iter().skip(1);
    Some(
        given
            .filter(|given| given != "--resume")
            .map(OsString::from)
            .collect(),
    )
}

/// A larger budget, or data that moved, is the same comparison; any other setting is not.
fn refuse_other_settings(folder: &RunFolder, wanted: &[OsString]) -> Result<(), Failure> {
    let fixed = |arguments: &[OsString]| {
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
    };
    let Some(before) = last_arguments(folder) else {
        return Ok(());
    };
    let (before, wanted) = (fixed(&before), fixed(wanted));
    if before == wanted {
        return Ok(());
    }
    Err(Failure::Other(format!(
        "{}: this run was trained with other settings; give another --runs folder\n  then: {before}\n  now:  {wanted}",
        folder.path().display()
    )))
}

/// The arguments of a command of this program about a run.
fn arguments(command: &str, run: &Path, flags: &[OsString]) -> Vec<OsString> {
    let named = [command.into(), "--json".into(), "--run".into(), run.into()];
    named.into_iter().chain(flags.iter().cloned()).collect()
}
