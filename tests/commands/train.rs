use std::fs;

use crate::{common::*, number};

#[test]
fn a_run_leaves_what_it_promises() {
    let folder = workplace();
    let summary = json(
        folder.path(),
        &tiny(&["--run", "run", "--steps", "6", "--json"]),
    );
    assert_eq!(summary["ending"], "finished");
    assert_eq!(summary["iterations"], 6);
    assert!(number(&summary["evaluation"]["test_mse"]) > 0.0);
    let run = folder.path().join("run");
    for file in [
        "config.toml",
        "metrics.jsonl",
        "summary.json",
        "checkpoints/step-00000006/checksums.json",
        "samples/step-00000006.png",
        "reconstructions/step-00000004.png",
    ] {
        assert!(run.join(file).is_file(), "{file}");
    }
    let kinds: Vec<String> = metrics(&run)
        .iter()
        .map(|line| {
            format!(
                "{}{}",
                &line["kind"].as_str().unwrap()[..1],
                line["iteration"]
            )
        })
        .collect();
    assert_eq!(kinds, ["t1", "t2", "t3", "t4", "e4", "t5", "t6", "e6"]);

    let info = json(folder.path(), &["info", "--run", "run", "--json"]);
    assert_eq!(info["state"]["iteration"], 6);
    assert_eq!(info["generator"]["features"], 4);
    assert_eq!(info["last_evaluation"]["iteration"], 6);
    let words = done(folder.path(), &["info", "--run", "run"]);
    assert!(words.contains("6 iterations done"), "{words}");
    for preset in ["quick", "l1", "table4", "released"] {
        assert!(done(folder.path(), &["info", "--preset", preset]).contains("generator: L = "));
    }
}

#[test]
fn plain_progress_goes_to_standard_error() {
    let folder = workplace();
    let output = output(folder.path(), &tiny(&["--run", "run", "--steps", "4"]));
    let [said, progress] = [output.stdout, output.stderr].map(|b| String::from_utf8(b).unwrap());
    assert!(said.starts_with("data: tiny.npy"), "{said}");
    assert!(
        said.contains("pictures: run/reconstructions, run/samples"),
        "{said}"
    );
    assert!(
        progress.contains("/4 ") && progress.contains("test MSE"),
        "{progress}"
    );
    assert!(!progress.contains('\r'), "{progress}");
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let folder = workplace();
    for run in ["a", "b"] {
        done(folder.path(), &tiny(&["--run", run, "--steps", "6"]));
    }
    let read = |run: &str, file: &str| fs::read(folder.path().join(run).join(file)).unwrap();
    for file in [
        "config.toml",
        "checkpoints/step-00000006/state.json",
        "samples/step-00000006.png",
        "reconstructions/step-00000006.png",
    ] {
        assert_eq!(read("a", file), read("b", file), "{file}");
    }
    assert!(weights(folder.path(), "a") == weights(folder.path(), "b"));
    let metrics = |run: &str| metrics(&folder.path().join(run));
    assert_eq!(metrics("a"), metrics("b"));
}
