//! The small photograph: out of focus, colour fringes, sharpened, noisy.

use super::glyph::Point;
use super::random::Draws;
use super::raster::blur;

/// The pixel width that lengths below are given in: crops are 32 across in SVHN.
const REFERENCE_SIZE: f32 = 32.0;

/// Camera faults of one image.
pub(super) struct Photo {
    /// Blur, standard deviation along x and y, in 1/32 of the crop.
    blur: Point,
    /// Sideways shift of red and, the other way, of blue, in 1/32 of the crop.
    fringe: f32,
    /// Share of the fine detail added again.
    sharpen: f32,
    /// Noise common to the channels and of each channel, in grey levels of 255.
    noise: f32,
    colour_noise: f32,
}

impl Photo {
    pub(super) fn draw(draws: &mut Draws) -> Self {
        let u = draws.unit();
        let sigma = 0.65 + 1.5 * u * u;
        let n = draws.unit();
        Self {
            blur: [
                sigma * draws.range(0.85, 1.3),
                sigma * draws.range(0.85, 1.1),
            ],
            fringe: if draws.chance(0.5) {
                draws.range(-0.55, 0.55)
            } else {
                0.0
            },
            sharpen: if draws.chance(0.35) {
                draws.range(0.2, 0.8)
            } else {
                0.0
            },
            noise: 0.2 + 2.0 * n * n,
            colour_noise: 0.2 + 0.8 * n * n,
        }
    }

    /// Takes the picture: `scene` holds red, green and blue planes of `size` x `size`, 0 to 1;
    /// `pixels` receives them one after the other.
    pub(super) fn take(
        &self,
        mut scene: [Vec<f32>; 3],
        size: usize,
        pixels: &mut [u8],
        draws: &mut Draws,
    ) {
        let pixel = size as f32 / REFERENCE_SIZE;
        for (plane, side) in scene.iter_mut().zip([1.0, 0.0, -1.0]) {
            shift(plane, size, side * self.fringe * pixel);
            blur(plane, size, self.blur.map(|s| s * pixel));
            if self.sharpen > 0.0 {
                let mut soft = plane.clone();
                blur(&mut soft, size, self.blur.map(|s| 1.2 * s * pixel));
                for (value, soft) in plane.iter_mut().zip(soft) {
                    *value += self.sharpen * (*value - soft);
                }
            }
        }
        let grain: Vec<f32> = (0..size * size)
            .map(|_| self.noise * draws.bell())
            .collect();
        for (plane, pixels) in scene.iter().zip(pixels.chunks_exact_mut(size * size)) {
            for ((value, grain), pixel) in plane.iter().zip(&grain).zip(pixels) {
                let level = 255.0 * value + grain + self.colour_noise * draws.bell();
                *pixel = level.round().clamp(0.0, 255.0) as u8;
            }
        }
    }
}

/// Moves every row right by `by` pixels, reading between pixels linearly; edges repeat.
fn shift(plane: &mut [f32], size: usize, by: f32) {
    if by == 0.0 {
        return;
    }
    let mut line = vec![0.0; size];
    let last = (size - 1) as f32;
    for row in plane.chunks_exact_mut(size) {
        line.copy_from_slice(row);
        for (x, value) in row.iter_mut().enumerate() {
            let from = (x as f32 - by).clamp(0.0, last);
            let left = from.floor();
            let (near, t) = (left as usize, from - left);
            *value = line[near] + (line[(near + 1).min(size - 1)] - line[near]) * t;
        }
    }
}
