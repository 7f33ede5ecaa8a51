use std::fs;

use crate::{common::*, number};

#[test]
fn sweep_trains_every_combination_once_and_draws_a_table() {
    let folder = workplace();
    let sweep = |k: &str| {
        let over = [
            "sweep",
            "--runs",
            "runs",
            "--json",
            "--over",
            k,
            "--over",
            "generator.features=2,4",
        ];
        let arguments = [&over[..], &TINY[1..], &["--steps", "2"]].concat();
        json(folder.path(), &arguments)
    };
    let found = sweep("langevin.steps=2");
    let rows = found["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    let runs = folder.path().join("runs");
    let narrow = runs.join("langevin.steps=2,generator.features=2");
    let config = fs::read_to_string(narrow.join("config.toml")).unwrap();
    assert!(config.contains("features = 2") && config.contains("steps = 2"));

    // A longer axis: what is finished is not trained again.
    let kept = kept(&narrow);
    let found = sweep("langevin.steps=2,3");
    assert_eq!(found["rows"].as_array().unwrap().len(), 4);
    assert_eq!(found["rows"][0], rows[0]);
    assert_eq!(kept, crate::common::kept(&narrow));
    for row in found["rows"].as_array().unwrap() {
        assert!(number(&row["test_mse"]) > 0.0 && number(&row["seconds"]) > 0.0);
    }
    let table = fs::read_to_string(runs.join("sweep.md")).unwrap();
    assert_eq!(table.lines().count(), 2 + 4);
    let svg = fs::read_to_string(runs.join("sweep.svg")).unwrap();
    assert!(svg.contains("langevin.steps") && svg.contains("generator.features = 4"));

    // A stopped run is gone on with, to the weights of one that was not stopped.
    let weights = |run: &str| crate::common::weights(folder.path(), run);
    let wide = "runs/langevin.steps=3,generator.features=4";
    let whole = weights(wide);
    fs::remove_dir_all(folder.path().join(wide)).unwrap();
    let half = tiny(&["--run", wide, "--set", "langevin.steps=3", "--steps", "1"]);
    done(folder.path(), &half);
    stop_early(&folder.path().join(wide));
    sweep("langevin.steps=2,3");
    assert_eq!(weights(wide), whole);
}

/// Makes a finished run of one step look like a stopped one of two.
fn stop_early(run: &std::path::Path) {
    for (file, from, to) in [
        ("config.toml", "iterations = 1\n", "iterations = 2\n"),
        ("summary.json", "\"finished\"", "\"stopped\""),
    ] {
        let text = fs::read_to_string(run.join(file)).unwrap();
        assert!(text.contains(from), "{file}");
        fs::write(run.join(file), text.replace(from, to)).unwrap();
    }
}

#[test]
fn a_sweep_with_other_settings_does_not_mix_with_what_is_there() {
    let folder = workplace();
    let sweep = |sigma| {
        let over = [
            "sweep",
            "--runs",
            "runs",
            "--over",
            "langevin.steps=2",
            "--set",
            sigma,
        ];
        [&over[..], &TINY[1..], &["--steps", "1", "--json"]].concat()
    };
    done(folder.path(), &sweep("sigma=0.2"));
    let error = refused(folder.path(), &sweep("sigma=0.3"), 1);
    assert!(error.contains("sigma is 0.2, not 0.3"), "{error}");
}

#[test]
fn axes_without_sense_are_wrong_usage() {
    let folder = workplace();
    for over in ["langevin.steps", "langevin.steps=2,2"] {
        refused(
            folder.path(),
            &["sweep", "--runs", "runs", "--over", over],
            2,
        );
    }
    let error = refused(
        folder.path(),
        &["sweep", "--runs", "runs", "--over", "preset=small"],
        2,
    );
    assert!(error.contains("table4"), "{error}");
}
