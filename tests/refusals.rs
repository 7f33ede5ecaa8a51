//! Wrong input: an exit code, one clear line, no panic, and nothing touched.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use common::*;

/// The first line of an error names all of these.
fn names(error: &str, parts: &[&str]) {
    let first = error.lines().next().unwrap();
    for part in parts {
        assert!(first.contains(part), "'{part}' is not in: {error}");
    }
}

const COMMANDS: [&[&str]; 9] = [
    &["reconstruct"],
    &["hierarchy"],
    &["sample"],
    &["fid"],
    &["info"],
    &["export", "--out", "w.safetensors"],
    &["trace", "--out", "t.safetensors"],
    &["train", "--resume"],
    &["step-size"],
];

#[test]
fn a_folder_without_a_run() {
    let folder = workplace();
    for command in COMMANDS {
        let arguments = [command, &["--run", "nowhere"]].concat();
        let error = refused(folder.path(), &arguments, 1);
        names(
            &error,
            &["nowhere holds no run", "shortrun train --run nowhere"],
        );
    }
    assert!(!folder.path().join("nowhere").exists());
}

#[test]
#[cfg(not(feature = "cuda"))]
fn a_backend_that_was_not_compiled_in() {
    let folder = workplace();
    for command in COMMANDS {
        let arguments = [command, &["--run", "nowhere", "--backend", "cuda"]].concat();
        names(&refused(folder.path(), &arguments, 1), &["--features cuda"]);
    }
}

#[test]
fn a_precision_that_a_backend_has_not() {
    let folder = workplace();
    let with = |precision: &'static str| ["--run", "nowhere", "--precision", precision];
    for command in COMMANDS {
        let arguments = |precision| [command, &with(precision)[..]].concat();
        for half in ["bf16", "f16"] {
            let error = refused(folder.path(), &arguments(half), 2);
            names(
                &error,
                &[&format!("--precision {half}"), "flex", "--backend cuda"],
            );
        }
        // What it has is no mistake.
        let error = refused(folder.path(), &arguments("f32"), 1);
        names(&error, &["nowhere holds no run"]);
    }
}

#[test]
fn settings_that_do_not_exist_or_make_no_sense() {
    let folder = workplace();
    let refuse = |set: &str, parts: &[&str]| {
        names(
            &refused(folder.path(), &tiny(&["--run", "run", "--set", set]), 1),
            parts,
        );
        assert!(!folder.path().join("run").exists());
    };
    refuse("batchsize=3", &["batchsize", "batch_size"]);
    refuse("langevin.stepz=3", &["stepz", "steps"]);
    refuse("generator.feature=3", &["generator", "feature"]);
    refuse("data.sizes=3", &["data", "sizes"]);
    refuse("batch_size=many", &["batch_size", "many"]);
    refuse("batch_size=-1", &["batch_size"]);
    refuse("batch_size=0", &["batch_size", "at least 1"]);
    refuse(
        "generator.architecture=ladders",
        &["architecture", "ladders"],
    );
    let centred = "generator={ architecture = 'ladder', parameterisation = 'centred' }";
    refuse(centred, &["non-centred with architecture ladder"]);
    refuse("generator.features=0", &["features", "at least 1"]);
    refuse("generator.features=x", &["generator.features"]);
    refuse("generator.latents=[2, 0]", &["latent", "[2, 0]"]);
    refuse("generator.image_size=30", &["image_size", "28, 32 or 64"]);
    refuse("learning_rate=fast", &["learning_rate", "1e-4"]);
    refuse("learning_rate=inf", &["learning_rate", "inf"]);
    refuse("sigma=0", &["sigma", "above 0"]);
    refuse("sigma.begin=0.3", &["sigma"]);
    refuse("langevin.step_size=0.05", &["step_size", "eta", "drift"]);
    refuse("langevin.step_size.eta=-1", &["step_size"]);
    refuse("generator=3", &["generator", "table"]);
    let deep = format!("{}=3", vec!["a"; 60_000].join("."));
    for set in ["batch_size", "=3", "langevin.=3", deep.as_str()] {
        refuse(set, &["write key=value"]);
    }
}

