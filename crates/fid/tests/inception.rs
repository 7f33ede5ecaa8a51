//! Inception of a sixteenth of the width, against pytorch-fid in float64 with the same random weights
//! (reference/pytorch_fid_reference.py fixture).
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use burn::backend::Flex;
use shortrun_data::{ImageShape, Images};
use shortrun_fid::{Extractor, FidError, Inception, InceptionV3Config, batches, extract};

const ZIP: &str = "narrow.pth";
/// Without checksums.
const LEGACY: &str = "narrow_legacy.pth";

fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/reference")
        .join(name)
}

fn load(path: &Path) -> Result<Inception<Flex>, FidError> {
    Inception::load_as(
        InceptionV3Config::new().with_narrower(16),
        path,
        &Default::default(),
    )
}

/// Two images of 20 x 24 pixels: ramps.
fn images() -> Images {
    let pixels = (0..2 * 3 * 20 * 24).map(|place| {
        let (image, channel, y, x) = (place / 1440, place / 480 % 3, place / 24 % 20, place % 24);
        (x * (2 + 3 * image) + y * (4 + 2 * channel) + 50 * image) % 256
    });
    let shape = ImageShape {
        channels: 3,
        height: 20,
        width: 24,
    };
    Images::new(shape, pixels.map(|value| value as u8).collect(), None).unwrap()
}

fn features(inception: &Inception<Flex>, images: &Images, batch: usize) -> Vec<f32> {
    let device = Default::default();
    let batches = batches::<Flex>(images, batch, &device);
    extract(inception, batches, 2, |_| {}).unwrap().first.values
}

#[test]
fn features_are_those_of_pytorch_fid() {
    let expected = fs::read_to_string(reference("narrow_features.json")).unwrap();
    let expected: Vec<Vec<f64>> = serde_json::from_str(&expected).unwrap();
    let expected = expected.concat();
    for file in [ZIP, LEGACY] {
        let inception = load(&reference(file)).unwrap();
        assert_eq!(inception.dim(), 128);
        let found = features(&inception, &images(), 2);
        assert_eq!(found.len(), expected.len());
        // PyTorch itself is off by up to 3e-4 in float32: a network of random weights magnifies
        // rounding. An average that counts the padding, in block 7b alone, is off by 0.1.
        for (found, expected) in found.iter().zip(&expected) {
            assert!(
                (f64::from(*found) - expected).abs() < 1e-3,
                "{found} {expected}"
            );
        }
    }
}

#[test]
fn grey_images_are_repeated() {
    let inception = load(&reference(ZIP)).unwrap();
    let grey = images().to_grey();
    let colour = grey.clone().to_rgb();
    assert_eq!(
        features(&inception, &grey, 2),
        features(&inception, &colour, 2)
    );
}

#[test]
fn other_weights_are_never_called_fid() {
    let inception = load(&reference(ZIP)).unwrap();
    assert!(!inception.is_standard());
    assert!(
        inception.name().contains("OTHER weights"),
        "{}",
        inception.name()
    );
    assert!(inception.distance_name().contains("not FID"));
}

#[test]
fn tensors_that_are_missing_or_unknown_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.pth");
    let mut bytes = fs::read(reference(LEGACY)).unwrap();
    let name = b"Mixed_6a.branch3x3.bn.running_var";
    let at = bytes
        .windows(name.len())
        .position(|part| part == name)
        .unwrap();
    bytes[at + name.len() - 1] = b'R';
    fs::write(&path, bytes).unwrap();
    let error = load(&path).unwrap_err();
    assert!(matches!(error, FidError::Weights { .. }));
    let error = error.to_string();
    for part in [
        "w.pth",
        "missing: Mixed_6a.branch3x3.bn.running_var;",
        "unknown: Mixed_6a.branch3x3.bn.running_vaR;",
        "pt_inception-2015-12-05-6726825d.pth",
    ] {
        assert!(error.contains(part), "no '{part}' in: {error}");
    }
}

#[test]
fn tensors_of_another_shape_are_named() {
    let config = InceptionV3Config::new().with_narrower(8);
    let error = Inception::<Flex>::load_as(config, &reference(ZIP), &Default::default());
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains(
            "of another shape: Conv2d_1a_3x3.conv.weight ([2, 3, 3, 3], not [4, 3, 3, 3])"
        ),
        "{error}"
    );
    assert!(error.contains(" more"), "{error}");
}

#[test]
fn widths_that_do_not_exist_are_refused() {
    for narrower in [0, 3, 4096] {
        let config = InceptionV3Config::new().with_narrower(narrower);
        let loaded = Inception::<Flex>::load_as(config, &reference(ZIP), &Default::default());
        let error = loaded.unwrap_err();
        assert!(matches!(error, FidError::Narrower(found) if found == narrower));
    }
}

#[test]
fn files_that_are_no_weights_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.pth");
    let error = load(&path).unwrap_err().to_string();
    for part in [
        "no Inception weights at",
        "w.pth",
        "https://github.com/",
        "--download",
    ] {
        assert!(error.contains(part), "{error}");
    }
    for file in [ZIP, LEGACY] {
        let whole = fs::read(reference(file)).unwrap();
        for cut in [0, 40, whole.len() / 2] {
            fs::write(&path, &whole[..cut]).unwrap();
            let error = load(&path).unwrap_err().to_string();
            assert!(error.contains("w.pth"), "{error}");
        }
    }
    fs::write(&path, "<!doctype html><p>Log in to this network</p>").unwrap();
    assert!(matches!(load(&path), Err(FidError::Unreadable { .. })));
}
