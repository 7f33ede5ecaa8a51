use std::{fs, path::Path};

use crate::common::*;

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
