use std::path::Path;

use crate::{common::*, number};

/// A folder with a run on built-in digits, which have labels.
fn digits() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut arguments = tiny(&["--run", "run", "--steps", "2"]);
    arguments[2] = "synthetic";
    done(folder.path(), &arguments);
    folder
}

fn fid<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["fid", "--run", "run"], more].concat()
}

#[test]
fn fid_on_classifier_features_is_named_so_and_repeats_itself() {
    let folder = digits();
    let here = folder.path();
    let arguments = fid(&[
        "--features",
        "classifier",
        "--classifier-updates",
        "20",
        "--count",
        "40",
        "--samples",
        "30",
        "--neighbours",
        "20",
        "--save-stats",
        "real.npz",
        "--json",
    ]);
    let first = json(here, &arguments);
    let name = first["distance_name"].as_str().unwrap();
    assert!(
        name.contains("classifier") && name.contains("not FID"),
        "{name}"
    );
    let extractor = first["extractor"].as_str().unwrap();
    assert!(extractor.contains("classifier of synthetic"), "{extractor}");
    let reference = first["reference"].as_str().unwrap();
    assert!(
        reference.contains("synthetic") && reference.ends_with("training split"),
        "{reference}"
    );
    assert_eq!(
        (&first["reference_count"], &first["samples"]),
        (&40.into(), &30.into())
    );
    assert_eq!(first["neighbours_of_reference"], 20);
    assert!(number(&first["distance"]) > 0.0);
    assert!(here.join("run/classifier.safetensors").is_file());

    // The statistics stand for the images; batches make no difference.
    let again = json(
        here,
        &fid(&[
            "--features",
            "classifier",
            "--samples",
            "30",
            "--reference-stats",
            "real.npz",
            "--batch-size",
            "7",
            "--json",
        ]),
    );
    let (one, other) = (number(&first["distance"]), number(&again["distance"]));
    assert!((one - other).abs() < 1e-4 * one, "{one} {other}");
    assert_eq!(again["reference_count"], 40);
    assert_eq!(again.get("precision"), None);

    let refuse = |more: &[&str], code: i32, parts: &[&str]| {
        let error = refused(here, &fid(more), code);
        for part in parts {
            assert!(error.contains(part), "no '{part}' in: {error}");
        }
    };
    let classifier = ["--features", "classifier"];
    let with = |more: &[&'static str]| [&classifier, more].concat();
    std::fs::write(here.join("bad.npz"), "PK").unwrap();
    refuse(
        &with(&["--reference-stats", "bad.npz"]),
        1,
        &["bad.npz", "not a whole .npz"],
    );
    refuse(
        &with(&["--save-stats", "s.npy"]),
        2,
        &["--save-stats s.npy", ".npz"],
    );
    refuse(
        &with(&["--weights", "w.pth"]),
        2,
        &["--weights", "classifier"],
    );
    refuse(
        &with(&["--reference-stats", "real.npz", "--split", "test"]),
        2,
        &["--split"],
    );
    // No labels in a .npy file.
    write_npy(&here.join("tiny.npy"), 20);
    refuse(
        &with(&["--data", "tiny.npy"]),
        1,
        &["classifier.safetensors", "tiny.npy"],
    );
    refuse(
        &with(&["--data", "tiny.npy", "--classifier", "new.safetensors"]),
        1,
        &["tiny.npy: they have no labels"],
    );
}

#[test]
fn fid_without_weights_says_where_they_belong() {
    let folder = trained();
    let error = refused(folder.path(), &fid(&[]), 1);
    for part in [
        "datasets/inception/pt_inception-2015-12-05-6726825d.pth",
        "https://github.com/mseitzer/pytorch-fid/releases",
        "--download",
        "--features classifier",
    ] {
        assert!(error.contains(part), "{error}");
    }
    let narrow =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/fid/tests/reference/narrow.pth");
    let error = refused(
        folder.path(),
        &fid(&["--weights", narrow.to_str().unwrap()]),
        1,
    );
    assert!(
        error.contains("of another shape: Conv2d_1a_3x3.conv.weight"),
        "{error}"
    );
}
