//! Every command on a small run, from training to a trace.
#![allow(clippy::unwrap_used)]

mod common;

use std::{collections::BTreeMap, fs, path::Path};

use common::*;
use safetensors::SafeTensors;

fn number(value: &serde_json::Value) -> f64 {
    value.as_f64().unwrap()
}

#[test]
fn help_lists_every_flag() {
    let folder = tempfile::tempdir().unwrap();
    let chain = ["--langevin-steps", "--step-size", "--seed"];
    let data = ["--data", "--data-dir", "--split", "--count"];
    let common = ["--run", "--backend", "--json"];
    let train = [
        "--download",
        "--size",
        "--channels",
        "--preset",
        "--config",
        "--set",
        "--steps",
        "--resume",
    ];
    for (command, flags) in [
        (
            "train",
            [&train[..], &["--data", "--data-dir", "--seed"]].concat(),
        ),
        (
            "reconstruct",
            [&data[..], &chain[..], &["--out", "--best"]].concat(),
        ),
        (
            "trace",
            [&data[..], &chain[..], &["--out", "--best"]].concat(),
        ),
        ("sample", vec!["--count", "--seed", "--out", "--best"]),
        ("export", vec!["--out", "--best"]),
        ("info", vec!["--preset"]),
    ] {
        let help = done(folder.path(), &[command, "--help"]);
        for flag in flags.iter().chain(&common) {
            assert!(help.contains(flag), "{command} --help lacks {flag}");
        }
    }
    let help = done(folder.path(), &["--help"]);
    for code in [
        "0 done",
        "1 an error",
        "2 wrong usage",
        "3 training stopped",
        "130 interrupted",
    ] {
        assert!(help.replace('\n', " ").contains(code), "{help}");
    }
}

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

#[test]
fn reconstruct_reports_its_error_and_its_chain() {
    let folder = trained();
    let here = folder.path();
    let own = json(here, &["reconstruct", "--run", "run", "--json"]);
    assert!(number(&own["mse"]) > 0.0 && number(&own["mean_image_mse"]) > 0.0);
    // A tenth of the 20 images is held out.
    assert_eq!(
        (own["images"].as_u64(), own["steps"].as_u64()),
        (Some(2), Some(3))
    );
    let eta = number(&own["step_size"]["eta"][0]);
    let drift = number(&own["step_size"]["drift"][0]);
    assert!((drift - eta * eta / 2.0).abs() < 1e-12);
    assert!(here.join("run/reconstruct.png").is_file());

    let longer = json(
        here,
        &[
            "reconstruct",
            "--run",
            "run",
            "--langevin-steps",
            "5",
            "--step-size",
            "drift=0.00125",
            "--split",
            "train",
            "--count",
            "3",
            "--out",
            "r.png",
            "--json",
        ],
    );
    assert_eq!(
        (longer["images"].as_u64(), longer["steps"].as_u64()),
        (Some(3), Some(5))
    );
    assert!((number(&longer["step_size"]["eta"][0]) - 0.05).abs() < 1e-9);
    assert!(here.join("r.png").is_file());

    write_npy(&here.join("other.npy"), 5);
    let other = |count: &str| {
        json(
            here,
            &[
                "reconstruct",
                "--run",
                "run",
                "--data",
                "other.npy",
                "--count",
                count,
                "--json",
            ],
        )
    };
    assert_eq!(other("64")["images"], 5);
    assert_eq!(other("3")["images"], 3);
    let synthetic = json(
        here,
        &[
            "reconstruct",
            "--run",
            "run",
            "--data",
            "synthetic",
            "--count",
            "3",
            "--json",
        ],
    );
    assert!(synthetic["data"].as_str().unwrap().contains("synthetic"));
}

#[test]
fn sample_writes_a_picture_of_the_right_size() {
    let folder = trained();
    done(
        folder.path(),
        &["sample", "--run", "run", "--count", "10", "--out", "s.png"],
    );
    // Two rows of eight pictures of 28 pixels, 2 pixels apart, twice as large.
    assert_eq!(
        png_size(&folder.path().join("s.png")),
        [2 * (8 * 30 + 2), 2 * (2 * 30 + 2)]
    );
    done(
        folder.path(),
        &["sample", "--run", "run", "--count", "10", "--out", "t.png"],
    );
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
    assert_eq!(read("s.png"), read("t.png"));
    done(
        folder.path(),
        &["sample", "--run", "run", "--seed", "9", "--out", "u.png"],
    );
    assert_ne!(read("s.png"), read("u.png"));
}