#[test]
fn settings_that_no_memory_holds() {
    let folder = workplace();
    for (set, parts) in [
        ("batch_size=1000000000", ["batch_size", "at most 100000"]),
        (
            "langevin.steps=1000000000000000000",
            ["langevin.steps", "at most 1000000"],
        ),
        (
            "evaluation.images=1000000000000000000",
            ["evaluation.images", "at most 1000000"],
        ),
        (
            "evaluation.samples=1000000000000000000",
            ["evaluation.samples", "at most 1000000"],
        ),
        ("learning_rate=1e39", ["learning_rate", "float32"]),
        ("generator.features=1000000000", ["weights", "features"]),
        (
            "generator.seed_channels=9223372036854775807",
            ["weights", "seed_channels"],
        ),
        (
            "generator.head_width={ fixed = 9223372036854775807 }",
            ["weights", "head_width"],
        ),
        (
            "generator.refine_blocks=1000000000",
            ["refine_blocks", "at most 1000"],
        ),
        (
            "generator.latents=[9223372036854775807, 9223372036854775807, 9223372036854775807]",
            ["latent layers", "at most 1000000"],
        ),
        (
            "method={ name = 'glow', width = 1000000000000 }",
            ["method.width", "at most"],
        ),
    ] {
        let error = refused(folder.path(), &tiny(&["--run", "run", "--set", set]), 1);
        names(&error, &parts);
        assert!(!folder.path().join("run").exists());
    }
}

/// Told before anything is opened, so there need be no run.
#[test]
fn counts_that_no_memory_holds() {
    let folder = workplace();
    for (command, flag, least) in [
        ("sample", "--count", 1),
        ("reconstruct", "--count", 1),
        ("reconstruct", "--langevin-steps", 1),
        ("inpaint", "--samples", 1),
        ("hierarchy", "--redraws", 1),
        ("trace", "--memory", 1),
        ("fid", "--samples", 1),
        ("fid", "--batch-size", 1),
        ("likelihood", "--chains", 1),
        ("likelihood", "--temperatures", 1),
        ("likelihood", "--leapfrogs", 1),
        ("likelihood", "--simulated", 0),
        ("calibrate", "--images", 1),
        ("calibrate", "--chains", 1),
        ("step-size", "--lanczos-steps", 1),
        ("step-size", "--probes", 1),
        ("step-size", "--held-out", 1),
        ("step-size", "--memory", 1),
        ("bench", "--batch", 1),
        ("bench", "--steps", 1),
        ("bench", "--repeat", 1),
        ("bench", "--objective", 0),
        ("selftest", "--batch", 1),
    ] {
        let refuse = |count: &str, bound: &str| {
            let error = refused(folder.path(), &[command, flag, count], 2);
            names(&error, &[flag, bound]);
        };
        refuse("1000001", "must be at most 10");
        refuse("18446744073709551615", "must be at most 10");
        if least == 1 {
            refuse("0", "must be at least 1");
        }
    }
}

#[test]
fn numbers_and_files_that_cannot_be() {
    let folder = trained();
    let here = folder.path();
    for command in ["reconstruct", "sample"] {
        let error = refused(here, &[command, "--run", "run", "--count", "0"], 2);
        names(&error, &["--count", "at least 1"]);
        let error = refused(
            here,
            &[command, "--run", "run", "--out", "no/such/f.png"],
            1,
        );
        names(&error, &["no/such/f.png", "no folder no/such"]);
        let error = refused(here, &[command, "--run", "run", "--out", "f.gif"], 2);
        names(&error, &["f.gif", ".png"]);
    }
    for command in ["export", "trace"] {
        let error = refused(
            here,
            &[command, "--run", "run", "--out", "no/f.safetensors"],
            1,
        );
        names(&error, &["no/f.safetensors", "no folder no"]);
        // A folder is in the way.
        fs::create_dir_all(here.join("d.safetensors")).unwrap();
        let error = refused(
            here,
            &[command, "--run", "run", "--out", "d.safetensors"],
            1,
        );
        names(&error, &["d.safetensors"]);
    }
    let reconstruct = |more: &[&str], code: i32| {
        refused(
            here,
            &[&["reconstruct", "--run", "run"], more].concat(),
            code,
        )
    };
    names(
        &reconstruct(&["--langevin-steps", "0"], 2),
        &["--langevin-steps", "at least 1"],
    );
    names(
        &reconstruct(&["--step-size", "0.05"], 2),
        &["eta=0.05", "drift=0.00125"],
    );
    names(
        &reconstruct(&["--step-size", "eta=-1"], 2),
        &["not negative"],
    );
    names(&reconstruct(&["--split", "half"], 2), &["half"]);
    names(&reconstruct(&["--data", "no.npy"], 1), &["no.npy"]);
    names(&reconstruct(&["--data", "svnh"], 1), &["svnh", "mnist"]);
    names(&refused(here, &["info"], 2), &["required"]);

    let whole = fs::read(here.join("tiny.npy")).unwrap();
    fs::write(here.join("cut.npy"), &whole[..whole.len() - 100]).unwrap();
    names(
        &reconstruct(&["--data", "cut.npy"], 1),
        &["cut.npy", "cut off"],
    );
    fs::write(
        here.join("float.npy"),
        npy("<f4", &[1, 28, 28, 1], &[0; 4 * 784]),
    )
    .unwrap();
    names(
        &reconstruct(&["--data", "float.npy"], 1),
        &["float.npy", "<f4"],
    );
    fs::write(here.join("text.npy"), "<!DOCTYPE html>").unwrap();
    names(&reconstruct(&["--data", "text.npy"], 1), &["text.npy"]);
}

