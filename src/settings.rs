//! Settings by their keys: laid over one another (a preset's, a file's, `--set`, flags), and compared.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use shortrun_baselines::{MethodConfig, MethodName};
use shortrun_model::GeneratorConfig;
use shortrun_train::TrainConfig;
use toml::{Table, Value};

use crate::run_config::{DATA, DataConfig, GENERATOR, METHOD, RunConfigError};

/// Parts of a key at most, one in another: no setting lies as deep.
const MOST_PARTS: usize = 8;

/// Settings as written by a user, before they are known to make sense: later ones win.
#[derive(Clone, Debug, Default)]
pub struct Layers(Table);

impl Layers {
    /// Lays the text of a configuration file on top.
    ///
    /// # Errors
    /// If it is not TOML.
    pub fn file(&mut self, place: &str, text: &str) -> Result<(), RunConfigError> {
        let table = text.parse::<Table>().map_err(|e| RunConfigError::Syntax {
            place: place.to_owned(),
            reason: e.to_string(),
        })?;
        merge(&mut self.0, table);
        Ok(())
    }

    /// Lays `key=value` on top; dots lead into tables, and a value that is not TOML is text.
    ///
    /// # Errors
    /// If there is no `=`, or a part of the key is empty, or it has too many.
    pub fn set(&mut self, assignment: &str) -> Result<(), RunConfigError> {
        let unclear = || RunConfigError::Set(assignment.to_owned());
        let (key, value) = assignment.split_once('=').ok_or_else(unclear)?;
        let value = parse_value(value.trim());
        let mut parts = key.split('.');
        if parts.clone().count() > MOST_PARTS || parts.any(|part| part.trim().is_empty()) {
            return Err(unclear());
        }
        self.put(key, value);
        Ok(())
    }

    /// Lays a value on top; dots in the key lead into tables.
    pub fn put(&mut self, key: &str, value: impl Into<Value>) {
        let path = key.split('.').rev().map(str::trim);
        let value = path.fold(value.into(), |inner, name| {
            Value::Table(Table::from_iter([(name.to_owned(), inner)]))
        });
        if let Value::Table(table) = value {
            merge(&mut self.0, table);
        }
    }

    /// The data settings, on top of `base`.
    ///
    /// # Errors
    /// If a key does not exist or a value has another type.
    pub fn data(&self, base: &DataConfig) -> Result<DataConfig, RunConfigError> {
        overlay(base, self.table(DATA)?, DATA)
    }

    /// The generator settings, on top of `base`.
    ///
    /// # Errors
    /// If a key does not exist or a value has another type, or the generator cannot be built.
    pub fn generator(&self, base: &GeneratorConfig) -> Result<GeneratorConfig, RunConfigError> {
        let config: GeneratorConfig = overlay(base, self.table(GENERATOR)?, GENERATOR)?;
        config.check()?;
        Ok(config)
    }

    /// The method that is named, if one is.
    ///
    /// # Errors
    /// If there is no such method.
    pub fn method_name(&self) -> Result<Option<MethodName>, RunConfigError> {
        let name = match self.table(METHOD)?.remove("name") {
            None => return Ok(None),
            Some(Value::String(name)) => name,
            Some(other) => other.to_string(),
        };
        let found = MethodName::ALL.into_iter().find(|m| m.name() == name);
        let all = || MethodName::ALL.map(MethodName::name).join(", ");
        match found {
            Some(method) => Ok(Some(method)),
            None => Err(RunConfigError::Key(format!(
                "settings: there is no method {name}; there are {}",
                all()
            ))),
        }
    }

    /// The method's settings, on top of `base`.
    ///
    /// # Errors
    /// If a key does not exist or a value has another type.
    pub fn method(&self, base: &MethodConfig) -> Result<MethodConfig, RunConfigError> {
        overlay(base, self.table(METHOD)?, METHOD)
    }

