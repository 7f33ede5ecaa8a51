use std::fs;

use crate::{common::*, number};

/// A comparison on built-in digits, which have labels.
fn compare<'a>(methods: &'a str, budget: &'a str) -> Vec<&'a str> {
    let mut arguments = tiny(&[
        "--runs",
        "runs",
        "--methods",
        methods,
        "--budget",
        budget,
        "--set",
        "generator.latents=[4]",
        "--method-set",
        "vae-iaf:method.width=4",
        "--method-set",
        "glow:method.width=4",
        "--count",
        "4",
        "--samples",
        "20",
        "--reference",
        "30",
        "--classifier-updates",
        "10",
        "--likelihood",
        "1",
        "--temperatures",
        "4",
        "--json",
    ]);
    (arguments[0], arguments[2]) = ("compare", "synthetic");
    arguments
}

#[test]
fn methods_are_trained_with_the_same_budget_and_set_side_by_side() {
    let folder = workplace();
    let here = folder.path();
    let found = json(here, &compare("vae-iaf,glow", "2"));
    assert_eq!(found["budget"], serde_json::json!({ "updates": 2 }));
    let distance = found["distance"]["name"].as_str().unwrap();
    assert!(distance.contains("not FID"), "{found}");
    let rows = found["rows"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|r| r["method"].as_str().unwrap()).collect();
    assert_eq!(names, ["vae-iaf", "glow"]);
    for row in rows {
        assert_eq!(row["updates"], 2);
        for what in ["distance", "seconds_per_update", "own_log_density"] {
            assert!(row[what].is_f64(), "{what} of {row}");
        }
        assert!(row["generator_parameters"].as_u64().unwrap() > 0);
    }
    assert!(number(&rows[0]["mse"]) > 0.0 && rows[1]["mse"].is_null());
    assert!(rows[0]["log_density"].is_f64() && rows[1]["log_density"].is_null());
    assert_eq!(rows[0]["own_log_density_is"], "lower-bound");
    assert!(rows[0]["bits_per_dimension"].is_null());
    let (bits, nats) = (
        number(&rows[1]["bits_per_dimension"]),
        number(&rows[1]["own_log_density"]),
    );
    let values = 3.0 * 28.0 * 28.0 * std::f64::consts::LN_2;
    assert!(
        (bits - (127.5_f64.log2() - nats / values)).abs() < 1e-4,
        "{bits}, {nats}"
    );
    assert_eq!(found["distance"]["reference_count"], 30);
    assert!(rows[0]["inference_parameters"].as_u64().unwrap() > 0);
    let runs = here.join("runs");
    let table = fs::read_to_string(runs.join("compare.md")).unwrap();
    assert!(table.contains("| vae-iaf |") && table.contains("2 updates each"));
    let picture = image::open(runs.join("compare.png")).unwrap();
    // Rows: originals, two of reconstructions, two of samples.
    let shape = f64::from(picture.width()) / f64::from(picture.height());
    assert!((shape - 10.0 / 5.0).abs() < 0.1, "{shape}");

    // What was asked before is not asked again.
    let asked = || fs::read(runs.join("glow/evaluations/fid.json")).unwrap();
    let before = asked();
    assert_eq!(json(here, &compare("vae-iaf,glow", "2")), found);
    assert_eq!(asked(), before);

    // With a larger budget the runs go on.
    let found = json(here, &compare("vae-iaf,glow", "3"));
    assert_eq!(found["rows"][0]["updates"], 3);
    let lines = metrics(&runs.join("glow"));
    let trained = lines.iter().filter(|line| line["kind"] == "train");
    assert_eq!(trained.count(), 3);

    // A session that was killed has no summary: it is gone on with.
    let summary = runs.join("glow/summary.json");
    fs::remove_file(&summary).unwrap();
    assert_eq!(
        json(here, &compare("vae-iaf,glow", "3"))["rows"][1]["updates"],
        3
    );
    assert!(summary.is_file());

    // With less, or with another kind of budget, they would be other runs.
    for budget in ["2", "5m"] {
        let error = refused(here, &compare("vae-iaf,glow", budget), 1);
        assert!(error.contains("was given 3 updates each"), "{error}");
    }
    // With other settings too.
    let other = [&compare("vae-iaf,glow", "4")[..], &["--set", "sigma=0.5"]].concat();
    let error = refused(here, &other, 1);
    assert!(
        error.contains("other settings") && error.contains("sigma=0.5"),
        "{error}"
    );
    assert_eq!(
        metrics(&runs.join("vae-iaf")).len(),
        metrics(&runs.join("glow")).len()
    );
}

