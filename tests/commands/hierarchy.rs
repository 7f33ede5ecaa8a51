use std::path::Path;

use serde_json::Value;

use crate::{common::*, number};

fn size(folder: &Path, picture: &str) -> (u32, u32) {
    let picture = image::open(folder.join(picture)).unwrap();
    (picture.width(), picture.height())
}

/// `rows` and `columns` of 28 pixels with gaps of 2, twice as large.
fn grid(rows: u32, columns: u32) -> (u32, u32) {
    let side = |pictures: u32| 2 * (30 * pictures + 2);
    (side(columns), side(rows))
}

fn without_time(mut report: Value) -> Value {
    report.as_object_mut().unwrap().remove("seconds");
    report
}

#[test]
fn hierarchy_measures_and_shows_every_layer() {
    let folder = trained();
    let run = |more: &str| {
        let mut arguments = vec!["hierarchy", "--run", "run", "--json"];
        arguments.extend(more.split_whitespace());
        without_time(json(folder.path(), &arguments))
    };
    let common = "--split train --count 4 --redraws 3 --frames 5";
    let found = run(common);
    let layers = found["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 2);
    for (layer, (l, size)) in layers.iter().zip([(2, 2), (1, 3)]) {
        assert_eq!((&layer["layer"], &layer["size"]), (&l.into(), &size.into()));
        for key in ["change", "standard_error", "mean_square"] {
            assert!(number(&layer[key]) > 0.0, "{key}");
        }
    }
    assert_eq!(
        (&found["all"]["layer"], &found["all"]["size"]),
        (&Value::Null, &5.into())
    );
    assert_eq!((&found["images"], &found["steps"]), (&4.into(), &3.into()));
    let made = folder.path().join("run/hierarchy");
    for layer in ["layer-2.png", "layer-1.png"] {
        assert_eq!(size(&made, layer), grid(4, 4));
    }
    // Two pairs: each five frames between two images.
    assert_eq!(size(&made, "interpolation.png"), grid(2, 7));
    assert_eq!(run(common), found);
    let line = folder.path().join("line");
    run(&format!(
        "{common} --interpolation linear --out {}",
        line.display()
    ));
    let read = |folder: &Path, name: &str| std::fs::read(folder.join(name)).unwrap();
    assert_eq!(read(&line, "layer-1.png"), read(&made, "layer-1.png"));
    assert_ne!(
        read(&line, "interpolation.png"),
        read(&made, "interpolation.png")
    );

    let samples = run("--from-prior --count 1 --redraws 2");
    assert_eq!(samples["interpolation"], Value::Null);
    assert!(samples["data"].is_null() && samples["all"]["standard_error"].is_null());
    // The first column is what `sample` shows.
    assert_eq!(size(&made, "layer-1.png"), grid(1, 3));
    done(folder.path(), &["sample", "--run", "run", "--count", "1"]);
    let first = image::open(made.join("layer-1.png"))
        .unwrap()
        .crop_imm(0, 0, 60, 60);
    let sample = image::open(folder.path().join("run/sample.png")).unwrap();
    assert_eq!(first, sample.crop_imm(0, 0, 60, 60));

    let refuse = |more: &[&str], code| {
        let arguments = [&["hierarchy", "--run", "run"], more].concat();
        refused(folder.path(), &arguments, code)
    };
    let error = refuse(&["--out", "tiny.npy"], 1);
    assert!(error.contains("cannot make the folder tiny.npy"), "{error}");
    for more in [
        &["--from-prior", "--data", "tiny.npy"][..],
        &["--frames", "1"],
        &["--redraws", "0"],
    ] {
        refuse(more, 2);
    }
}

/// Trains, resumes, and looks at a ladder with every command.
#[test]
fn a_ladder_works_with_every_command() {
    let folder = workplace();
    let at = folder.path();
    let ladder = |more: &[&str]| {
        let setting = [
            "--set",
            "generator.architecture=ladder",
            "--set",
            "step_size.every=3",
        ];
        done(at, &tiny(&[&setting, more].concat()));
    };
    ladder(&["--run", "run", "--steps", "6"]);
    ladder(&["--run", "cut", "--steps", "4"]);
    done(at, &["train", "--run", "cut", "--steps", "6", "--resume"]);
    let found = weights(at, "run");
    assert_eq!(found, weights(at, "cut"));
    assert!(found.keys().any(|name| name.starts_with("blocks.1.")));
    assert!(!found.keys().any(|name| name.starts_with("stochastic.")));

    let info = json(at, &["info", "--run", "run", "--json"]);
    assert_eq!(info["generator"]["architecture"], "ladder");
    let counted: usize = found.values().map(|bytes| bytes.len() / 4).sum();
    assert_eq!(info["parameters"]["total"], counted);

    let look = |command: &str, more: &str| {
        let mut arguments = vec![command, "--run", "run", "--count", "2", "--json"];
        arguments.extend(more.split_whitespace());
        json(at, &arguments)
    };
    assert!(number(&look("reconstruct", "")["mse"]) > 0.0);
    assert!(number(&look("inpaint", "--mask left")["hidden_mse"]) > 0.0);
    assert_eq!(look("sample", "")["images"], 2);
    look("trace", "--objective --out trace.safetensors");
    assert!(look("step-size", "--grid 0.02,0.05")["value"].is_number());
    assert_eq!(look("hierarchy", "")["layers"].as_array().unwrap().len(), 2);

    let other = ["train", "--run", "run", "--resume", "--set"];
    let other = [&other[..], &["generator.architecture=conditional"]].concat();
    let error = refused(at, &other, 1);
    assert!(error.contains("architecture is \"ladder\", not"), "{error}");
}
