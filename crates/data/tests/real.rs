//! Loading the real files, where they are at hand.
#![allow(clippy::unwrap_used)]
// A skipped test should not look like a passed one.
#![allow(clippy::print_stderr)]

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use shortrun_data::{DataSpec, ImageShape, Images, Source, Split};

/// The folder of a data set beside the project, or `None` and a line that says so.
fn folder(name: &str) -> Option<PathBuf> {
    let datasets = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/datasets");
    let folder = Path::new(datasets).join(name);
    if !folder.is_dir() {
        eprintln!("{} is not there: nothing tested", folder.display());
        return None;
    }
    Some(folder)
}

fn spec(source: Source, name: &str, size: usize) -> Option<DataSpec> {
    let mut spec = DataSpec::new(source, size);
    spec.data_dir = Some(folder(name)?);
    Some(spec)
}

fn sha256(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Mean of all values, 0 to 255.
fn mean(images: &Images) -> f64 {
    let sum: u64 = images.pixels().iter().map(|&value| u64::from(value)).sum();
    sum as f64 / images.pixels().len() as f64
}

#[test]
fn mnist() {
    let Some(spec) = spec(Source::Mnist, "mnist", 28) else {
        return;
    };
    let data = spec.load().unwrap();
    assert_eq!((data.train.len(), data.test.len()), (60_000, 10_000));
    assert_eq!(data.train.shape(), ImageShape::square(1, 28));
    assert_eq!(data.train.labels().unwrap()[..5], [5, 0, 4, 1, 9]);
    assert_eq!(data.test.labels().unwrap()[..5], [7, 2, 1, 0, 4]);
    // The mean that everybody normalises with, 0.1307.
    assert!((mean(&data.train) / 255.0 - 0.1307).abs() < 1e-4);
    // Of the content of the official file after its header of 8 bytes.
    assert_eq!(
        sha256(data.test.labels().unwrap()),
        "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5"
    );
    let wide = DataSpec {
        size: 64,
        channels: Some(3),
        ..spec
    };
    let part = wide.load_split(Split::Train, Some(10)).unwrap();
    assert_eq!(part.images.shape(), ImageShape::square(3, 64));
    assert_eq!(part.images.len(), 10);
}

#[test]
fn svhn() {
    let Some(spec) = spec(Source::Auto, "svhn", 32) else {
        return;
    };
    let data = spec.load().unwrap();
    assert_eq!(data.name, "svhn");
    assert!(data.provenance.starts_with("SVHN digits from "));
    assert_eq!(data.train.shape(), ImageShape::square(3, 32));
    let limited = spec.load_split(Split::Train, Some(50)).unwrap();
    assert_eq!(limited.images, data.train.clone().take(50));
    assert!(data.train.labels().unwrap().iter().all(|&label| label < 10));
    // What Python's zlib and struct read of the file at hand.
    assert_eq!((data.train.len(), data.test.len()), (7_000, 1_000));
    assert_eq!(
        sha256(data.test.labels().unwrap()),
        "0c49ad7fd675d68397fa139b69345dc783a1f296c68a21b4b7ca885058608267"
    );
    assert_eq!(
        sha256(data.test.image(0)),
        "3cee5c45a5f38a542ccd2fcc35a68ea49aa712cc504d374da89d92d9d4f204db"
    );
}

#[test]
fn celeba() {
    for (size, train, test) in [(32, 18_000, 1_000), (64, 2_500, 200)] {
        let Some(spec) = spec(Source::Celeba, "celeba", size) else {
            return;
        };
        let data = spec.load().unwrap();
        assert_eq!((data.train.len(), data.test.len()), (train, test));
        assert_eq!(data.train.shape(), ImageShape::square(3, size));
        if size == 32 {
            // The array as it stands, in the middle of which no byte is lost or moved.
            let nhwc = |i: usize| (0..1024).flat_map(move |p| [0, 1024, 2048].map(|c| (i, c + p)));
            let bytes: Vec<u8> = (0..1000)
                .flat_map(nhwc)
                .map(|(i, at)| data.test.image(i)[at])
                .collect();
            assert_eq!(
                sha256(&bytes),
                "34c855ab5ede12fa970d82df3dbff5a0f7820d7737b85263940fe19fc86d2d7b"
            );
        }
        // Faces are redder than they are blue.
        let mean = data.test.mean_image();
        let plane = size * size;
        let [red, blue] = [&mean[..plane], &mean[2 * plane..]].map(|p| p.iter().sum::<f32>());
        assert!(red > blue);
    }
}
