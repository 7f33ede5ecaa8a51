//! Pictures in rows and columns.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use atomic_write_file::AtomicWriteFile;
use image::{Rgb, RgbImage};
use shortrun_data::ImageShape;

use crate::EvalError;

/// Pixels between pictures.
const GAP: usize = 2;
/// Small pictures are shown enlarged, so that a person can see them.
const ENLARGE: usize = 2;

/// A grid of equally large pictures.
#[derive(Clone, Debug)]
pub struct Grid {
    shape: ImageShape,
    columns: usize,
    /// `[n, c, h, w]` in [-1, 1], row by row.
    pictures: Vec<f32>,
}

impl Grid {
    /// Pictures (`[n, c, h, w]` in [-1, 1], row by row) in `columns` columns.
    pub fn new(shape: ImageShape, columns: usize, pictures: Vec<f32>) -> Self {
        Self {
            shape,
            columns: columns.max(1),
            pictures,
        }
    }

    /// Pairs of rows: `above` over `below`, `columns` to a row.
    pub fn pairs(shape: ImageShape, columns: usize, above: &[f32], below: &[f32]) -> Self {
        Self::stacks(shape, columns, &[above, below])
    }

    /// Stacks of rows: the first `columns` pictures of each kind one above the other, then the next.
    /// All kinds have equally many pictures.
    pub fn stacks(shape: ImageShape, columns: usize, kinds: &[&[f32]]) -> Self {
        let row = columns.max(1) * shape.values();
        let length = kinds.first().map_or(0, |kind| kind.len());
        let mut pictures = Vec::new();
        for from in (0..length).step_by(row.max(1)) {
            for kind in kinds {
                let part = &kind[from..length.min(from + row)];
                pictures.extend_from_slice(part);
                // A short last row is filled up, so that its like starts on a new one.
                pictures.resize(pictures.len() + row - part.len(), 1.0);
            }
        }
        Self::new(shape, columns, pictures)
    }

    /// The grid as one picture on white.
    pub fn draw(&self) -> RgbImage {
        let ImageShape {
            channels,
            height,
            width,
        } = self.shape;
        let count = self.pictures.len() / self.shape.values().max(1);
        let rows = count.div_ceil(self.columns).max(1);
        let size = |pictures: usize, pixels: usize| (pictures * (pixels + GAP) + GAP) as u32;
        let white = Rgb([255; 3]);
        let mut grid = RgbImage::from_pixel(size(self.columns, width), size(rows, height), white);
        let plane = height * width;
        for (place, picture) in self.pictures.chunks_exact(channels * plane).enumerate() {
            let left = size(place % self.columns, width);
            let top = size(place / self.columns, height);
            for y in 0..height {
                for x in 0..width {
                    let value = |c: usize| to_byte(picture[(c % channels) * plane + y * width + x]);
                    grid.put_pixel(
                        left + x as u32,
                        top + y as u32,
                        Rgb([value(0), value(1), value(2)]),
                    );
                }
            }
        }
        grid
    }

    /// The bytes of the grid as a PNG.
    ///
    /// # Errors
    /// If the encoder refuses it.
    pub fn png(&self) -> Result<Vec<u8>, EvalError> {
        encode(&self.draw()).map_err(|error| EvalError::Picture(error.to_string()))
    }

    /// Writes the grid as a PNG, twice as large.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_png(&self, path: impl AsRef<Path>) -> Result<(), EvalError> {
        let path = path.as_ref();
        let grid = self.draw();
        let [width, height] = [grid.width(), grid.height()].map(|side| side * ENLARGE as u32);
        let large =
            image::imageops::resize(&grid, width, height, image::imageops::FilterType::Nearest);
        let fail = |reason: String| EvalError::Write {
            path: path.to_owned(),
            reason,
        };
        let bytes = encode(&large).map_err(|error| fail(error.to_string()))?;
        write(path, &bytes).map_err(|error| fail(error.to_string()))
    }
}

/// A picture as a PNG, in memory: the encoder's own writer to a file tells nobody that the end did
/// not fit on the disk.
fn encode(picture: &RgbImage) -> Result<Vec<u8>, image::ImageError> {
    let mut bytes = io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Png)?;
    Ok(bytes.into_inner())
}

/// Whole or not at all: a full disk leaves an older file as it was. A device or a link is written
/// to as it is, for a renamed file would take its place.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        return fs::write(path, bytes);
    }
    let mut file = AtomicWriteFile::open(path)?;
    file.write_all(bytes)?;
    file.commit()
}

/// [-1, 1] to 0..=255; not a number is black.
fn to_byte(value: f32) -> u8 {
    ((value + 1.0) * 127.5).round().clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_laid_out_row_by_row() {
        let shape = ImageShape {
            channels: 1,
            height: 1,
            width: 1,
        };
        let grid = Grid::new(shape, 2, vec![-1.0, 0.0, 1.0]).draw();
        assert_eq!(grid.dimensions(), (8, 8));
        assert_eq!(grid.get_pixel(2, 2).0, [0; 3]);
        assert_eq!(grid.get_pixel(5, 2).0, [128; 3]);
        assert_eq!(grid.get_pixel(2, 5).0, [255; 3]);
    }

    #[test]
    fn a_written_grid_replaces_the_last_one_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("grid.png");
        for pixel in [-1.0, 1.0] {
            let grid = Grid::new(ImageShape::square(1, 1), 1, vec![pixel]);
            grid.write_png(&path).unwrap();
            let found = image::open(&path).unwrap().to_rgb8();
            assert_eq!(found.dimensions(), (10, 10));
            assert_eq!(found.get_pixel(4, 4).0, [to_byte(pixel); 3]);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_an_error() {
        let grid = Grid::new(ImageShape::square(1, 1), 1, vec![0.0]);
        let error = grid.write_png("/dev/full").unwrap_err().to_string();
        assert!(error.starts_with("cannot write /dev/full: "), "{error}");
    }

    #[test]
    fn pairs_keep_reconstructions_under_their_originals() {
        let shape = ImageShape {
            channels: 1,
            height: 1,
            width: 1,
        };
        let grid = Grid::pairs(shape, 2, &[-1.0, -1.0, -1.0], &[0.0, 0.0, 0.0]).draw();
        assert_eq!(grid.dimensions(), (8, 14));
        assert_eq!(grid.get_pixel(2, 8).0, [0; 3]);
        assert_eq!(grid.get_pixel(2, 11).0, [128; 3]);
        assert_eq!(grid.get_pixel(5, 11).0, [255; 3]);
    }
}