fn png_size(path: &Path) -> [u32; 2] {
    let bytes = fs::read(path).unwrap();
    [16, 20].map(|at| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()))
}

#[test]
fn export_has_the_names_and_layouts_of_pytorch() {
    let folder = trained();
    let out = folder.path().join("weights.safetensors");
    let report = json(
        folder.path(),
        &[
            "export",
            "--run",
            "run",
            "--out",
            "weights.safetensors",
            "--json",
        ],
    );
    let bytes = fs::read(out).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let config = &metadata.metadata().as_ref().unwrap()["config"];
    let config: serde_json::Value = serde_json::from_str(config).unwrap();
    assert_eq!(config["features"], 4);
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let found: BTreeMap<String, Vec<usize>> = file
        .tensors()
        .into_iter()
        .map(|(name, tensor)| (name, tensor.shape().to_vec()))
        .collect();
    let total: usize = found
        .values()
        .map(|shape| shape.iter().product::<usize>())
        .sum();
    assert_eq!(report["parameters"], total);

    // 4 features, 4 seed channels, maps of 14 x 14, heads of 3 channels on 10 x 10, latents 2 and 3.
    let mut expected: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut add = |name: &str, shape: &[usize]| {
        expected.insert(name.to_owned(), shape.to_vec());
    };
    for (i, latent) in [2, 3].into_iter().enumerate() {
        let size = file
            .tensor(&format!("blocks.{i}.project.linear.bias"))
            .unwrap()
            .shape()[0];
        assert_eq!(size % 4, 0);
        add(
            &format!("blocks.{i}.project.linear.weight"),
            &[size, latent],
        );
        add(&format!("blocks.{i}.project.linear.bias"), &[size]);
        add(&format!("blocks.{i}.project.deconv.weight"), &[4, 4, 5, 5]);
        add(&format!("blocks.{i}.conv1.weight"), &[4, 4, 5, 5]);
        add(&format!("blocks.{i}.conv1.bias"), &[4]);
        add(&format!("blocks.{i}.conv2.weight"), &[4, 4, 3, 3]);
        add(&format!("blocks.{i}.conv2.bias"), &[4]);
    }
    for head in ["mean", "scale"] {
        add(&format!("stochastic.0.{head}.conv.weight"), &[3, 4, 5, 5]);
        add(&format!("stochastic.0.{head}.conv.bias"), &[3]);
        add(
            &format!("stochastic.0.{head}.linear.weight"),
            &[3, 3 * 10 * 10],
        );
        add(&format!("stochastic.0.{head}.linear.bias"), &[3]);
    }
    add("output.0.weight", &[4, 1, 4, 4]);
    add("output.0.bias", &[1]);
    assert_eq!(found, expected);
}

#[test]
fn a_trace_can_be_checked_on_the_host() {
    let folder = trained();
    let trace = |out: &str| {
        done(
            folder.path(),
            &[
                "trace", "--run", "run", "--split", "train", "--count", "2", "--out", out,
            ],
        );
        fs::read(folder.path().join(out)).unwrap()
    };
    let bytes = trace("a.safetensors");
    assert_eq!(bytes, trace("b.safetensors"));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (k, n, d) = (3, 2, 5);
    for (name, shape) in [
        ("x", vec![n, 1, 28, 28]),
        ("z0", vec![n, d]),
        ("noise", vec![k, n, d]),
        ("z", vec![k + 1, n, d]),
        ("energy", vec![k + 1, n]),
        ("gradient0", vec![n, d]),
        ("step_sizes", vec![k]),
        ("sigma", vec![1]),
    ] {
        assert_eq!(file.tensor(name).unwrap().shape(), shape, "{name}");
    }
    assert_eq!(file.names().len(), 8);
    let (single, double) = (
        |name: &str| singles(&file, name),
        |name: &str| doubles(&file, name),
    );
    let (z, noise, gradient) = (single("z"), single("noise"), single("gradient0"));
    let s = double("step_sizes")[0];
    assert_eq!(single("z0"), z[..n * d]);
    for at in 0..n * d {
        let expected = z[at] - s * gradient[at] + (2.0 * s).sqrt() * noise[at];
        let found = z[n * d + at];
        assert!(
            (found - expected).abs() < 1e-5 * (1.0 + expected.abs()),
            "{found} {expected}"
        );
    }
    assert!(single("energy").iter().all(|energy| energy.is_finite()));
    assert!(single("x").iter().all(|value| (-1.0..=1.0).contains(value)));
    assert!(double("sigma")[0] > 0.0);
}

