//! Which pixels a chain may see.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use rand::RngExt;
use shortrun_data::ImageShape;
use shortrun_langevin::{NoiseKey, Purpose};

use crate::EvalError;

/// Which pixels of an image are hidden. Hidden pixels do not count in the energy.
#[derive(Clone, Debug, PartialEq)]
pub enum Mask {
    /// `center:16`: a box of that side in the middle.
    Centre(usize),
    /// `left`, `right`, `top`, `bottom`: that half.
    Half(Side),
    /// `random:0.8`: each pixel with that probability, drawn anew for every image.
    Random(f64),
    /// `blocks:4x8`: so many boxes of that side at random places, drawn anew for every image.
    Blocks {
        /// How many.
        count: usize,
        /// Their side in pixels.
        side: usize,
    },
    /// `FILE.png`: pixels that are darker than mid-grey, of a picture of the images' own size.
    File(PathBuf),
}

/// A half of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Columns below the middle.
    Left,
    /// The other columns.
    Right,
    /// Rows above the middle.
    Top,
    /// The other rows.
    Bottom,
}

impl FromStr for Mask {
    type Err = EvalError;

    fn from_str(text: &str) -> Result<Self, EvalError> {
        let unclear = || EvalError::Mask {
            mask: text.to_owned(),
            reason: "write center:SIDE, left, right, top, bottom, random:RATE, \
                     blocks:COUNTxSIDE or a .png file"
                .to_owned(),
        };
        if text.ends_with(".png") {
            return Ok(Self::File(text.into()));
        }
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        let mask = match (name, value) {
            ("left", "") => Self::Half(Side::Left),
            ("right", "") => Self::Half(Side::Right),
            ("top", "") => Self::Half(Side::Top),
            ("bottom", "") => Self::Half(Side::Bottom),
            ("center" | "centre", side) => Self::Centre(side.parse().map_err(|_| unclear())?),
            ("random", rate) => Self::Random(rate.parse().map_err(|_| unclear())?),
            ("blocks", value) => {
                let (count, side) = value.split_once('x').ok_or_else(unclear)?;
                Self::Blocks {
                    count: count.parse().map_err(|_| unclear())?,
                    side: side.parse().map_err(|_| unclear())?,
                }
            }
            _ => return Err(unclear()),
        };
        Ok(mask)
    }
}

impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Centre(side) => write!(f, "center:{side}"),
            Self::Half(Side::Left) => f.write_str("left"),
            Self::Half(Side::Right) => f.write_str("right"),
            Self::Half(Side::Top) => f.write_str("top"),
            Self::Half(Side::Bottom) => f.write_str("bottom"),
            Self::Random(rate) => write!(f, "random:{rate}"),
            Self::Blocks { count, side } => write!(f, "blocks:{count}x{side}"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Mask {
    /// Which pixels of each of `count` images are seen: `[count][height * width]`.
    ///
    /// # Errors
    /// If the mask does not fit the images, or hides every pixel or none of an image.
    pub fn seen(
        &self,
        shape: ImageShape,
        count: usize,
        seed: u64,
    ) -> Result<Vec<Vec<bool>>, EvalError> {
        let fault = |reason: String| EvalError::Mask {
            mask: self.to_string(),
            reason,
        };
        let (height, width) = (shape.height, shape.width);
        match self {
            Self::Centre(side) | Self::Blocks { side, .. } if *side > height.min(width) => {
                let reason = format!("is larger than the images, which are {width} x {height}");
                return Err(fault(reason));
            }
            Self::Blocks { count, .. } if *count > height * width => {
                let pixels = height * width;
                let reason = format!("has more blocks than the {pixels} pixels of an image");
                return Err(fault(reason));
            }
            Self::Random(rate) if !(0.0..=1.0).contains(rate) => {
                return Err(fault("the rate must be in [0, 1]".to_owned()));
            }
            _ => {}
        }
        let drawn = match self {
            Self::File(path) => Some(read(path, [height, width]).map_err(fault)?),
            _ => None,
        };
        (0..count)
            .map(|image| {
                let seen = match &drawn {
                    Some(seen) => seen.clone(),
                    None => self.of_image(image, [height, width], seed),
                };
                let visible = seen.iter().filter(|seen| **seen).count();
                if visible == 0 {
                    let reason = format!("hides every pixel of image {image}: nothing to go by");
                    return Err(fault(reason));
                }
                if visible == seen.len() {
                    let reason = format!("hides no pixel of image {image}: nothing to fill in");
                    return Err(fault(reason));
                }
                Ok(seen)
            })
            .collect()
    }

    fn of_image(&self, image: usize, [height, width]: [usize; 2], seed: u64) -> Vec<bool> {
        let key = NoiseKey {
            seed,
            iteration: image as u64,
            purpose: Purpose::Mask,
        };
        let mut rng = key.rng(0);
        let pixels = |hidden: &mut dyn FnMut(usize, usize) -> bool| -> Vec<bool> {
            let places = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
            places.map(|(y, x)| !hidden(y, x)).collect()
        };
        let inside = |at: usize, from: usize, side: usize| (from..from + side).contains(&at);
        match self {
            Self::Centre(side) => {
                let (top, left) = ((height - side) / 2, (width - side) / 2);
                pixels(&mut |y, x| inside(y, top, *side) && inside(x, left, *side))
            }
            Self::Half(Side::Left) => pixels(&mut |_, x| x < width / 2),
            Self::Half(Side::Right) => pixels(&mut |_, x| x >= width / 2),
            Self::Half(Side::Top) => pixels(&mut |y, _| y < height / 2),
            Self::Half(Side::Bottom) => pixels(&mut |y, _| y >= height / 2),
            Self::Random(rate) => pixels(&mut |_, _| rng.random::<f64>() < *rate),
            Self::Blocks { count, side } => {
                let corners: Vec<(usize, usize)> = (0..*count)
                    .map(|_| {
                        let top = rng.random_range(0..=height - side);
                        (top, rng.random_range(0..=width - side))
                    })
                    .collect();
                pixels(&mut |y, x| {
                    let mut all = corners.iter();
                    all.any(|(top, left)| inside(y, *top, *side) && inside(x, *left, *side))
                })
            }
            // Read once, for all images.
            Self::File(_) => Vec::new(),
        }
    }
}

/// The light pixels of a picture.
fn read(path: &Path, [height, width]: [usize; 2]) -> Result<Vec<bool>, String> {
    let picture = image::open(path).map_err(|error| error.to_string())?;
    let picture = picture.to_luma8();
    let found = (picture.width() as usize, picture.height() as usize);
    if found != (width, height) {
        return Err(format!(
            "is {} x {} pixels, the images are {width} x {height}",
            found.0, found.1
        ));
    }
    Ok(picture.pixels().map(|pixel| pixel.0[0] >= 128).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn hidden(mask: &str) -> Vec<usize> {
        let mask: Mask = mask.parse().unwrap();
        let seen = mask.seen(ImageShape::square(3, 4), 2, 1).unwrap();
        let count = |seen: &Vec<bool>| seen.iter().filter(|seen| !**seen).count();
        seen.iter().map(count).collect()
    }

    #[test]
    fn masks_hide_what_they_say() {
        assert_eq!(hidden("center:2"), [4, 4]);
        let centre = Mask::Centre(2)
            .seen(ImageShape::square(1, 4), 1, 1)
            .unwrap();
        let places: Vec<usize> = (0..16).filter(|place| !centre[0][*place]).collect();
        assert_eq!(places, [5, 6, 9, 10]);
        for half in ["left", "right", "top", "bottom"] {
            assert_eq!(hidden(half), [8, 8]);
        }
        assert!(
            hidden("blocks:2x2")
                .iter()
                .all(|count| (4..=8).contains(count))
        );
        let rate = Mask::Random(0.3)
            .seen(ImageShape::square(1, 64), 1, 7)
            .unwrap();
        let share = rate[0].iter().filter(|seen| !**seen).count() as f64 / 4096.0;
        // Of a binomial: four standard deviations.
        assert!(
            (share - 0.3).abs() < 4.0 * (0.21f64 / 4096.0).sqrt(),
            "{share}"
        );
    }

    #[test]
    fn names_come_back_and_nonsense_is_refused() {
        for name in ["center:16", "left", "random:0.5", "blocks:3x8", "mask.png"] {
            assert_eq!(name.parse::<Mask>().unwrap().to_string(), name);
        }
        for name in [
            "", "center", "center:x", "blocks:3", "random:", "middle", "left:3",
        ] {
            assert!(name.parse::<Mask>().is_err(), "{name}");
        }
        let shape = ImageShape::square(1, 4);
        for mask in [
            "center:4",
            "center:0",
            "center:5",
            "random:1",
            "random:2",
            "blocks:0x2",
            "blocks:17x1",
            "blocks:1000000000000000000x1",
        ] {
            assert!(
                mask.parse::<Mask>().unwrap().seen(shape, 1, 1).is_err(),
                "{mask}"
            );
        }
    }
}
