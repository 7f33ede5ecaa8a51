use std::fs;

use crate::{common::*, number};

#[test]
fn step_size_gives_curve_optimum_and_plot() {
    let folder = trained();
    let step_size = |more: &[&str]| {
        let arguments = ["step-size", "--run", "run", "--count", "2", "--json"];
        json(folder.path(), &[&arguments, more].concat())
    };
    let found = step_size(&["--grid", "0.02,0.05,0.08", "--plot", "curve.svg"]);
    let curve = found["curve"].as_array().unwrap();
    assert_eq!(curve.len(), 3);
    let lowest = curve
        .iter()
        .map(|point| number(&point["objective"]))
        .fold(f64::INFINITY, f64::min);
    assert_eq!(number(&found["value"]), lowest);
    let (eta, drift) = (
        number(&found["step_size"]["eta"][0]),
        number(&found["step_size"]["drift"][0]),
    );
    assert!((eta * eta / 2.0 - drift).abs() < 1e-12);
    let parts = |point: &serde_json::Value| {
        number(&point["log_start"]) - number(&point["expansion"]) - number(&point["log_joint"])
    };
    for point in curve {
        let (whole, sum) = (number(&point["objective"]), parts(point));
        assert!((whole - sum).abs() < 1e-6 * (1.0 + whole.abs()));
    }
    // The run's own step is 0.05, in proportion to sigma.
    assert!(number(&found["own_step_size"]["eta"][0]) > 0.0);
    let svg = fs::read_to_string(folder.path().join("curve.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("nats an image"));

    let layers = step_size(&[
        "--objective",
        "augmented",
        "--search",
        "gradient",
        "--per",
        "layer",
    ]);
    assert_eq!(layers["step_size"]["eta"].as_array().unwrap().len(), 2);
    let lanczos = step_size(&["--objective", "lanczos", "--grid", "0.05", "--probes", "3"]);
    assert!(number(&lanczos["probe_error"]) > 0.0);
}

#[test]
fn held_out_images_are_others_with_other_noise() {
    let folder = trained();
    let run = &["step-size", "--run", "run", "--split", "train", "--json"];
    let found = |more: &[&str]| json(folder.path(), &[&run[..], more].concat());
    let own = number(&found(&["--count", "1", "--grid", "0.05"])["own_step_size"]["eta"][0]);
    let (own, other) = (own.to_string(), (2.0 * own).to_string());
    let held_out = |eta: &str| {
        let found = found(&["--count", "1", "--grid", eta, "--held-out", "1"]);
        assert_eq!(found["held_out"]["images"], 1);
        let value = |at: &str| number(&found["held_out"][at]);
        (value("value"), value("own_value"), number(&found["value"]))
    };
    // The run's own step, found again: the same value, but not that of the image searched on.
    let (value, own_value, searched) = held_out(&own);
    assert_eq!(value, own_value);
    assert_ne!(value, searched);
    // Another step: the run's own keeps its value.
    let (value, own_again, _) = held_out(&other);
    assert_eq!(own_again, own_value);
    assert_ne!(value, own_value);
}
