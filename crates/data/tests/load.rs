//! Loading whole data sets, from files made here.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use shortrun_data::{DataSpec, Error, ImageShape, Source, Split, read_npy};
use tempfile::TempDir;

/// A grey array file: image `i` is all of value `i`.
fn write_array(path: &Path, count: usize, side: usize) {
    let header = format!(
        "{{'descr': '|u1', 'fortran_order': False, 'shape': ({count}, {side}, {side}), }}\n"
    );
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend((0..count).flat_map(|i| vec![i as u8; side * side]));
    fs::write(path, bytes).unwrap();
}

/// A picture all of one shade.
fn write_picture(path: &Path, shade: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let picture = image::GrayImage::from_pixel(40, 32, image::Luma([shade]));
    picture.save(path).unwrap();
}

/// The first value of each image.
fn shades(spec: &DataSpec, split: Split, limit: Option<usize>) -> Vec<u8> {
    let images = spec.load_split(split, limit).unwrap().images;
    (0..images.len()).map(|i| images.image(i)[0]).collect()
}

fn sorted(mut shades: Vec<u8>) -> Vec<u8> {
    shades.sort_unstable();
    shades
}

#[test]
fn an_array_is_split_resized_and_coloured_as_asked() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("mine.npy");
    write_array(&path, 40, 16);
    let mut spec = DataSpec::new(Source::Array(path.clone()), 32);
    let data = spec.load().unwrap();
    assert_eq!(data.name, "mine.npy");
    assert_eq!(
        data.provenance,
        format!("{}, a tenth held out", path.display())
    );
    assert_eq!((data.train.len(), data.test.len()), (36, 4));
    assert_eq!(data.train.shape(), ImageShape::square(1, 32));

    let (train, test) = (
        shades(&spec, Split::Train, None),
        shades(&spec, Split::Test, None),
    );
    assert_eq!(shades(&spec, Split::Train, Some(7)), train[..7]);
    assert_eq!(shades(&spec, Split::Test, Some(99)), test);
    assert!(sorted([train, test].concat()).into_iter().eq(0..40));

    spec.channels = Some(3);
    spec.size = 28;
    let part = spec.load_split(Split::Test, None).unwrap();
    assert_eq!(part.images.shape(), ImageShape::square(3, 28));
    assert_eq!(read_npy(&path, Some(3)).unwrap().len(), 3);
}

#[test]
fn an_array_of_tiny_images_is_refused_by_name() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("tiny.npy");
    write_array(&path, 40, 7);
    let error = DataSpec::new(Source::Array(path.clone()), 32)
        .load()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{}: found images of 7x7 pixels, expected at least 8 a side, to enlarge them to 32; \
             ask for a smaller image size, or save the array with larger images",
            path.display()
        )
    );
}

#[test]
fn a_folder_keeps_its_own_split() {
    let folder = TempDir::new().unwrap();
    for shade in 0..12 {
        let part = if shade < 9 { "train" } else { "test" };
        write_picture(&folder.path().join(format!("{part}/{shade}.png")), shade);
    }
    let mut spec = DataSpec::new(Source::Folder(folder.path().into()), 32);
    spec.cache_dir = folder.path().join(".cache");
    let train = shades(&spec, Split::Train, None);
    assert_eq!(sorted(train.clone()), Vec::from_iter(0..9));
    assert_eq!(sorted(shades(&spec, Split::Test, None)), [9, 10, 11]);
    assert_eq!(shades(&spec, Split::Train, Some(4)), train[..4]);
    assert_eq!(
        spec.load().unwrap().train.shape(),
        ImageShape::square(3, 32)
    );
}

#[test]
fn another_folder_holds_out_a_tenth_and_tells_what_it_skipped() {
    let folder = TempDir::new().unwrap();
    for shade in 0..30 {
        write_picture(
            &folder.path().join(format!("{}/{shade}.png", shade % 3)),
            shade,
        );
    }
    fs::write(folder.path().join("bad.jpg"), "no picture").unwrap();
    let mut spec = DataSpec::new(Source::Folder(folder.path().into()), 28);
    spec.cache_dir = folder.path().join(".cache");
    spec.channels = Some(1);
    let data = spec.load().unwrap();
    assert_eq!(data.train.len() + data.test.len(), 30);
    assert_eq!(data.skipped.len(), 1);
    assert!(data.skipped[0].path.ends_with("bad.jpg"));
    // Once more, now from the cache.
    assert_eq!(spec.load().unwrap(), data);
}

#[test]
fn an_empty_folder_lists_what_it_looked_for() {
    let folder = TempDir::new().unwrap();
    let error = DataSpec::new(Source::Folder(folder.path().into()), 32)
        .load()
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("found none of *.jpg, *.jpeg, *.png in "),
        "{text}"
    );
}

#[test]
fn auto_is_synthetic_without_svhn_and_says_so() {
    let folder = TempDir::new().unwrap();
    let mut spec = DataSpec::new(Source::Auto, 32);
    spec.data_dir = Some(folder.path().into());
    let part = spec.load_split(Split::Test, Some(5)).unwrap();
    assert_eq!(part.name, "synthetic");
    assert_eq!(
        part.provenance,
        format!(
            "built-in synthetic digits, not SVHN; put train_32x32.mat in {}, or run with --download",
            folder.path().display()
        )
    );
    assert_eq!(
        (part.images.len(), part.images.shape()),
        (5, ImageShape::square(3, 32))
    );

    // A file under SVHN's name is taken for SVHN, never passed over in silence.
    fs::write(folder.path().join("train_32x32.mat"), "<html>").unwrap();
    let error = spec.load_split(Split::Train, None).unwrap_err();
    assert!(matches!(error, Error::WebPage { .. }), "{error}");
}

#[test]
fn the_synthetic_splits_differ() {
    let mut spec = DataSpec::new(Source::Synthetic, 32);
    spec.channels = Some(1);
    let [train, test] =
        [Split::Train, Split::Test].map(|split| spec.load_split(split, Some(20)).unwrap());
    assert_eq!(train.images.shape(), ImageShape::square(1, 32));
    assert_ne!(train.images, test.images);
    assert_eq!(train.provenance, "built-in synthetic digits, not SVHN");
}

#[test]
fn missing_files_name_the_folder() {
    for (source, name) in [
        (Source::Mnist, "train-images-idx3-ubyte"),
        (Source::Svhn, "train_32x32.mat"),
        (Source::Celeba, "img_align_celeba"),
    ] {
        let mut spec = DataSpec::new(source, 32);
        spec.data_dir = Some("no/such/folder".into());
        let text = spec.load().unwrap_err().to_string();
        assert!(
            text.contains(name) && text.contains("in no/such/folder; "),
            "{text}"
        );
    }
}

#[test]
fn values_that_cannot_be_used_are_told() {
    let check = |change: fn(&mut DataSpec), limit, wanted: &str| {
        let mut spec = DataSpec::new(Source::Synthetic, 32);
        change(&mut spec);
        let text = spec
            .load_split(Split::Train, limit)
            .unwrap_err()
            .to_string();
        assert_eq!(text, wanted);
    };
    check(
        |spec| spec.size = 48,
        None,
        "image size: found 48, expected 28, 32 or 64",
    );
    check(
        |spec| spec.channels = Some(2),
        None,
        "channels: found 2, expected 1 (grey) or 3 (colour)",
    );
    check(
        |_| (),
        Some(0),
        "number of images: found 0, expected at least 1",
    );
    let error = DataSpec::new(Source::Celeba, 32).download().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("found celeba, expected svhn or mnist")
    );
}
