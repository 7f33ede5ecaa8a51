use std::fmt;

use crate::Error;

/// Channels, height and width of one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageShape {
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// Rows, in pixels.
    pub height: usize,
    /// Columns, in pixels.
    pub width: usize,
}

impl ImageShape {
    /// The shape of a square image of `size` by `size` pixels.
    pub fn square(channels: usize, size: usize) -> Self {
        Self {
            channels,
            height: size,
            width: size,
        }
    }

    /// Pixels of one channel.
    pub fn plane(self) -> usize {
        self.height * self.width
    }

    /// Values of one image: channels times height times width.
    pub fn values(self) -> usize {
        self.channels * self.plane()
    }
}

/// Channels x height x width.
impl fmt::Display for ImageShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {} x {}", self.channels, self.height, self.width)
    }
}

/// Images of one shape: bytes in NCHW order, with or without a label each.
#[derive(Clone, PartialEq, Eq)]
pub struct Images {
    shape: ImageShape,
    pixels: Vec<u8>,
    labels: Option<Vec<u8>>,
}

impl Images {
    /// Images from `pixels`, `[n, channels, height, width]` row by row, and `labels`, `[n]`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if `shape` has not 1 or 3 channels or has an empty side, if `pixels` is no
    /// whole number of images, or if there is not one label per image.
    pub fn new(shape: ImageShape, pixels: Vec<u8>, labels: Option<Vec<u8>>) -> Result<Self, Error> {
        let wrong = |what, found: String, expected: &str| Error::Invalid {
            what,
            found,
            expected: expected.into(),
        };
        if !matches!(shape.channels, 1 | 3) || shape.plane() == 0 {
            let expected = "1 or 3 channels and no empty side";
            return Err(wrong("image shape", format!("{shape:?}"), expected));
        }
        if !pixels.len().is_multiple_of(shape.values()) {
            let expected = format!("a multiple of {}", shape.values());
            return Err(wrong(
                "pixels",
                format!("{} values", pixels.len()),
                &expected,
            ));
        }
        let count = pixels.len() / shape.values();
        if let Some(labels) = labels.as_ref().filter(|labels| labels.len() != count) {
            let expected = format!("{count}, one per image");
            return Err(wrong("labels", labels.len().to_string(), &expected));
        }
        Ok(Self {
            shape,
            pixels,
            labels,
        })
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.pixels.len() / self.shape.values()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.pixels.is_empty()
    }

    /// Shape of each image.
    pub fn shape(&self) -> ImageShape {
        self.shape
    }

    /// All values, `[n, channels, height, width]`, 0 to 255.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The label of each image, `[n]`, if the data set has labels.
    pub fn labels(&self) -> Option<&[u8]> {
        self.labels.as_deref()
    }

    /// The values of image `index`, `[channels, height, width]`, 0 to 255.
    ///
    /// # Panics
    ///
    /// If `index` is not less than [`len`](Self::len), as slices do.
    pub fn image(&self, index: usize) -> &[u8] {
        let values = self.shape.values();
        &self.pixels[index * values..][..values]
    }

    /// The chosen images, `[indices.len(), channels, height, width]`, scaled from 0..255 to [-1, 1].
    ///
    /// # Panics
    ///
    /// If an index is not less than [`len`](Self::len), as slices do.
    pub fn to_f32(&self, indices: &[usize]) -> Vec<f32> {
        let mut values = Vec::with_capacity(indices.len() * self.shape.values());
        for &index in indices {
            let image = self.image(index).iter();
            values.extend(image.map(|&value| f32::from(value) / 127.5 - 1.0));
        }
        values
    }

    /// The mean of all images, `[channels, height, width]`, in [-1, 1]; zeros if there is no image.
    pub fn mean_image(&self) -> Vec<f32> {
        let mut sums = vec![0_u64; self.shape.values()];
        for image in self.pixels.chunks_exact(self.shape.values()) {
            for (sum, &value) in sums.iter_mut().zip(image) {
                *sum += u64::from(value);
            }
        }
        if self.is_empty() {
            return vec![0.0; sums.len()];
        }
        let full_scale = 127.5 * self.len() as f64;
        sums.iter()
            .map(|&sum| (sum as f64 / full_scale - 1.0) as f32)
            .collect()
    }

    /// The first `count` images, or all if there are fewer.
    #[must_use]
    pub fn take(mut self, count: usize) -> Self {
        self.pixels
            .truncate(count.saturating_mul(self.shape.values()));
        if let Some(labels) = &mut self.labels {
            labels.truncate(count);
        }
        self
    }

