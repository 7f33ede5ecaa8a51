use crate::{common::*, number};

#[test]
fn likelihood_bounds_log_p_and_says_its_convention() {
    let folder = trained();
    let arguments = [
        "likelihood",
        "--run",
        "run",
        "--count",
        "2",
        "--simulated",
        "2",
        "--chains",
        "2",
        "--temperatures",
        "6",
        "--schedule",
        "geometric",
        "--leapfrogs",
        "1",
        "--json",
    ];
    let found = json(folder.path(), &arguments);
    let measured = &found["measured"];
    let images = measured["images"].as_array().unwrap();
    assert_eq!(images.len(), 2);
    let sum: f64 = images.iter().map(|image| number(&image["value"])).sum();
    let mean = number(&measured["log_density"]);
    assert!((mean - sum / 2.0).abs() < 1e-9 * mean.abs());
    let bits = number(&measured["bits_per_dimension"]);
    assert!((bits + mean / (784.0 * std::f64::consts::LN_2)).abs() < 1e-9);
    let of_bytes = number(&measured["bits_per_dimension_of_bytes"]);
    assert!((of_bytes - bits - 127.5_f64.log2()).abs() < 1e-9);
    let simulated = &found["simulated"];
    let gap = number(&simulated["upper"]) - number(&simulated["lower"]);
    assert!((number(&simulated["gap"]) - gap).abs() < 1e-9 * (1.0 + gap.abs()));

    let mut again = json(folder.path(), &arguments);
    again["seconds"] = found["seconds"].clone();
    assert_eq!(again, found);

    // An image's estimate does not depend on how many others there are.
    let few = ["--count", "1", "--simulated", "0"];
    let few = json(
        folder.path(),
        &[&arguments[..3], &few, &arguments[7..]].concat(),
    );
    assert_eq!(few["measured"]["images"][0], images[0]);
    assert!(few["simulated"].is_null());
}

#[test]
fn a_schedule_that_does_not_exist_is_wrong_usage() {
    let folder = trained();
    let arguments = ["likelihood", "--run", "run", "--schedule", "steep"];
    let error = refused(folder.path(), &arguments, 2);
    assert!(error.contains("geometric"), "{error}");
}
