//! House numbers made in code, for machines without SVHN.
//!
//! Each image is a crop around one digit of a house number, as in SVHN's 32x32 format: the digit and
//! parts of its neighbours, painted or mounted on a wall or plate, lit, and photographed badly. The
//! digits are drawn with pen strokes; no font is used.
//!
//! Image `i` of seed `s` comes from its own ChaCha8 stream keyed by (s, i), so a small set is a prefix
//! of a larger one and the number of threads changes nothing. Pixels are computed with the operations
//! that IEEE 754 rounds exactly (+ - * / and square roots; no platform `sin` or `exp`), so they should
//! be equal on every machine; a target that rounds otherwise may differ by one grey level.

mod glyph;
mod photo;
mod random;
mod raster;
mod scene;
mod surface;

use rayon::prelude::*;

use photo::Photo;
use random::Draws;
use scene::Scene;

/// Colour channels of every image: red, green, blue.
const CHANNELS: usize = 3;

/// The smallest image in which a digit can be drawn, in pixels.
const MIN_SIZE: usize = 8;

/// Third word of the stream's key, so that no other use of (seed, i) meets the same numbers: "housenum".
const PURPOSE: u64 = u64::from_le_bytes(*b"housenum");

/// `count` images of house-number digits, and their labels.
///
/// Returns pixels `[count, 3, size, size]`, row-major, 0 to 255, and `count` labels 0 to 9, each digit
/// about equally often. One seed gives one endless set: image `i` does not depend on `count`, and at
/// another `size` it shows the same scene.
///
/// # Panics
///
/// If `size` is less than 8.
pub fn house_numbers(seed: u64, count: usize, size: usize) -> (Vec<u8>, Vec<u8>) {
    assert!(
        size >= MIN_SIZE,
        "house numbers need at least {MIN_SIZE}x{MIN_SIZE} pixels, not {size}x{size}"
    );
    let mut pixels = vec![0; count * CHANNELS * size * size];
    let mut labels = vec![0; count];
    pixels
        .par_chunks_exact_mut(CHANNELS * size * size)
        .zip(&mut labels)
        .enumerate()
        .for_each(|(index, (image, label))| *label = house_number(seed, index as u64, size, image));
    (pixels, labels)
}

/// Draws image `index` into `image` and returns its label.
fn house_number(seed: u64, index: u64, size: usize, image: &mut [u8]) -> u8 {
    let mut draws = Draws::keyed([seed, index, PURPOSE, 0]);
    let label = draws.below(10) as u8;
    let scene = Scene::draw(label, &mut draws);
    let photo = Photo::draw(&mut draws);
    photo.take(scene.render(size), size, image, &mut draws);
    label
}

#[cfg(test)]
mod tests;
