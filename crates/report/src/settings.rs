//! Every setting of a run.

use toml::{Table as Settings, Value};

use crate::{Section, Table};

/// The settings in the text of a `config.toml`, as one list of keys.
pub fn settings(config: &str) -> Section {
    let section = Section::new("configuration", "Configuration");
    let mut rows = Vec::new();
    match config.parse::<Settings>() {
        Ok(settings) => flatten("", &settings, &mut rows),
        Err(error) => return section.note(format!("config.toml cannot be read: {error}")),
    }
    section
        .text("config.toml; `--set KEY=VALUE` of `shortrun train` takes the same keys.")
        .table(&Table::facts(rows))
}

fn flatten(parent: &str, settings: &Settings, rows: &mut Vec<(String, String)>) {
    for (name, value) in settings {
        let key = format!("{parent}{name}");
        match value {
            Value::Table(settings) => flatten(&format!("{key}."), settings, rows),
            Value::String(text) => rows.push((key, text.clone())),
            Value::Float(value) => rows.push((key, float(*value))),
            value => rows.push((key, value.to_string())),
        }
    }
}

/// A number in full; one of single precision with the figures that it has.
fn float(value: f64) -> String {
    let single = value as f32;
    match (f64::from(single) == value, value.abs() < 1e-3) {
        (true, true) => format!("{single:e}"),
        (true, false) => single.to_string(),
        (false, true) => format!("{value:e}"),
        (false, false) => value.to_string(),
    }
}
