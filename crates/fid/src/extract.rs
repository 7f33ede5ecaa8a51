//! From images to features to what is kept of them.

use burn::{prelude::*, tensor::TensorData};
use shortrun_data::Images;

use crate::{Features, FidError, Gaussian, Moments};

/// A network whose features images are compared by.
pub trait Extractor<B: Backend> {
    /// What it is, and with which weights: statistics of one name may be compared, of two not.
    fn name(&self) -> String;

    /// What a Fréchet distance of its features is called.
    fn distance_name(&self) -> &'static str;

    /// Length of a feature.
    fn dim(&self) -> usize;

    /// Features `[n, dim]` of images `[n, c, h, w]` in [0, 1].
    fn features(&self, images: Tensor<B, 4>) -> Tensor<B, 2>;
}

/// What is kept of a set of images.
#[derive(Clone, Debug)]
pub struct Extracted {
    /// Mean and covariance of all features.
    pub gaussian: Gaussian,
    /// How many images there were.
    pub count: usize,
    /// The features of the first images.
    pub first: Features,
}

/// Extracts features batch by batch (`[n, c, h, w]` in [0, 1], see [`batches`] and [`as_saved`]);
/// keeps their mean and covariance, and the features of the first `keep` images. After each batch
/// `done` hears how many images are through. The result does not depend on the size of batches, but
/// for what the network's own rounding does.
///
/// # Errors
/// [`FidError::TooFew`] of fewer than two images, [`FidError::NotFinite`] if a feature is no finite
/// number.
pub fn extract<B: Backend>(
    extractor: &impl Extractor<B>,
    batches: impl Iterator<Item = Tensor<B, 4>>,
    keep: usize,
    mut done: impl FnMut(usize),
) -> Result<Extracted, FidError> {
    let dim = extractor.dim();
    let mut moments = Moments::new(dim);
    let mut first = Features {
        dim,
        values: Vec::new(),
    };
    for batch in batches {
        let features = extractor.features(batch).into_data().convert::<f32>();
        let rows: Vec<f32> = features.iter().collect();
        if rows.iter().any(|value| !value.is_finite()) {
            return Err(FidError::NotFinite(extractor.name()));
        }
        moments.push(&rows);
        let missing = keep.saturating_mul(dim).saturating_sub(first.values.len());
        first.values.extend(&rows[..rows.len().min(missing)]);
        done(moments.count());
    }
    Ok(Extracted {
        count: moments.count(),
        gaussian: moments.gaussian()?,
        first,
    })
}

/// Images in batches, `[n, c, h, w]` in [0, 1].
pub fn batches<'a, B: Backend>(
    images: &'a Images,
    batch_size: usize,
    device: &'a B::Device,
) -> impl Iterator<Item = Tensor<B, 4>> + use<'a, B> {
    let shape = images.shape();
    let batch = batch_size.max(1).saturating_mul(shape.values());
    images.pixels().chunks(batch).map(move |pixels| {
        let values: Vec<f32> = pixels.iter().map(|v| f32::from(*v) / 255.0).collect();
        let count = values.len() / shape.values();
        let shape = [count, shape.channels, shape.height, shape.width];
        Tensor::from_data(TensorData::new(values, shape), device)
    })
}

/// Generated images in [-1, 1] as they would be read from picture files: in [0, 1], rounded to the
/// 255ths that a byte can hold. Real images have no values in between either.
pub fn as_saved<B: Backend>(generated: Tensor<B, 4>) -> Tensor<B, 4> {
    ((generated + 1.0) * 127.5).round().clamp(0.0, 255.0) / 255.0
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use shortrun_data::ImageShape;

    use super::*;

    /// Row sums of the first channel.
    struct Sums;

    impl Extractor<Flex> for Sums {
        fn name(&self) -> String {
            "sums".to_owned()
        }

        fn distance_name(&self) -> &'static str {
            "distance"
        }

        fn dim(&self) -> usize {
            2
        }

        fn features(&self, images: Tensor<Flex, 4>) -> Tensor<Flex, 2> {
            let n = images.dims()[0];
            images.slice_dim(1, 0..1).sum_dim(3).reshape([n, 2])
        }
    }

    fn images() -> Images {
        let pixels = (0..30 * 4).map(|v| (v * v % 256) as u8).collect();
        Images::new(ImageShape::square(1, 2), pixels, None).unwrap()
    }

    #[test]
    fn the_size_of_batches_makes_no_difference() {
        let (images, device) = (images(), Default::default());
        let run = |size: usize| {
            let mut told = Vec::new();
            let batches = batches::<Flex>(&images, size, &device);
            let found = extract(&Sums, batches, 7, |done| told.push(done)).unwrap();
            (found, told)
        };
        let (whole, told) = run(30);
        assert_eq!(told, [30]);
        assert_eq!((whole.count, whole.first.count()), (30, 7));
        let sum = f32::from(images.pixels()[0]) + f32::from(images.pixels()[1]);
        assert!((whole.first.values[0] - sum / 255.0).abs() < 1e-6);
        let (parts, told) = run(4);
        assert_eq!(told, [4, 8, 12, 16, 20, 24, 28, 30]);
        assert_eq!((parts.gaussian, parts.first), (whole.gaussian, whole.first));
    }

    #[test]
    fn generated_images_are_rounded_like_saved_ones() {
        let device = Default::default();
        let values = [-1.2, -1.0, 0.0021, 1.0, 3.0, 51.2 / 127.5 - 1.0];
        let tensor = Tensor::<Flex, 1>::from_floats(values, &device).reshape([1, 1, 2, 3]);
        let found: Vec<f32> = as_saved(tensor).into_data().to_vec().unwrap();
        let expected = [0.0, 0.0, 128.0, 255.0, 255.0, 51.0].map(|byte: f32| byte / 255.0);
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn a_feature_that_is_no_number_is_an_error() {
        let device = Default::default();
        let bad = Tensor::<Flex, 4>::full([3, 1, 2, 2], f32::NAN, &device);
        let error = extract(&Sums, [bad].into_iter(), 0, |_| {}).unwrap_err();
        assert!(error.to_string().starts_with("sums gives"), "{error}");
    }
}
