//! Every kernel takes the number of this crate's sources: without it, CubeCL's cache on disk could give a build the
//! kernels of the one before.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

/// The kernels of a folder, as `file: signature`.
fn kernels(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            kernels(&path, found);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for after in text.split("#[cube(launch").skip(1) {
            let signature = after.split('{').next().unwrap();
            found.push(format!("{}: {signature}", path.display()));
        }
    }
}

#[test]
fn every_kernel_takes_the_number_of_the_sources() {
    let mut found = Vec::new();
    kernels(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut found,
    );
    assert!(found.len() > 20, "{} kernels", found.len());
    for kernel in found {
        assert!(kernel.contains("#[comptime] _sources: u64"), "{kernel}");
    }
}
