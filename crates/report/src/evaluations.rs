//! What other commands found out about a run.

use std::path::Path;

use maud::html;
use shortrun_train::{Evaluated, RunFolder};

use crate::{Picture, Section, commands::called, table::json};

/// The last result of every command that was asked about this run.
pub fn evaluations(folder: &RunFolder) -> Section {
    let mut section = Section::new("evaluations", "Evaluations");
    let found = folder.evaluated();
    if found.is_empty() {
        return section.text(
            "None yet. What `shortrun reconstruct`, `inpaint`, `step-size` and the like find out \
             about a run is kept in its folder and shown here.",
        );
    }
    for (name, result) in found {
        section = section.heading(&name);
        section = shown(section, folder, &name, &result);
    }
    section
}

/// What one command found out, with its pictures.
fn shown(
    section: Section,
    folder: &RunFolder,
    name: &str,
    result: &Result<Evaluated, String>,
) -> Section {
    let found = match result {
        Ok(found) => found,
        Err(reason) => return section.note(format!("evaluations/{name}.json: {reason}")),
    };
    let section = section.add(called(&found.invocation)).add(html! {
        details { summary { "Result" } (json(&found.report)) }
    });
    let files = found.pictures.iter().map(|name| folder.path().join(name));
    let (mut pictures, mut section) = (Vec::new(), section);
    for file in files.filter(|file| inside(folder.path(), file)) {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        match Picture::file(&file, name.as_ref()) {
            Ok(picture) => pictures.push(picture),
            Err(error) => section = section.note(error),
        }
    }
    section.pictures(&pictures)
}

/// Whether a file lies in the folder: no other is put in a page that is passed on.
fn inside(folder: &Path, file: &Path) -> bool {
    match (folder.canonicalize(), file.canonicalize()) {
        (Ok(folder), Ok(file)) => file.starts_with(folder),
        _ => false,
    }
}