#[test]
fn a_run_in_use_or_of_another_configuration_stays_as_it_is() {
    let folder = trained();
    let here = folder.path();
    let before = kept(&here.join("run"));
    let error = refused(here, &tiny(&["--run", "run", "--steps", "6"]), 1);
    names(&error, &["run already holds a run", "--resume"]);
    write_npy(&here.join("other.npy"), 20);
    for (other, parts) in [
        (&["--seed", "9"][..], &["seed is 1, not 9"][..]),
        (
            &["--preset", "table4"],
            &["generator.features is 4, not 64"],
        ),
        (
            &["--data", "other.npy"],
            &["data.source", "tiny.npy", "other.npy"],
        ),
        (&["--size", "32"], &["data.size is 28, not 32"]),
        (
            &["--set", "generator.features=5"],
            &["generator.features is 4, not 5"],
        ),
        (&["--set", "batch_size=4"], &["batch_size is 3, not 4"]),
        (
            &["--set", "langevin.persistent=true"],
            &["langevin.persistent is false"],
        ),
        (&["--steps", "5"], &["iterations is 5", "has done 6"]),
        (&["--set", "sigma=-1"], &["sigma"]),
    ] {
        let arguments = [&["train", "--run", "run", "--resume", "--json"], other].concat();
        names(&refused(here, &arguments, 1), parts);
        assert!(kept(&here.join("run")) == before, "{other:?}");
    }
    // A .npy file with other images under the same name.
    write_npy(&here.join("tiny.npy"), 30);
    let error = refused(here, &["train", "--run", "run", "--resume", "--json"], 1);
    names(&error, &["images are 18", "not 27"]);
    assert!(kept(&here.join("run")) == before);
    // The command that made the run, and --resume, is no other configuration.
    write_npy(&here.join("tiny.npy"), 20);
    done(here, &tiny(&["--run", "run", "--resume", "--steps", "7"]));
    names(&refused(here, &["train", "--resume"], 2), &["required"]);
}

#[test]
fn a_folder_that_cannot_be_written() {
    let folder = workplace();
    fs::write(folder.path().join("file"), "").unwrap();
    for run in ["file/run", "/proc/none/run"] {
        let output = output(folder.path(), &tiny(&["--run", run, "--steps", "2"]));
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        names(&error, &[run]);
    }
}

#[test]
fn a_configuration_file_that_is_wrong_is_named() {
    let folder = workplace();
    let refuse = |text: &str, parts: &[&str]| {
        fs::write(folder.path().join("c.toml"), text).unwrap();
        names(
            &refused(folder.path(), &["train", "--config", "c.toml"], 1),
            parts,
        );
    };
    refuse("batch_size = ", &["c.toml", "line 1"]);
    refuse("batchsize = 3", &["batchsize"]);
    names(
        &refused(folder.path(), &["train", "--config", "d.toml"], 1),
        &["d.toml"],
    );
}

#[test]
fn flags_win_over_the_configuration_file() {
    let folder = trained();
    let here = folder.path();
    write_npy(&here.join("other.npy"), 30);
    done(
        here,
        &[
            "train",
            "--config",
            "run/config.toml",
            "--data",
            "other.npy",
            "--steps",
            "2",
            "--seed",
            "4",
            "--run",
            "second",
        ],
    );
    let info = json(here, &["info", "--run", "second", "--json"]);
    assert_eq!(info["data"]["source"], "other.npy");
    assert_eq!(info["state"]["images"], 27);
    assert_eq!(
        (&info["training"]["seed"], &info["state"]["iteration"]),
        (&4.into(), &2.into())
    );
}