#[test]
fn slips_are_told_before_the_first_run() {
    let folder = workplace();
    let here = folder.path();
    for (methods, budget, part) in [
        ("vae-iaf,glow,glow", "2", "twice"),
        ("vae-iaf", "0", "updates, such as 2000"),
        ("elbow", "2", "possible values"),
        // The settings are of another method.
        ("vae-iaf,vae", "2", "glow is not among --methods"),
    ] {
        let output = output(here, &compare(methods, budget));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(part), "{error}");
    }
    for (more, part) in [
        (["--steps", "3"], "--budget"),
        (["--method-set", "vae:method.width=3"], "vae is not among"),
    ] {
        let arguments = [&compare("vae-iaf,glow", "2")[..], &more].concat();
        let error = refused(here, &arguments, 2);
        assert!(error.contains(part), "{error}");
    }
    // Of a method that has no such setting.
    let wrong = ["--method-set", "glow:method.warm_up=3"];
    let error = refused(
        here,
        &[&compare("vae-iaf,glow", "2")[..], &wrong].concat(),
        1,
    );
    assert!(error.contains("warm_up"), "{error}");
    assert!(!here.join("runs").exists());
}

/// Images of one's own: no labels, and fewer than a row of the picture holds.
#[test]
fn images_without_labels_are_compared_without_distances() {
    let folder = workplace();
    let here = folder.path();
    let mut arguments = compare("short-run,glo", "0.002m");
    arguments[2] = "tiny.npy";
    arguments.retain(|argument| *argument != "--json");
    // What is set for methods that are not there is refused.
    let first = arguments.iter().position(|a| *a == "--method-set").unwrap();
    arguments.drain(first..first + 4);
    let output = output(here, &arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    assert!(
        error.contains("no distances: the images have no labels"),
        "{error}"
    );
    let runs = here.join("runs");
    let table = fs::read_to_string(runs.join("compare.md")).unwrap();
    assert!(
        table.contains("0.002 minutes") && table.contains("No distances:"),
        "{table}"
    );
    let found: serde_json::Value =
        serde_json::from_slice(&fs::read(runs.join("compare.json")).unwrap()).unwrap();
    let rows = found["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert!(row["distance"].is_null() && row["mse"].is_f64(), "{row}");
        assert!(row["updates"].as_u64().unwrap() > 0 && row["failed"] == serde_json::json!([]));
    }
    assert!(cfg!(not(target_os = "linux")) || number(&rows[0]["peak_memory_mib"]) > 1.0);
    let picture = image::open(runs.join("compare.png")).unwrap();
    let shape = f64::from(picture.width()) / f64::from(picture.height());
    assert!((shape - 2.0 / 5.0).abs() < 0.1, "{shape}");
}

/// A look that fails leaves a gap, and what the others came to.
#[test]
fn a_failed_look_costs_one_cell() {
    let folder = workplace();
    let here = folder.path();
    let arguments = compare("vae-iaf,glow", "2");
    json(here, &arguments);
    let classifier = here.join("other.safetensors");
    fs::write(&classifier, "no weights").unwrap();
    let more = ["--classifier", "other.safetensors"];
    let output = output(here, &[&arguments[..], &more].concat());
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("vae-iaf (fid); glow (fid)"), "{error}");
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(found["rows"][0]["mse"].is_f64() && found["rows"][0]["distance"].is_null());
}
