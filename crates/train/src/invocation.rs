//! How a run came about: the command lines that trained it, and what others found out about it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    RunFolder, TrainError,
    error::at,
    folder::{whole_lines, write_atomically},
};

/// How a program was called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invocation {
    /// The program and its arguments.
    pub arguments: Vec<String>,
    /// Iterations the run had done by then.
    pub iteration: u64,
    /// Version of the program.
    pub version: String,
    /// Version of Burn.
    pub burn: String,
    /// What it computed on, as Burn names it.
    pub backend: String,
    /// Operating system and processor.
    pub host: String,
    /// When, in seconds since 1970 (UTC).
    pub unix_seconds: u64,
}

/// One file of `evaluations/`: what a command found out about a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluated {
    /// How it was called.
    pub invocation: Invocation,
    /// What it printed with `--json`.
    pub report: Value,
    /// The pictures it made in the run folder, relative to that.
    pub pictures: Vec<PathBuf>,
}

impl Evaluated {
    /// A result about the run in `folder`; its pictures are the PNG files in the folder that it names.
    pub fn new(folder: &RunFolder, invocation: Invocation, report: Value) -> Self {
        let mut named = Vec::new();
        pictures(&report, &mut named);
        let root = folder.path().canonicalize();
        let relative = |file: &str| {
            let file = Path::new(file).canonicalize().ok()?;
            Some(file.strip_prefix(root.as_ref().ok()?).ok()?.to_owned())
        };
        Self {
            pictures: named.into_iter().filter_map(relative).collect(),
            invocation,
            report,
        }
    }
}

/// Names of PNG files anywhere in a result.
fn pictures<'a>(value: &'a Value, named: &mut Vec<&'a str>) {
    match value {
        Value::String(text) if text.ends_with(".png") => named.push(text),
        Value::Array(items) => items.iter().for_each(|item| pictures(item, named)),
        Value::Object(fields) => fields.values().for_each(|value| pictures(value, named)),
        _ => {}
    }
}

impl Invocation {
    /// This process, now.
    pub fn now(iteration: u64, version: &str, burn: &str, backend: String) -> Self {
        let arguments = std::env::args_os();
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            arguments: arguments
                .map(|a| a.to_string_lossy().into_owned())
                .collect(),
            iteration,
            version: version.to_owned(),
            burn: burn.to_owned(),
            backend,
            host: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            unix_seconds: since.map_or(0, |since| since.as_secs()),
        }
    }
}

impl RunFolder {
    /// The command lines that trained the run, the first one first; none if it was made by a program
    /// that keeps no record.
    pub fn invocations(&self) -> Vec<Invocation> {
        let lines = whole_lines(&self.commands()).unwrap_or_default();
        lines.into_iter().map(|(command, _)| command).collect()
    }

    /// Adds a command line to `commands.jsonl`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn record(&self, invocation: &Invocation) -> Result<(), TrainError> {
        let path = self.commands();
        let mut text = String::new();
        for command in self.invocations().iter().chain([invocation]) {
            text += &serde_json::to_string(command).map_err(|e| at(&path)(e.into()))?;
            text.push('\n');
        }
        write_atomically(&path, text.as_bytes())
    }

    /// Keeps what the command called `name` found out, in place of what it found before.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(&self, name: &str, evaluated: &Evaluated) -> Result<(), TrainError> {
        let folder = self.evaluations();
        fs::create_dir_all(&folder).map_err(at(&folder))?;
        let path = folder.join(format!("{name}.json"));
        let json = serde_json::to_vec_pretty(evaluated).map_err(|e| at(&path)(e.into()))?;
        write_atomically(&path, &json)
    }

    /// What commands found out, by their names in order; what cannot be read comes as the reason.
    pub fn evaluated(&self) -> Vec<(String, Result<Evaluated, String>)> {
        let Ok(entries) = fs::read_dir(self.evaluations()) else {
            return Vec::new();
        };
        let files = entries.flatten().map(|entry| entry.path());
        let mut found: Vec<_> = files
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "json")
            })
            .map(|path| {
                let name = path
                    .file_stem()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                let bytes = fs::read(&path).map_err(|error| error.to_string());
                let read = bytes.and_then(|bytes| {
                    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
                });
                (name, read)
            })
            .collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_kept_in_order_and_a_torn_line_is_mended() {
        let path = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(path.path(), "").unwrap();
        assert!(folder.invocations().is_empty());
        let of = |iteration| Invocation::now(iteration, "1", "2", "flex".to_owned());
        folder.record(&of(0)).unwrap();
        let whole = fs::read_to_string(folder.commands()).unwrap();
        fs::write(folder.commands(), format!("{whole}{{\"argum")).unwrap();
        folder.record(&of(7)).unwrap();
        let found: Vec<u64> = folder.invocations().iter().map(|i| i.iteration).collect();
        assert_eq!(found, [0, 7]);
    }

    #[test]
    fn evaluations_come_back_and_a_foreign_file_is_told() {
        let path = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(path.path(), "").unwrap();
        let picture = path.path().join("grid.png");
        fs::write(&picture, "").unwrap();
        let report = serde_json::json!({ "mse": 0.5, "out": [picture, "/no/such.png"] });
        let call = Invocation::now(3, "1", "2", "flex".to_owned());
        let evaluated = Evaluated::new(&folder, call, report);
        assert_eq!(evaluated.pictures, [Path::new("grid.png")]);
        folder.keep("reconstruct", &evaluated).unwrap();
        fs::write(folder.evaluations().join("other.json"), "[1]").unwrap();
        let found = folder.evaluated();
        assert!(found[0].0 == "other" && found[0].1.is_err());
        assert_eq!(found[1], ("reconstruct".to_owned(), Ok(evaluated)));
    }
}