#[test]
fn skipped_updates_end_with_exit_code_3_and_advice() {
    let folder = workplace();
    let wild = [
        "--set",
        "langevin.step_size.eta=3",
        "--set",
        "max_skipped=3",
    ];
    let arguments = tiny(&[&["--run", "run", "--steps", "9"][..], &wild].concat());
    let output = output(folder.path(), &arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{error}");
    let last = error.lines().last().unwrap();
    for part in [
        "error: stopped at iteration 3",
        "diverged at step",
        "sigma",
        "--set langevin",
    ] {
        assert!(last.contains(part), "{error}");
    }
    for line in metrics(&folder.path().join("run")) {
        assert!(line["skipped"].is_string());
    }
}

#[test]
fn a_hand_edited_shape_is_refused_without_a_panic() {
    let folder = trained();
    let config = folder.path().join("run/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("features = 4", "features = 6")).unwrap();
    for arguments in [
        &["sample", "--run", "run"][..],
        &["train", "--run", "run", "--resume", "--json"],
    ] {
        names(
            &refused(folder.path(), arguments, 1),
            &["another shape", "config.toml"],
        );
    }
    fs::write(&config, "no = toml = at all").unwrap();
    names(
        &refused(folder.path(), &["sample", "--run", "run"], 1),
        &["config.toml"],
    );
}

#[test]
fn a_mask_that_makes_no_sense() {
    let folder = trained();
    let refuse = |mask: &str, code: i32, parts: &[&str]| {
        let arguments = ["inpaint", "--run", "run", "--mask", mask];
        names(&refused(folder.path(), &arguments, code), parts);
    };
    refuse("middle", 2, &["middle", "--mask"]);
    refuse("center:28", 1, &["center:28", "every pixel"]);
    refuse("center:99", 1, &["center:99", "28 x 28"]);
    refuse("mask.png", 1, &["mask.png"]);
    let many = "blocks:1000000000000000000x8";
    refuse(many, 1, &[many, "784 pixels"]);
}

#[test]
#[cfg(target_os = "linux")]
fn results_that_do_not_fit_on_the_disk() {
    let folder = workplace();
    let full = fs::File::create("/dev/full").unwrap();
    let mut info = shortrun(folder.path(), &["info", "--preset", "quick", "--json"]);
    let output = info.stdout(full).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    names(&error, &["error: standard output: "]);
}

#[test]
fn looks_at_a_run_that_would_never_come() {
    let folder = workplace();
    let arguments = ["report", "--run", "run", "--watch", "--every"];
    for every in ["0", "86401", "18446744073709551615"] {
        let arguments = [&arguments[..], &[every]].concat();
        let error = refused(folder.path(), &arguments, 2);
        names(&error, &["--every", every, "1..=86400"]);
    }
}

#[test]
fn a_step_size_that_cannot_be_looked_for() {
    let folder = trained();
    let refuse = |more: &[&str], code: i32, parts: &[&str]| {
        let arguments = [&["step-size", "--run", "run", "--count", "2"], more].concat();
        names(&refused(folder.path(), &arguments, code), parts);
    };
    refuse(&["--probes", "4"], 2, &["--probes", "--objective lanczos"]);
    refuse(
        &["--grid", "0.1", "--search", "refine"],
        2,
        &["--grid", "--search grid"],
    );
    refuse(&["--grid", "0.1,-0.1"], 1, &["grid.etas", "-0.1"]);
    refuse(
        &["--held-out", "1"],
        2,
        &["--held-out 1", "3 images", "there are 2"],
    );
    refuse(&["--search", "guess"], 2, &["guess", "--search"]);
    refuse(&["--plot", "curve.png"], 2, &["curve.png", ".svg"]);
    refuse(
        &["--objective", "lanczos", "--search", "gradient"],
        1,
        &["lanczos", "no gradient"],
    );
    refuse(&["--grid", "1e8,1e9"], 1, &["every step size", "explode"]);
    refuse(&["--step-size", "eta=0"], 1, &["above 0"]);
}
