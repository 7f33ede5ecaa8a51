//! The command lines that trained a run, and the versions they were of.

use maud::{Markup, html};
use shortrun_train::Invocation;

use crate::{Section, Table, number::time};

/// What trained the run, and what made the page.
pub fn commands(trained: &[Invocation], page: &Invocation) -> Section {
    let section = Section::new("commands", "Command lines and versions");
    let mut section = if trained.is_empty() {
        section.note("The program that trained this run kept no record of its command line.")
    } else {
        section.text("What trained it:")
    };
    for command in trained {
        section = section.add(called(command));
    }
    section
        .text("What made this page:")
        .add(called(page))
        .table(&Table::facts([
            ("shortrun", page.version.as_str()),
            ("Burn", page.burn.as_str()),
            ("backend", page.backend.as_str()),
            ("host", page.host.as_str()),
        ]))
}

/// A command line as a shell takes it, and under which circumstances.
pub(crate) fn called(command: &Invocation) -> Markup {
    let arguments = command.arguments.iter().map(String::as_str);
    // Only a zero byte cannot be quoted, and no argument has one.
    let line = shlex::try_join(arguments.clone())
        .unwrap_or_else(|_| arguments.collect::<Vec<_>>().join(" "));
    html! {
        pre { code { (line) } }
        p.dim {
            (time(command.unix_seconds)) ", at iteration " (command.iteration) "; shortrun "
            (command.version) ", Burn " (command.burn) ", " (command.backend) " on " (command.host)
        }
    }
}