    /// The chosen images in the order given, with their labels.
    ///
    /// # Panics
    ///
    /// If an index is not less than [`len`](Self::len), as slices do.
    #[must_use]
    pub fn subset(&self, indices: &[usize]) -> Self {
        let mut pixels = Vec::with_capacity(indices.len() * self.shape.values());
        for &index in indices {
            pixels.extend_from_slice(self.image(index));
        }
        let pick = |labels: &Vec<u8>| indices.iter().map(|&index| labels[index]).collect();
        Self {
            shape: self.shape,
            pixels,
            labels: self.labels.as_ref().map(pick),
        }
    }

    /// The images with one channel: 0.299 R + 0.587 G + 0.114 B, rounded. Grey images stay as they are.
    #[must_use]
    pub fn to_grey(self) -> Self {
        if self.shape.channels == 1 {
            return self;
        }
        let plane = self.shape.plane();
        let mut pixels = Vec::with_capacity(self.len() * plane);
        for image in self.pixels.chunks_exact(3 * plane) {
            let (red, rest) = image.split_at(plane);
            let (green, blue) = rest.split_at(plane);
            for ((&r, &g), &b) in red.iter().zip(green).zip(blue) {
                pixels.push(luma(r, g, b));
            }
        }
        self.with_pixels(1, pixels)
    }

    /// The images with three channels; grey is repeated. Colour images stay as they are.
    #[must_use]
    pub fn to_rgb(self) -> Self {
        if self.shape.channels == 3 {
            return self;
        }
        let grey = self.pixels.chunks_exact(self.shape.plane());
        let pixels = grey.flat_map(|plane| [plane; 3]).flatten().copied();
        let pixels = pixels.collect();
        self.with_pixels(3, pixels)
    }

    fn with_pixels(self, channels: usize, pixels: Vec<u8>) -> Self {
        Self {
            shape: ImageShape {
                channels,
                ..self.shape
            },
            pixels,
            labels: self.labels,
        }
    }
}

/// ITU-R BT.601 weights, as most tools use for grey.
pub(crate) fn luma(red: u8, green: u8, blue: u8) -> u8 {
    let weighted = 299 * u32::from(red) + 587 * u32::from(green) + 114 * u32::from(blue);
    ((weighted + 500) / 1000) as u8
}

impl fmt::Debug for Images {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Images")
            .field("len", &self.len())
            .field("shape", &self.shape)
            .field("labelled", &self.labels.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(channels: usize, count: usize) -> Images {
        let shape = ImageShape {
            channels,
            height: 2,
            width: 3,
        };
        let pixels = (0..count * shape.values()).map(|v| v as u8).collect();
        Images::new(shape, pixels, Some((0..count as u8).collect())).unwrap()
    }

    #[test]
    fn scaling_is_exact_at_both_ends_and_follows_the_indices() {
        let images = Images::new(ImageShape::square(1, 1), vec![0, 255, 51], None).unwrap();
        assert_eq!(images.to_f32(&[2, 0, 1, 1]), [-0.6, -1.0, 1.0, 1.0]);
    }

    #[test]
    fn mean_image_is_the_mean_of_the_scaled_images() {
        let images = Images::new(ImageShape::square(1, 1), vec![0, 255, 255, 0, 0], None).unwrap();
        assert_eq!(images.mean_image(), [-0.2]);
        assert_eq!(images.take(0).mean_image(), [0.0]);
    }

    #[test]
    fn subset_and_take_move_pixels_and_labels_together() {
        let images = ramp(1, 4);
        let chosen = images.subset(&[3, 1]);
        assert_eq!(chosen.labels().unwrap(), [3, 1]);
        assert_eq!(chosen.image(0), images.image(3));
        assert_eq!(chosen.image(1), [6, 7, 8, 9, 10, 11]);
        let first = images.clone().take(2);
        assert_eq!((first.len(), first.labels().unwrap()), (2, &[0, 1][..]));
        assert_eq!(images.clone().take(usize::MAX), images);
    }

    #[test]
    fn grey_weighs_the_planes_and_rgb_repeats_them() {
        let shape = ImageShape::square(3, 1);
        let pixels = vec![255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255];
        let grey = Images::new(shape, pixels, None).unwrap().to_grey();
        assert_eq!(grey.pixels(), [76, 150, 29, 255]);
        let rgb = ramp(1, 2).to_rgb();
        assert_eq!(rgb.shape(), ramp(3, 1).shape());
        assert_eq!(
            rgb.image(1),
            [6, 7, 8, 9, 10, 11, 6, 7, 8, 9, 10, 11, 6, 7, 8, 9, 10, 11]
        );
        assert_eq!(rgb.to_grey(), ramp(1, 2));
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let shape = ImageShape::square(3, 2);
        let error = Images::new(shape, vec![0; 13], None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "pixels: found 13 values, expected a multiple of 12"
        );
        let error = Images::new(shape, vec![0; 24], Some(vec![1])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "labels: found 1, expected 2, one per image"
        );
        assert!(Images::new(ImageShape::square(2, 2), vec![], None).is_err());
        assert!(Images::new(ImageShape::square(1, 0), vec![], None).is_err());
    }
}
