use std::path::Path;

use crate::locate::locate;
use crate::{Error, ImageShape, Images, Split, mat5};

const SIDE: usize = 32;
const OFFICIAL: &str = "get the cropped digits (format 2) of SVHN, or run with --download";

/// The name of the official file of a split.
pub(crate) fn file_name(split: Split) -> &'static str {
    match split {
        Split::Train => "train_32x32.mat",
        Split::Test => "test_32x32.mat",
    }
}

/// Reads at most `limit` digits of one split from a folder with the official files:
/// `[n, 3, 32, 32]` with labels 0 to 9.
pub(crate) fn read(folder: &Path, split: Split, limit: Option<usize>) -> Result<Images, Error> {
    let names = [file_name(split).to_owned()];
    let path = locate(folder, &names, "put it there, or run with --download")?;
    let shape = ImageShape::square(3, SIDE);

    let most = limit.map(|limit| limit.saturating_mul(shape.values()));
    let array = mat5::read(&path, "X", most)?;
    let count = match array.dims[..] {
        [SIDE, SIDE, 3, count] if count > 0 => Some(count),
        // MATLAB drops the last dimension of a single image.
        [SIDE, SIDE, 3] => Some(1),
        _ => None,
    };
    let wrong = |array: &mat5::Array| {
        let expected = "[32, 32, 3, n] values of U8, n at least 1";
        Error::unexpected(
            &path,
            format!("X of {}", array.describe()),
            expected,
            OFFICIAL,
        )
    };
    let count = count.ok_or_else(|| wrong(&array))?;
    let columns = array.into_u8().map_err(|array| wrong(&array))?;
    let labels = read_labels(&path, count, limit)?;
    Images::new(shape, rows_first(&columns), Some(labels))
}

/// From column-major `[height, width, channel, n]` to row-major `[n, channel, height, width]`: within
/// each channel of each image rows and columns change places.
fn rows_first(columns: &[u8]) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(columns.len());
    for plane in columns.chunks_exact(SIDE * SIDE) {
        for row in 0..SIDE {
            pixels.extend(plane[row..].iter().step_by(SIDE));
        }
    }
    pixels
}

