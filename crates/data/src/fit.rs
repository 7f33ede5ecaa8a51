use image::imageops::{self, FilterType};
use image::{GrayImage, ImageBuffer, Pixel};

use crate::{Error, ImageShape, Images};

/// Images are enlarged at most this many times: beyond that there is nothing left to learn from.
const MOST_ENLARGED: usize = 4;
/// What is longer than so many times its short side is cut before it is scaled: only the centre is
/// kept, and all of it, scaled, may be more than fits in memory.
const LONGEST: u32 = 16;

/// Whether an image is too small to be enlarged to `size`; if so, the least side that would do.
pub(crate) fn too_small(height: usize, width: usize, size: usize) -> Option<usize> {
    let least = size.div_ceil(MOST_ENLARGED);
    (height.min(width) < least).then_some(least)
}

/// Scales the short side to `size` (a triangle filter, widened when shrinking, so nothing aliases),
/// then cuts out the centre: `[size, size]`. Both sides of `image` must be at least one pixel.
pub(crate) fn fit<P>(image: ImageBuffer<P, Vec<u8>>, size: u32) -> ImageBuffer<P, Vec<u8>>
where
    P: Pixel<Subpixel = u8> + 'static,
{
    let (width, height) = image.dimensions();
    if (width, height) == (size, size) {
        return image;
    }
    let short = width.min(height);
    let longest = short.saturating_mul(LONGEST);
    let [wide, high] = [width, height].map(|side| side.min(longest));
    let image = if (wide, high) == (width, height) {
        image
    } else {
        let (left, top) = ((width - wide) / 2, (height - high) / 2);
        imageops::crop_imm(&image, left, top, wide, high).to_image()
    };
    let scale = |side: u32| (u64::from(side) * u64::from(size) / u64::from(short)) as u32;
    let (width, height) = (scale(wide), scale(high));
    let scaled = imageops::resize(&image, width, height, FilterType::Triangle);
    let (left, top) = ((width - size) / 2, (height - size) / 2);
    imageops::crop_imm(&scaled, left, top, size, size).to_image()
}

impl Images {
    /// The images with their short side scaled to `size` and their centre cut out:
    /// `[n, channels, size, size]`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if `size` is 0 or more than four times the short side.
    pub fn resize(self, size: usize) -> Result<Self, Error> {
        let shape = self.shape();
        if size == 0 || too_small(shape.height, shape.width, size).is_some() {
            return Err(Error::Invalid {
                what: "image size",
                found: size.to_string(),
                expected: format!(
                    "1 to {} for images of {}x{} pixels",
                    MOST_ENLARGED * shape.height.min(shape.width),
                    shape.height,
                    shape.width
                ),
            });
        }
        if (shape.height, shape.width) == (size, size) {
            return Ok(self);
        }
        let (width, height) = (shape.width as u32, shape.height as u32);
        let mut pixels = Vec::with_capacity(self.len() * shape.channels * size * size);
        for plane in self.pixels().chunks_exact(shape.plane()) {
            let plane = GrayImage::from_fn(width, height, |x, y| {
                image::Luma([plane[y as usize * shape.width + x as usize]])
            });
            pixels.extend_from_slice(fit(plane, size as u32).as_raw());
        }
        let labels = self.labels().map(<[u8]>::to_vec);
        Images::new(ImageShape::square(shape.channels, size), pixels, labels)
    }
}

#[cfg(test)]
mod tests {
    use image::RgbImage;

    use super::*;

    #[test]
    fn the_centre_of_a_wide_image_is_kept() {
        // Red, green and blue thirds: only the green one is in the middle.
        let wide = RgbImage::from_fn(24, 8, |x, _| {
            let mut pixel = [0; 3];
            pixel[x as usize / 8] = 200;
            image::Rgb(pixel)
        });
        let centre = fit(wide, 8);
        assert_eq!(centre.dimensions(), (8, 8));
        assert!(centre.pixels().all(|pixel| pixel.0 == [0, 200, 0]));
    }

    #[test]
    fn the_centre_of_a_strip_takes_no_more_memory_than_it_has() {
        // The middle eight columns are light. Scaled as a whole it would need half a gigabyte.
        let light = |x: u32| u8::from((499_996..500_004).contains(&x)) * 200;
        let wide = GrayImage::from_fn(1_000_000, 8, |x, _| image::Luma([light(x)]));
        let high = imageops::rotate90(&wide);
        assert!(fit(wide.clone(), 8).pixels().all(|pixel| pixel.0 == [200]));
        for strip in [wide, high] {
            let centre = fit(strip, 28);
            assert_eq!(centre.dimensions(), (28, 28));
            assert_eq!(centre.get_pixel(14, 14).0, [200]);
        }
    }

    #[test]
    fn shrinking_averages() {
        let checks = GrayImage::from_fn(16, 16, |x, y| image::Luma([((x + y) % 2 * 200) as u8]));
        let small = fit(checks, 4);
        assert!(small.pixels().all(|pixel| pixel.0[0].abs_diff(100) <= 8));
    }

    #[test]
    fn planes_and_labels_stay_in_order() {
        let shape = ImageShape::square(3, 8);
        let pixels = (0..6).flat_map(|plane| [plane * 40; 64]).collect();
        let images = Images::new(shape, pixels, Some(vec![7, 9])).unwrap();
        let resized = images.clone().resize(28).unwrap();
        assert_eq!(resized.shape(), ImageShape::square(3, 28));
        assert_eq!(resized.labels(), images.labels());
        let planes = resized.pixels().chunks_exact(28 * 28);
        for (plane, number) in planes.zip(0..) {
            assert!(plane.iter().all(|&value| value == number * 40));
        }
        assert_eq!(images.clone().resize(8).unwrap(), images);
    }

    #[test]
    fn too_much_enlarging_is_refused() {
        let images = Images::new(ImageShape::square(1, 8), vec![0; 64], None).unwrap();
        assert!(images.clone().resize(32).is_ok());
        assert_eq!(
            images.resize(33).unwrap_err().to_string(),
            "image size: found 33, expected 1 to 32 for images of 8x8 pixels"
        );
    }
}