    /// The training settings, on top of `base`.
    ///
    /// # Errors
    /// If a key does not exist or a value has another type, or a setting makes no sense.
    pub fn training(&self, base: &TrainConfig) -> Result<TrainConfig, RunConfigError> {
        let mut table = self.0.clone();
        table.remove(DATA);
        table.remove(GENERATOR);
        table.remove(METHOD);
        let config: TrainConfig = overlay(base, table, "")?;
        config.check()?;
        Ok(config)
    }

    fn table(&self, name: &str) -> Result<Table, RunConfigError> {
        match self.0.get(name) {
            None => Ok(Table::new()),
            Some(Value::Table(table)) => Ok(table.clone()),
            Some(other) => Err(RunConfigError::Key(format!(
                "{name} must be a table of settings; found {other}"
            ))),
        }
    }
}

/// `value` as TOML where it is, and as text where it is not.
fn parse_value(value: &str) -> Value {
    format!("value = {value}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(value.to_owned()))
}

fn merge(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) if !is_choice(&key, &above) => {
                merge(below, above);
            }
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

/// Tables whose keys are alternatives: setting one replaces the whole. (`[step_size]` at the top, how
/// the step is tuned, is none of them.)
fn is_choice(key: &str, above: &Table) -> bool {
    let is_a_size = || {
        ["eta", "drift", "layers"]
            .iter()
            .any(|name| above.contains_key(*name))
    };
    key == "head_width" || (key == "step_size" && is_a_size())
}

/// What the TOML reader says, on one line, with the whole key, and how to write what it could not
/// match.
fn in_words(error: &str, place: &str) -> String {
    let mut error = error.trim().replace('\n', " ");
    if !place.is_empty() {
        error = match error.split_once("in `") {
            Some((said, key)) => format!("{said}in `{place}.{key}"),
            None => format!("{error} in `{place}`"),
        };
    }
    for (name, how) in [
        (
            "LearningRate",
            "write a rate, such as 1e-4, or pieces, such as [[0, 1e-4], [1000, 5e-5]]",
        ),
        (
            "Sigma",
            "write a number, such as 0.15, or { start = 0.3, end = 0.15, iterations = 1000 }",
        ),
        (
            "StepSizes",
            "write { eta = 0.05 } (noise eta, drift eta^2/2) or { drift = 0.00125 }, at least 0, \
             or a list of one for each step",
        ),
    ] {
        let unmatched = format!("data did not match any variant of untagged enum {name}");
        error = error.replace(&unmatched, how);
    }
    format!("settings: {error}")
}

/// The assignment that gives a setting the value it has in `config`; dots in the key lead into tables.
pub fn assignment<T: Serialize>(config: &T, key: &str) -> Option<String> {
    let whole = Value::try_from(config).ok()?;
    let value = key.split('.').try_fold(&whole, |at, name| at.get(name))?;
    Some(format!("{key}={value}"))
}

/// The keys whose values differ, with both: "generator.features is 16, not 8".
pub fn difference<T: Serialize>(place: &str, stored: &T, asked: &T) -> Option<String> {
    let flat = |config: &T| {
        let mut values = BTreeMap::new();
        flatten(place, &Value::try_from(config).ok()?, &mut values);
        Some(values)
    };
    let (stored, asked) = (flat(stored)?, flat(asked)?);
    let keys: BTreeSet<&String> = stored.keys().chain(asked.keys()).collect();
    let shown = |value: Option<&String>| value.map_or("not set", String::as_str).to_owned();
    let differences: Vec<String> = keys
        .into_iter()
        .filter(|key| stored.get(*key) != asked.get(*key))
        .map(|key| {
            let (stored, asked) = (shown(stored.get(key)), shown(asked.get(key)));
            format!("{key} is {stored}, not {asked}")
        })
        .collect();
    (!differences.is_empty()).then(|| differences.join("; "))
}

fn flatten(place: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                flatten(&format!("{place}.{key}"), value, into);
            }
        }
        other => {
            into.insert(place.to_owned(), other.to_string());
        }
    }
}