/// The labels 1 to 10 of `y`, 10 standing for the digit 0.
fn read_labels(path: &Path, count: usize, limit: Option<usize>) -> Result<Vec<u8>, Error> {
    let array = mat5::read(path, "y", limit)?;
    let wrong = |found, expected: String| Error::unexpected(path, found, expected, OFFICIAL);
    if array.dims.iter().product::<usize>() != count {
        let found = format!("y of {}", array.describe());
        return Err(wrong(found, format!("{count} labels, one per image")));
    }
    let digit = |label: f64| match label as u8 {
        digit if f64::from(digit) != label || digit > 10 => None,
        10 => Some(0),
        digit => Some(digit),
    };
    array
        .to_f64()
        .into_iter()
        .map(|label| {
            let found = || format!("a label {label}");
            digit(label).ok_or_else(|| wrong(found(), "1 to 10, 10 for the digit 0".into()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use flate2::{Compression, write::ZlibEncoder};
    use tempfile::TempDir;

    use super::*;

    /// Writes MATLAB 5 in either byte order.
    #[derive(Clone, Copy)]
    struct Writer {
        big: bool,
        packed: bool,
    }

    impl Writer {
        fn u32(self, number: u32) -> [u8; 4] {
            if self.big {
                number.to_be_bytes()
            } else {
                number.to_le_bytes()
            }
        }

        fn element(self, kind: u32, body: &[u8]) -> Vec<u8> {
            let mut bytes = [self.u32(kind), self.u32(body.len() as u32)].concat();
            bytes.extend(body);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            bytes
        }

        fn array(self, name: &str, class: u32, dims: &[u32], kind: u32, values: &[u8]) -> Vec<u8> {
            let dims: Vec<u8> = dims.iter().flat_map(|&dim| self.u32(dim)).collect();
            // Short names go into the tag, as MATLAB does.
            let mut short = self.u32((name.len() as u32) << 16 | 1).to_vec();
            short.extend(name.bytes());
            short.resize(8, 0);
            let body = [
                self.element(6, &[self.u32(class), self.u32(0)].concat()),
                self.element(5, &dims),
                short,
                self.element(kind, values),
            ]
            .concat();
            let array = self.element(14, &body);
            if !self.packed {
                return array;
            }
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(&array).unwrap();
            let packed = encoder.finish().unwrap();
            [&self.u32(15)[..], &self.u32(packed.len() as u32), &packed].concat()
        }

        fn file(self, arrays: &[Vec<u8>]) -> Vec<u8> {
            let mut file = b"MATLAB 5.0 MAT-file, made by a test".to_vec();
            file.resize(124, b' ');
            file.extend(if self.big { [1, 0] } else { [0, 1] });
            file.extend(if self.big { b"MI" } else { b"IM" });
            file.extend(arrays.concat());
            file
        }
    }

    const USUAL: Writer = Writer {
        big: false,
        packed: true,
    };
    const UINT8: u32 = 9;
    const DOUBLE: u32 = 6;

    /// The value of row `h`, column `w`, channel `c` of image `n`.
    fn value(h: usize, w: usize, c: usize, n: usize) -> u8 {
        (h * 7 + w * 3 + c * 50 + n * 11) as u8
    }

    /// `count` images, first index fastest.
    fn columns(count: usize) -> Vec<u8> {
        let mut values = Vec::new();
        for n in 0..count {
            for c in 0..3 {
                for w in 0..32 {
                    values.extend((0..32).map(|h| value(h, w, c, n)));
                }
            }
        }
        values
    }

    fn x(writer: Writer, count: usize) -> Vec<u8> {
        writer.array("X", UINT8, &[32, 32, 3, count as u32], 2, &columns(count))
    }

    fn y(writer: Writer, labels: &[u8]) -> Vec<u8> {
        writer.array("y", UINT8, &[labels.len() as u32, 1], 2, labels)
    }

    fn read_file(content: &[u8], limit: Option<usize>) -> Result<Images, String> {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("train_32x32.mat"), content).unwrap();
        read(folder.path(), Split::Train, limit).map_err(|error| {
            assert!(error.to_string().contains("train_32x32.mat: "), "{error}");
            error.to_string()
        })
    }

    fn check(images: &Images, count: usize) {
        assert_eq!(images.shape(), ImageShape::square(3, 32));
        assert_eq!(images.len(), count);
        for n in 0..count {
            for c in 0..3 {
                for h in 0..32 {
                    for w in 0..32 {
                        let read = images.image(n)[c * 1024 + h * 32 + w];
                        assert_eq!(read, value(h, w, c, n), "{n} {c} {h} {w}");
                    }
                }
            }
        }
    }

    #[test]
    fn every_pixel_is_in_its_place_in_either_byte_order_packed_or_not() {
        for big in [false, true] {
            for packed in [false, true] {
                let writer = Writer { big, packed };
                let file = writer.file(&[x(writer, 3), y(writer, &[10, 1, 9])]);
                let images = read_file(&file, None).unwrap();
                check(&images, 3);
                assert_eq!(images.labels().unwrap(), [0, 1, 9]);
            }
        }
    }

    #[test]
    fn labels_may_be_doubles_and_come_first() {
        for big in [false, true] {
            let writer = Writer { big, packed: true };
            let values = [2.0_f64, 10.0].map(|v| {
                if big {
                    v.to_be_bytes()
                } else {
                    v.to_le_bytes()
                }
            });
            let y = writer.array("y", DOUBLE, &[2, 1], 9, &values.concat());
            let images = read_file(&writer.file(&[y, x(writer, 2)]), None).unwrap();
            assert_eq!(images.labels().unwrap(), [2, 0]);
        }
    }

    #[test]
    fn a_limit_reads_the_first_images_alone() {
        let file = USUAL.file(&[x(USUAL, 5), y(USUAL, &[1, 2, 3, 4, 5])]);
        let images = read_file(&file, Some(2)).unwrap();
        check(&images, 2);
        assert_eq!(images.labels().unwrap(), [1, 2]);
        assert_eq!(read_file(&file, Some(50)).unwrap().len(), 5);
    }

    #[test]
    fn a_wrong_checksum_is_damage() {
        let mut x = x(USUAL, 5);
        let last = x.len() - 1;
        x[last] ^= 1;
        let error = read_file(&USUAL.file(&[x, y(USUAL, &[1, 2, 3, 4, 5])]), None).unwrap_err();
        assert!(error.contains("are damaged"), "{error}");
    }

    #[test]
    fn a_single_image_has_lost_its_last_dimension() {
        let x = USUAL.array("X", UINT8, &[32, 32, 3], 2, &columns(1));
        let images = read_file(&USUAL.file(&[x, y(USUAL, &[4])]), None).unwrap();
        check(&images, 1);
    }

    #[test]
    fn wrong_arrays_are_refused() {
        let labels = y(USUAL, &[1, 2]);
        let doubles: Vec<u8> = [1.0_f64; 32 * 32 * 3 * 2].map(f64::to_le_bytes).concat();
        let cases = [
            (
                vec![x(USUAL, 2)],
                "found arrays called [\"X\"], expected one called \"y\"",
            ),
            (vec![labels.clone()], "expected one called \"X\""),
            (
                vec![x(USUAL, 3), labels.clone()],
                "expected 3 labels, one per image",
            ),
            (
                vec![x(USUAL, 2), y(USUAL, &[1, 11])],
                "found a label 11, expected 1 to 10",
            ),
            (
                vec![x(USUAL, 0), y(USUAL, &[])],
                "found X of [32, 32, 3, 0]",
            ),
            (
                vec![
                    USUAL.array("X", DOUBLE, &[32, 32, 3, 2], 9, &doubles),
                    labels.clone(),
                ],
                "found X of [32, 32, 3, 2] values of F64",
            ),
            (
                vec![
                    USUAL.array("X", UINT8, &[28, 28, 3, 1], 2, &[0; 2352]),
                    labels.clone(),
                ],
                "found X of [28, 28, 3, 1] values of U8",
            ),
            (
                vec![
                    USUAL.array("X", UINT8, &[32, 32, 3, 9], 2, &columns(2)),
                    labels.clone(),
                ],
                "of [32, 32, 3, 9] U8 in 6144 bytes",
            ),
            (
                vec![
                    USUAL.array("X", UINT8, &[u32::MAX; 4], 2, &columns(2)),
                    labels,
                ],
                "in 6144 bytes",
            ),
            (vec![USUAL.array("X", 1, &[1, 1], 2, &[1])], "of class 1"),
        ];
        for (arrays, expected) in cases {
            let error = read_file(&USUAL.file(&arrays), None).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn wrong_files_are_refused() {
        let file = USUAL.file(&[x(USUAL, 2), y(USUAL, &[1, 2])]);
        let mut hdf5 = b"MATLAB 7.3 MAT-file".to_vec();
        hdf5.resize(600, 0);
        let cases: [(&[u8], &str); 6] = [
            (
                b"<!DOCTYPE html><title>404</title>",
                "this is a web page, not a MATLAB file; delete it and download again",
            ),
            (&hdf5, "found a MATLAB 7.3 file (HDF5)"),
            (&[7; 300], "found [07, 07] as its byte order mark"),
            (&file[..100], "ends inside the MATLAB header"),
            (
                &file[..file.len() / 2],
                "ends inside the element at byte 128",
            ),
            (&file[..file.len() - 1], "ends inside the element at byte"),
        ];
        for (content, expected) in cases {
            let error = read_file(content, None).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn no_single_damaged_byte_makes_it_panic() {
        let writer = Writer {
            big: false,
            packed: false,
        };
        let file = writer.file(&[x(writer, 1), y(writer, &[3])]);
        for at in (124..200).chain(file.len() - 80..file.len()) {
            for bit in [1, 0x80] {
                let mut damaged = file.clone();
                damaged[at] ^= bit;
                let _ = read_file(&damaged, None);
            }
        }
    }
}
