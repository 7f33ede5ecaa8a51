use std::fs;

use crate::{common::*, number};

/// The rivals with settings so small that an iteration takes a moment.
const RIVALS: [(&str, &[&str]); 7] = [
    ("vae", &["generator.latents=[4]"]),
    ("ladder-vae", &["method.warm_up=2"]),
    (
        "vae-iaf",
        &["generator.latents=[4]", "method.steps=2", "method.width=8"],
    ),
    ("abp", &["langevin.steps=3"]),
    ("mcmc", &["langevin.steps=4"]),
    ("glo", &["method.search.steps=3"]),
    (
        "glow",
        &["method.levels=2", "method.steps=1", "method.width=4"],
    ),
];

/// Trains a rival into the folder of its name.
fn train(folder: &std::path::Path, method: &str, settings: &[&str], more: &[&str]) {
    let sets = settings.iter().flat_map(|set| ["--set", set]);
    let sets: Vec<&str> = sets.collect();
    let flags = [&["--run", method, "--method", method], more, &sets].concat();
    done(folder, &tiny(&flags));
}

#[test]
fn every_rival_trains_resumes_and_is_looked_at() {
    let folder = workplace();
    let here = folder.path();
    for (method, settings) in RIVALS {
        train(here, method, settings, &["--steps", "2"]);
        let config = fs::read_to_string(here.join(method).join("config.toml")).unwrap();
        assert!(config.contains(&format!("name = \"{method}\"")), "{config}");
        let resumed = ["train", "--run", method, "--resume", "--steps", "4"];
        done(here, &resumed);
        let lines = metrics(&here.join(method));
        let trained = lines.iter().filter(|line| line["kind"] == "train");
        assert_eq!(trained.count(), 4, "{method}");

        let last = lines.last().unwrap();
        assert_eq!(last["kind"], "evaluation");
        assert_eq!(last["test_mse"].is_null(), method == "glow");

        let found = json(
            here,
            &["reconstruct", "--run", method, "--count", "3", "--json"],
        );
        let chains = method == "abp" || method == "mcmc";
        let by = if chains { "chain" } else { method };
        assert_eq!(found["inferred_by"], by);
        assert_eq!(found["steps"].is_null(), !chains, "{found}");
        assert_eq!(found["exact"], method == "glow");
        assert!(number(&found["mse"]) >= 0.0);
        let own = !chains && method != "glo";
        assert_eq!(found["log_density"].is_f64(), own, "{found}");
        done(here, &["sample", "--run", method, "--count", "3"]);
        done(here, &["info", "--run", method]);
        let page = ["report", "--run", method, "--count", "3", "--no-objective"];
        done(here, &page);
        let page = fs::read_to_string(here.join(method).join("report.html")).unwrap();
        assert!(page.contains("Reconstructions") && page.contains(method));
    }
}

#[test]
fn a_chain_infers_latents_of_a_rivals_generator() {
    let folder = workplace();
    let here = folder.path();
    let (method, settings) = RIVALS[1];
    train(here, method, settings, &["--steps", "1"]);
    let chain = ["reconstruct", "--run", method, "--langevin-steps", "5"];
    let found = json(here, &[&chain[..], &["--json"]].concat());
    assert_eq!(found["inferred_by"], "chain");
    assert_eq!(found["steps"], 5);
}

#[test]
fn what_a_method_cannot_do_is_refused() {
    let folder = workplace();
    let here = folder.path();
    let names = |error: &str, parts: &[&str]| {
        for part in parts {
            assert!(error.contains(part), "{error} lacks {part}");
        }
    };
    let error = refused(here, &tiny(&["--run", "run", "--method", "vae"]), 1);
    names(&error, &["generator.latents", "2 layers", "vae", "l1"]);
    let error = refused(
        here,
        &tiny(&["--run", "run", "--set", "method.name=gan"]),
        1,
    );
    names(&error, &["gan", "ladder-vae"]);
    let error = refused(
        here,
        &tiny(&["--run", "run", "--set", "method.warm_up=3"]),
        1,
    );
    names(&error, &["method", "warm_up"]);
    assert!(!here.join("run").exists());

    let (method, settings) = RIVALS[6];
    train(here, method, settings, &["--steps", "1"]);
    let export = ["export", "--run", "glow", "--out", "w.safetensors"];
    names(&refused(here, &export, 1), &["glow", "no generator"]);
    let other = [
        "train", "--run", "glow", "--resume", "--method", "vae", "--steps", "2",
    ];
    names(&refused(here, &other, 1), &["method is glow, not vae"]);
    let other = [
        "train",
        "--run",
        "glow",
        "--resume",
        "--set",
        "method.width=8",
        "--steps",
        "2",
    ];
    names(&refused(here, &other, 1), &["method.width is 4, not 8"]);
}
