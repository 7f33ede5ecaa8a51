//! Runs that are killed or interrupted, and go on.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use common::*;

/// Starts a run and waits until it has logged some lines.
fn begun(folder: &Path, arguments: &[&str], lines: usize) -> Child {
    let mut run = shortrun(folder, arguments);
    let mut run = run
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let log = folder.join("killed/metrics.jsonl");
    while fs::read_to_string(&log).unwrap_or_default().lines().count() < lines {
        assert_eq!(run.try_wait().unwrap(), None, "the run ended too early");
        thread::sleep(Duration::from_millis(2));
    }
    run
}

fn same_end(folder: &Path) {
    assert!(weights(folder, "whole") == weights(folder, "killed"));
    assert_eq!(
        metrics(&folder.join("whole")),
        metrics(&folder.join("killed"))
    );
}

#[test]
fn killed_at_any_moment_a_run_goes_on_as_if_nothing_had_been() {
    let folder = workplace();
    let here = folder.path();
    done(here, &tiny(&["--run", "whole", "--steps", "60"]));
    // Before the first checkpoint, after it, and some lines later.
    let mut run = begun(here, &tiny(&["--run", "killed", "--steps", "60"]), 2);
    run.kill().unwrap();
    run.wait().unwrap();
    for lines in [9, 31] {
        let mut run = begun(here, &["train", "--run", "killed", "--resume"], lines);
        run.kill().unwrap();
        run.wait().unwrap();
    }
    done(here, &["train", "--run", "killed", "--resume"]);
    same_end(here);
}

#[test]
fn a_killed_session_is_not_taken_for_the_one_before() {
    let folder = workplace();
    let here = folder.path();
    done(here, &tiny(&["--run", "killed", "--steps", "5"]));
    let summary = here.join("killed/summary.json");
    assert!(summary.is_file());
    let more = ["train", "--run", "killed", "--resume", "--steps", "100000"];
    let mut run = begun(here, &more, 12);
    run.kill().unwrap();
    run.wait().unwrap();
    assert!(!summary.exists());
}

#[test]
fn an_interrupt_saves_and_says_how_to_go_on() {
    let folder = workplace();
    let here = folder.path();
    let run = begun(here, &tiny(&["--run", "killed", "--steps", "100000"]), 5);
    let interrupt = Command::new("kill")
        .args(["-INT", &run.id().to_string()])
        .status();
    assert!(interrupt.unwrap().success());
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("go on with: shortrun train --run killed --resume"),
        "{said}"
    );
    let info = json(here, &["info", "--run", "killed", "--json"]);
    let steps = (info["state"]["iteration"].as_u64().unwrap() + 3).to_string();
    done(
        here,
        &["train", "--run", "killed", "--resume", "--steps", &steps],
    );
    done(here, &tiny(&["--run", "whole", "--steps", &steps]));
    same_end(here);
}

/// As in a terminal, where the process at work is interrupted too.
#[test]
fn an_interrupted_comparison_says_that_it_goes_on() {
    use std::os::unix::process::CommandExt;
    let folder = workplace();
    let here = folder.path();
    let mut arguments = tiny(&[
        "--runs",
        "runs",
        "--methods",
        "glo,abp",
        "--budget",
        "100000",
    ]);
    arguments[0] = "compare";
    let mut compare = shortrun(here, &arguments);
    let compare = compare.stdout(Stdio::null()).stderr(Stdio::piped());
    let compare = compare.process_group(0).spawn().unwrap();
    let log = here.join("runs/glo/metrics.jsonl");
    while fs::read_to_string(&log).unwrap_or_default().lines().count() < 5 {
        thread::sleep(Duration::from_millis(2));
    }
    let group = format!("-{}", compare.id());
    let interrupt = Command::new("kill").args(["-INT", "--", &group]).status();
    assert!(interrupt.unwrap().success());
    let output = compare.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("stopped; the same command goes on"), "{said}");
    let summary = fs::read_to_string(here.join("runs/glo/summary.json")).unwrap();
    assert!(summary.contains("\"stopped\""), "{summary}");
    assert!(!here.join("runs/abp").exists());
}

#[test]
fn a_reader_that_leaves_does_not_stop_a_run() {
    let folder = workplace();
    let mut run = shortrun(folder.path(), &tiny(&["--run", "run", "--steps", "5"]));
    let mut run = run
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop((run.stdout.take(), run.stderr.take()));
    assert!(run.wait().unwrap().success());
    assert!(folder.path().join("run/summary.json").is_file());
}