fn overlay<T>(base: &T, above: Table, place: &str) -> Result<T, RunConfigError>
where
    T: Serialize + for<'a> Deserialize<'a>,
{
    let wrong = |error: String| RunConfigError::Key(in_words(&error, place));
    let mut table = Table::try_from(base).map_err(|e| wrong(e.to_string()))?;
    merge(&mut table, above);
    table
        .try_into()
        .map_err(|e: toml::de::Error| wrong(e.to_string()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use shortrun_model::{Precision, Preset};
    use shortrun_train::{LearningRate, Sigma};

    #[test]
    fn what_defines_a_method_can_be_assigned() {
        let usual = crate::run_config::training_of(Preset::Released);
        for method in MethodName::ALL {
            let (mut layers, own) = (Layers::default(), method.training(&usual));
            let mut found = usual.clone();
            for key in method.defined_by() {
                layers.set(&assignment(&own, key).unwrap()).unwrap();
                found = layers.training(&usual).unwrap();
            }
            found.learning_rate = own.learning_rate.clone();
            assert_eq!(found, own, "{}", method.name());
        }
    }

    #[test]
    fn settings_reach_their_places() {
        let mut layers = Layers::default();
        for set in [
            "batch_size=7",
            "precision=f32",
            "checkpoint.every=3",
            "langevin.steps=4",
            "sigma=0.2",
            "learning_rate=2e-4",
            "langevin.step_size.drift=0.005",
            "step_size.every=50",
            "step_size.per=layer",
            "step_size.adam.beta1=0.5",
            "step_size.adam.learning_rate=0.2",
            "generator.features=32",
            "generator.head_width=latent",
            "data.source=mnist",
        ] {
            layers.set(set).unwrap();
        }
        let training = layers.training(&TrainConfig::default()).unwrap();
        assert_eq!(training.batch_size, 7);
        assert_eq!(training.precision, Some(Precision::F32));
        assert_eq!(training.checkpoint.every, 3);
        assert_eq!(training.langevin.steps, 4);
        assert_eq!(training.sigma, Sigma::Constant(0.2));
        assert_eq!(training.learning_rate, LearningRate::Constant(2e-4));
        let step = training.langevin.step_size.sizes()[0];
        assert!((step.eta() - 0.1).abs() < 1e-12);
        let tuning = &training.step_size;
        assert_eq!((tuning.every, tuning.per.name()), (50, "layer"));
        assert_eq!((tuning.adam.beta1, tuning.adam.learning_rate), (0.5, 0.2));
        let generator = Preset::Table4.config(32, 3).unwrap();
        assert_eq!(layers.generator(&generator).unwrap().features, 32);
        let data = DataConfig {
            source: "svhn".to_owned(),
            dir: None,
            size: 32,
            channels: None,
        };
        assert_eq!(layers.data(&data).unwrap().source, "mnist");
    }

    #[test]
    fn wrong_settings_are_named() {
        let refuse = |set: &str, expected: &str| {
            let mut layers = Layers::default();
            layers.set(set).unwrap();
            let error = layers.training(&TrainConfig::default()).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        };
        refuse("batchsize=7", "batchsize");
        refuse("batch_size=0", "batch_size");
        refuse("precision=f64", "precision");
        refuse("batch_size=many", "batch_size");
        refuse("langevin.step_size=0.05", "step_size");
        refuse("sigma=-1", "sigma");
        assert!(Layers::default().set("batch_size").is_err());
        let deep = |parts: usize| format!("{}=1", vec!["a"; parts].join("."));
        assert!(Layers::default().set(&deep(MOST_PARTS)).is_ok());
        for parts in [MOST_PARTS + 1, 60_000] {
            assert!(Layers::default().set(&deep(parts)).is_err());
        }
    }
}
