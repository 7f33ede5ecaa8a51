use std::fs;

use crate::{common::*, number};

#[test]
fn calibrate_ranks_truths_among_chains_and_draws_them() {
    let folder = trained();
    let calibrate = |more: &[&str]| {
        let arguments = [
            "calibrate",
            "--run",
            "run",
            "--images",
            "40",
            "--chains",
            "7",
            "--json",
        ];
        json(folder.path(), &[&arguments, more].concat())
    };
    // A chain that hardly moves from its start.
    let found = calibrate(&["--step-size", "eta=1e-4"]);
    assert_eq!(found["passes"], false);
    let layers = found["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 2);
    for (layer, size) in layers.iter().zip([2, 3]) {
        let histogram = layer["histogram"].as_array().unwrap();
        assert_eq!(histogram.len(), 8);
        let sum: f64 = histogram.iter().map(number).sum();
        assert_eq!(sum, f64::from(40 * size));
    }
    let svg = fs::read_to_string(folder.path().join("run/calibration.svg")).unwrap();
    for title in ["layer 1 of 2", "layer 2 of 2: pull", "energy"] {
        assert!(svg.contains(title), "{title}");
    }
    assert_eq!(
        calibrate(&["--step-size", "eta=1e-4", "--level", "0"])["passes"],
        true
    );
}

#[test]
fn too_few_images_for_a_test_are_refused() {
    let folder = trained();
    let arguments = ["calibrate", "--run", "run", "--images", "9"];
    let error = refused(folder.path(), &arguments, 1);
    assert!(error.contains("at least 10"), "{error}");
}