/// A float32 tensor's values.
fn singles(file: &SafeTensors<'_>, name: &str) -> Vec<f64> {
    let (values, _) = file.tensor(name).unwrap().data().as_chunks::<4>();
    values
        .iter()
        .map(|v| f32::from_le_bytes(*v).into())
        .collect()
}

/// A float64 tensor's values.
fn doubles(file: &SafeTensors<'_>, name: &str) -> Vec<f64> {
    let (values, _) = file.tensor(name).unwrap().data().as_chunks::<8>();
    values.iter().map(|v| f64::from_le_bytes(*v)).collect()
}

/// `[n]` sums of rows of `[n, d]`.
fn by_row(values: &[f64], n: usize, of: impl Fn(f64) -> f64) -> Vec<f64> {
    let rows = values.chunks_exact(values.len() / n);
    rows.map(|row| row.iter().map(|value| of(*value)).sum())
        .collect()
}

#[test]
fn a_trace_with_its_objective_adds_up() {
    let folder = trained();
    let arguments = [
        "trace",
        "--run",
        "run",
        "--count",
        "2",
        "--objective",
        "--out",
        "a.safetensors",
    ];
    done(folder.path(), &arguments);
    let bytes = fs::read(folder.path().join("a.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (single, double) = (
        |name: &str| singles(&file, name),
        |name: &str| doubles(&file, name),
    );
    let (k, n) = (3, 2);
    assert_eq!(file.tensor("logdet").unwrap().shape(), [k, n]);
    let (logdet, energy, sigma) = (double("logdet"), single("energy"), double("sigma")[0]);
    let constant = 0.5 * 784.0 * (std::f64::consts::TAU * sigma * sigma).ln();
    let squares = by_row(&single("z0"), n, |value| value * value);
    let objective = double("objective");
    assert_eq!(objective.len(), n);
    for i in 0..n {
        let determinants: f64 = (0..k).map(|step| logdet[step * n + i]).sum();
        let expected = -squares[i] / 2.0 - determinants + energy[k * n + i] + constant;
        let found = objective[i];
        assert!(
            (found - expected).abs() < 1e-5 * (1.0 + expected.abs()),
            "{found} {expected}"
        );
    }
}

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
fn inpaint_fills_in_hidden_pixels_and_shows_its_doubt() {
    let folder = trained();
    let arguments = [
        "inpaint",
        "--run",
        "run",
        "--mask",
        "center:12",
        "--count",
        "2",
        "--samples",
        "3",
        "--json",
    ];
    let found = json(folder.path(), &arguments);
    assert_eq!(found["mask"], "center:12");
    for key in ["hidden_mse", "visible_mse", "mean_hidden_mse"] {
        assert!(number(&found[key]) > 0.0, "{key}");
    }
    assert_eq!(found, json_without_time(folder.path(), &arguments, &found));
    let picture = image::open(folder.path().join("run/inpaint.png")).unwrap();
    // Eight columns of 28 pixels and five rows, with gaps of 2, twice as large.
    assert_eq!((picture.width(), picture.height()), (484, 304));
}

/// The command's report again, with the seconds of the first.
fn json_without_time(
    folder: &std::path::Path,
    arguments: &[&str],
    first: &serde_json::Value,
) -> serde_json::Value {
    let mut again = json(folder, arguments);
    again["seconds"] = first["seconds"].clone();
    again
}

#[test]
fn info_works_while_a_run_goes_on() {
    let folder = workplace();
    let mut run = shortrun(
        folder.path(),
        &tiny(&["--run", "run", "--steps", "100000", "--json"]),
    );
    let mut run = run.spawn().unwrap();
    for _ in 0..8 {
        std::thread::sleep(std::time::Duration::from_millis(150));
        if folder.path().join("run/config.toml").exists() {
            json(folder.path(), &["info", "--run", "run", "--json"]);
        }
    }
    let busy = refused(
        folder.path(),
        &["train", "--run", "run", "--resume", "--json"],
        1,
    );
    run.kill().unwrap();
    run.wait().unwrap();
    assert!(busy.contains("another process"), "{busy}");
}
