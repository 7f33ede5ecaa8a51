//! A classifier that is trained on a few synthetic digits.
#![allow(clippy::unwrap_used)]

use burn::backend::Flex;
use shortrun_data::{DataSpec, ImageShape, Images, Split};
use shortrun_fid::{Classifier, ClassifierOptions, Extractor, FidError, batches, extract};

fn digits(split: Split, count: usize) -> Images {
    let spec = DataSpec::new("synthetic".parse().unwrap(), 28);
    spec.load_split(split, Some(count)).unwrap().images
}

fn trained(options: &ClassifierOptions) -> Classifier<Flex> {
    let (train, test) = (digits(Split::Train, 600), digits(Split::Test, 200));
    let device = Default::default();
    Classifier::train("synthetic", &train, &test, options, &device, |_| {}).unwrap()
}

#[test]
fn it_learns_and_comes_back_from_its_file() {
    let options = ClassifierOptions {
        iterations: 150,
        batch_size: 32,
        ..Default::default()
    };
    let classifier = trained(&options);
    // Ten classes: chance is 0.1.
    assert!(
        classifier.trained().accuracy > 0.4,
        "{:?}",
        classifier.trained()
    );
    assert_eq!(classifier.trained().classes, 10);
    assert!(
        classifier.name().contains("synthetic"),
        "{}",
        classifier.name()
    );
    assert!(classifier.distance_name().contains("not FID"));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.safetensors");
    classifier.save(&path).unwrap();
    let device = Default::default();
    let again = Classifier::<Flex>::load(&path, &device).unwrap();
    assert_eq!(again.trained(), classifier.trained());
    assert!(again.trained().takes(ImageShape::square(3, 28)));
    let images = digits(Split::Test, 5);
    let features = |classifier: &Classifier<Flex>| {
        let batches = batches::<Flex>(&images, 2, &device);
        extract(classifier, batches, 5, |_| {}).unwrap().first
    };
    assert_eq!(features(&again), features(&classifier));
    assert_eq!(features(&again).count(), 5);

    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = Classifier::<Flex>::load(&path, &device)
        .unwrap_err()
        .to_string();
    assert!(error.contains("c.safetensors: not a whole"), "{error}");
}

#[test]
fn the_same_options_give_the_same_classifier() {
    let options = ClassifierOptions {
        iterations: 3,
        ..Default::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let bytes = |name: &str| {
        let path = folder.path().join(name);
        trained(&options).save(&path).unwrap();
        std::fs::read(path).unwrap()
    };
    assert!(bytes("one") == bytes("other"));
}

#[test]
fn images_without_labels_are_refused() {
    let shape = ImageShape::square(1, 28);
    let bare = Images::new(shape, vec![3; 784 * 4], None).unwrap();
    let alike = Images::new(shape, vec![3; 784 * 4], Some(vec![7; 4])).unwrap();
    for (images, reason) in [(bare, "faces: they have no labels"), (alike, "same label")] {
        let options = ClassifierOptions::default();
        let device = Default::default();
        let error = Classifier::<Flex>::train("faces", &images, &images, &options, &device, |_| {});
        let error = error.unwrap_err();
        assert!(matches!(error, FidError::Unlabelled(_)));
        assert!(error.to_string().contains(reason), "{error}");
    }
}
