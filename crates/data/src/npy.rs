use std::io::{self, Read, Write};
use std::path::Path;

use crate::stream::Stream;
use crate::{Error, ImageShape, Images};

const RESAVE: &str = "save it again with numpy.save as a uint8 array of shape [n, height, width, 1 or 3], \
     [n, 1 or 3, height, width] or [n, height, width]";
const RESAVE_FLOATS: &str = "save it again with numpy.savez as float64 in the usual (C) order";
/// NumPy's own limit on headers is 10,000 bytes.
const LONGEST_HEADER: usize = 1 << 16;

/// Reads at most the first `limit` images of a NumPy array file, `.npy` or `.npy.gz`: unsigned bytes
/// of shape `[n, height, width, c]`, `[n, c, height, width]` (`c` is 1 or 3; if both would do, the
/// first is meant) or `[n, height, width]`. They come as `[n, c, height, width]`, without labels.
///
/// # Errors
///
/// [`Error::Read`], [`Error::Truncated`], [`Error::Damaged`], [`Error::WebPage`], or
/// [`Error::Unexpected`] for another type, another shape, no image at all, or several arrays or
/// objects instead of one array.
pub fn read_npy(path: &Path, limit: Option<usize>) -> Result<Images, Error> {
    let mut stream = Stream::open(path, "a .npy file")?;
    let header = Header::read(path, &mut stream, RESAVE)?;
    // A byte has no byte order, so any mark will do.
    header.check_type(
        path,
        &["u1", "|u1", "<u1", ">u1", "=u1"],
        "unsigned bytes ('|u1')",
        RESAVE,
    )?;
    let unusable = |expected| {
        let found = format!("an array of shape {:?}", header.shape);
        Error::unexpected(path, found, expected, RESAVE)
    };
    let (shape, axes) = layout(&header.shape).ok_or_else(|| {
        unusable("at least one image, of 1 or 3 channels, by its last or second axis")
    })?;
    let total = header
        .shape
        .iter()
        .try_fold(1_usize, |n, &dim| n.checked_mul(dim));
    let total = total.ok_or_else(|| unusable("one that fits in memory"))?;

    let count = header.shape[0];
    let read = limit.map_or(count, |limit| limit.min(count));
    // In Fortran order every image is spread over the whole file.
    let whole = header.fortran_order || read == count;
    let bytes = if whole { total } else { read * shape.values() };
    let bytes = stream.bytes(bytes, "the array")?;
    if whole {
        stream.end("the array")?;
    }

    let strides = strides(&header);
    let [of_channel, of_row, of_column] = axes.map(|axis| axis.map_or(0, |axis| strides[axis]));
    let mut pixels = Vec::with_capacity(read * shape.values());
    for image in 0..read {
        for channel in 0..shape.channels {
            for row in 0..shape.height {
                let start = image * strides[0] + channel * of_channel + row * of_row;
                pixels.extend((0..shape.width).map(|column| bytes[start + column * of_column]));
            }
        }
    }
    Images::new(shape, pixels, None)
}

/// Reads an array of floating-point numbers in the `.npy` form, float64 or float32, from `content`:
/// its shape and its values, row by row. `path` is named in errors.
///
/// # Errors
///
/// As [`read_npy`], for other types and for arrays in Fortran order.
pub fn read_float_npy(path: &Path, content: impl Read) -> Result<(Vec<usize>, Vec<f64>), Error> {
    let mut stream = Stream::new(path, content);
    let header = Header::read(path, &mut stream, RESAVE_FLOATS)?;
    let expected = "float64 ('<f8') or float32 ('<f4')";
    header.check_type(path, &["<f8", "<f4"], expected, RESAVE_FLOATS)?;
    let shape = header.shape;
    let width = if header.descr.contains('8') { 8 } else { 4 };
    let bytes = shape.iter().try_fold(width, |n, &dim| dim.checked_mul(n));
    let fits = bytes.filter(|_| !header.fortran_order || shape.len() < 2);
    let bytes = fits.ok_or_else(|| {
        let order = if header.fortran_order { "Fortran" } else { "C" };
        let found = format!("an array of shape {shape:?} in {order} order");
        let expected = "one in C order that fits in memory";
        Error::unexpected(path, found, expected, RESAVE_FLOATS)
    })?;
    let bytes = stream.bytes(bytes, "the array")?;
    stream.end("the array")?;
    let values = if width == 8 {
        let (values, _) = bytes.as_chunks();
        values
            .iter()
            .map(|value| f64::from_le_bytes(*value))
            .collect()
    } else {
        let (values, _) = bytes.as_chunks();
        let values = values.iter().map(|value| f32::from_le_bytes(*value));
        values.map(f64::from).collect()
    };
    Ok((shape, values))
}

/// Writes float64 values, row by row, as a `.npy` file of that shape.
///
/// # Errors
///
/// What `out` says.
pub fn write_float_npy(mut out: impl Write, shape: &[usize], values: &[f64]) -> io::Result<()> {
    let sizes: Vec<String> = shape.iter().map(|size| format!("{size},")).collect();
    let sizes = sizes.join(" ");
    let mut header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({sizes}), }}");
    // Magic, version, length, header and its line end: a multiple of 64 bytes, as NumPy has it.
    while !(header.len() + 11).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    out.write_all(b"\x93NUMPY\x01\x00")?;
    out.write_all(&(header.len() as u16).to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    for part in values.chunks(1 << 13) {
        let bytes: Vec<u8> = part.iter().flat_map(|value| value.to_le_bytes()).collect();
        out.write_all(&bytes)?;
    }
    Ok(())
}

/// The shape of one image, and the axes of the array that are its channel (if any), row and column.
fn layout(shape: &[usize]) -> Option<(ImageShape, [Option<usize>; 3])> {
    let (sizes, axes) = match *shape {
        [_, height, width, channels @ (1 | 3)] => {
            ([channels, height, width], [Some(3), Some(1), Some(2)])
        }
        [_, channels @ (1 | 3), height, width] => {
            ([channels, height, width], [Some(1), Some(2), Some(3)])
        }
        [_, height, width] => ([1, height, width], [None, Some(1), Some(2)]),
        _ => return None,
    };
    let [channels, height, width] = sizes;
    let shape_of_one = ImageShape {
        channels,
        height,
        width,
    };
    (!shape.contains(&0)).then_some((shape_of_one, axes))
}

/// How far apart neighbours along each axis lie.
fn strides(header: &Header) -> Vec<usize> {
    let mut strides = vec![0; header.shape.len()];
    let mut step = 1;
    let mut place = |(stride, size): (&mut usize, &usize)| {
        *stride = step;
        step *= size;
    };
    let axes = strides.iter_mut().zip(&header.shape);
    if header.fortran_order {
        axes.for_each(&mut place);
    } else {
        axes.rev().for_each(&mut place);
    }
    strides
}

/// What the header says of an array.
struct Header {
    /// The type of its values, as written.
    descr: String,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl Header {
    fn read(path: &Path, stream: &mut Stream<'_>, way_out: &'static str) -> Result<Self, Error> {
        const PART: &str = "the .npy header";
        let magic = stream.array::<6>(PART)?;
        if magic != *b"\x93NUMPY" {
            let found = format!("{magic:02x?} at its start");
            let expected = "a .npy file, which starts with \\x93NUMPY";
            return Err(Error::unexpected(path, found, expected, way_out));
        }
        let [major, minor] = stream.array(PART)?;
        let length = match major {
            1 => usize::from(u16::from_le_bytes(stream.array(PART)?)),
            2 | 3 => u32::from_le_bytes(stream.array(PART)?) as usize,
            _ => {
                let found = format!(".npy version {major}.{minor}");
                return Err(Error::unexpected(path, found, "version 1, 2 or 3", way_out));
            }
        };
        if length > LONGEST_HEADER {
            let found = format!("a .npy header of {length} bytes");
            return Err(Error::unexpected(path, found, "a short one", way_out));
        }
        let text = stream.bytes(length, PART)?;
        let text = String::from_utf8_lossy(&text);
        let unclear = || {
            let found = format!("the .npy header {:?}", text.trim());
            let expected = "descr, fortran_order and shape of one array";
            Error::unexpected(path, found, expected, way_out)
        };
        let descr = entry(&text, "descr").ok_or_else(unclear)?;
        let fortran_order = match entry(&text, "fortran_order").ok_or_else(unclear)? {
            "True" => true,
            "False" => false,
            _ => return Err(unclear()),
        };
        let shape = entry(&text, "shape").and_then(tuple).ok_or_else(unclear)?;
        Ok(Self {
            descr: descr.to_owned(),
            fortran_order,
            shape,
        })
    }

    /// Refuses values of other than these types.
    fn check_type(
        &self,
        path: &Path,
        types: &[&str],
        expected: &str,
        way_out: &'static str,
    ) -> Result<(), Error> {
        if types.contains(&self.descr.trim_matches(['\'', '"'])) {
            return Ok(());
        }
        let found = format!("values of type {}", self.descr);
        Err(Error::unexpected(path, found, expected, way_out))
    }
}

/// The value of `key` in a Python dictionary of which no string holds a comma, a bracket or a brace.
fn entry<'a>(dictionary: &'a str, key: &str) -> Option<&'a str> {
    let quoted = [format!("'{key}'"), format!("\"{key}\"")];
    let start = quoted
        .iter()
        .find_map(|quoted| Some(dictionary.find(quoted)? + quoted.len()))?;
    let value = dictionary[start..]
        .trim_start()
        .strip_prefix(':')?
        .trim_start();
    let end = match value.chars().next()? {
        '(' => value.find(')')? + 1,
        '[' => value.find(']')? + 1,
        _ => value.find([',', '}'])?,
    };
    Some(value[..end].trim_end())
}

/// The numbers of a Python tuple; a last comma is allowed.
fn tuple(text: &str) -> Option<Vec<usize>> {
    let inner = text.strip_prefix('(')?.strip_suffix(')')?.trim();
    let inner = inner.strip_suffix(',').unwrap_or(inner);
    if inner.is_empty() {
        return Some(Vec::new());
    }
    inner
        .split(',')
        .map(|number| number.trim().parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn npy(version: u8, dictionary: &str, values: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY".to_vec();
        bytes.extend([version, 0]);
        match version {
            1 => bytes.extend((dictionary.len() as u16).to_le_bytes()),
            _ => bytes.extend((dictionary.len() as u32).to_le_bytes()),
        }
        bytes.extend(dictionary.bytes());
        bytes.extend(values);
        bytes
    }

    fn header(descr: &str, fortran: bool, shape: &str) -> String {
        let order = if fortran { "True" } else { "False" };
        format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}   \n")
    }

    fn read(content: &[u8], limit: Option<usize>) -> Result<Images, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        read_npy(file.path(), limit).map_err(|error| {
            let text = error.to_string();
            assert!(text.starts_with(file.path().to_str().unwrap()), "{text}");
            text
        })
    }

    /// The value of an image's channel, row and column.
    fn value(n: usize, c: usize, h: usize, w: usize) -> u8 {
        (n * 100 + c * 30 + h * 5 + w) as u8
    }

    const COUNT: usize = 3;
    const HEIGHT: usize = 4;
    const WIDTH: usize = 5;

    /// Values in the order of nested loops over `sizes`, outermost first.
    fn nested(sizes: [usize; 4], value: impl Fn([usize; 4]) -> u8) -> Vec<u8> {
        let total = sizes.iter().product();
        let places = (0..total).map(|mut flat| {
            let mut place = [0; 4];
            for axis in (0..4).rev() {
                place[axis] = flat % sizes[axis];
                flat /= sizes[axis];
            }
            place
        });
        places.map(value).collect()
    }

    #[test]
    fn every_layout_gives_the_same_images() {
        let (n, h, w) = (COUNT, HEIGHT, WIDTH);
        let nchw = nested([n, 3, h, w], |[n, c, h, w]| value(n, c, h, w));
        let nhwc = nested([n, h, w, 3], |[n, h, w, c]| value(n, c, h, w));
        let nhwc_fortran = nested([3, w, h, n], |[c, w, h, n]| value(n, c, h, w));
        let nchw_fortran = nested([w, h, 3, n], |[w, h, c, n]| value(n, c, h, w));
        let shape = ImageShape {
            channels: 3,
            height: h,
            width: w,
        };
        let wanted = Images::new(shape, nchw.clone(), None).unwrap();
        for (version, fortran, dims, values) in [
            (1, false, "(3, 3, 4, 5)", nchw),
            (2, false, "(3, 4, 5, 3)", nhwc),
            (3, true, "(3, 4, 5, 3)", nhwc_fortran),
            (1, true, "(3, 3, 4, 5)", nchw_fortran),
        ] {
            let file = npy(version, &header("'|u1'", fortran, dims), &values);
            assert_eq!(read(&file, None).unwrap(), wanted, "{dims} {fortran}");
            assert_eq!(read(&file, Some(2)).unwrap(), wanted.clone().take(2));
            assert_eq!(read(&file, Some(20)).unwrap(), wanted);
        }
    }

    #[test]
    fn grey_arrays_need_no_channel_axis() {
        let values: Vec<u8> = (0..60).collect();
        for dims in ["(3, 4, 5)", "(3, 4, 5, 1)", "(3, 1, 4, 5)"] {
            let images = read(&npy(1, &header("'|u1'", false, dims), &values), None).unwrap();
            assert_eq!((images.len(), images.shape().channels), (3, 1), "{dims}");
            assert_eq!(images.pixels(), values);
        }
    }

    #[test]
    fn gzip_is_unpacked_and_a_cut_is_found() {
        let plain = npy(1, &header("'|u1'", false, "(1, 40, 50)"), &[9; 2000]);
        let mut gz = GzEncoder::new(Vec::new(), Compression::default());
        gz.write_all(&plain).unwrap();
        let packed = gz.finish().unwrap();
        assert_eq!(read(&packed, None).unwrap(), read(&plain, None).unwrap());
        for cut in [plain.len() - 1, 20] {
            assert!(
                read(&plain[..cut], None)
                    .unwrap_err()
                    .contains("ends inside")
            );
        }
        let error = read(&packed[..packed.len() - 3], None).unwrap_err();
        assert!(error.contains("ends inside"), "{error}");
    }

    #[test]
    fn wrong_arrays_are_refused() {
        let usual = |shape: &str| npy(1, &header("'|u1'", false, shape), &[0; 60]);
        let cases = [
            (
                npy(1, &header("'<f4'", false, "(1, 4, 5)"), &[0; 80]),
                "found values of type '<f4', expected unsigned bytes",
            ),
            (
                npy(1, &header("[('a', '|u1')]", false, "(1, 4, 5)"), &[]),
                "found values of type [('a', '|u1')]",
            ),
            (
                npy(1, &header("'|O'", false, "(2,)"), &[]),
                "found values of type '|O'",
            ),
            (
                usual("(0, 4, 5)"),
                "found an array of shape [0, 4, 5], expected at least one image",
            ),
            (usual("(3, 0, 5)"), "shape [3, 0, 5]"),
            (usual("(2, 5, 3, 2)"), "shape [2, 5, 3, 2]"),
            (usual("(60,)"), "shape [60]"),
            (usual("()"), "shape []"),
            (usual("(4, 4, 5)"), "ends inside the array"),
            (usual("(2, 4, 5)"), "more bytes after the array"),
            (usual("(9999999999, 9999999999, 3)"), "fits in memory"),
            (usual("(-1, 4, 5)"), "found the .npy header"),
            (npy(4, "{}", &[]), "found .npy version 4.0"),
            (npy(2, "{}", &[]), "found the .npy header \"{}\""),
            (b"PK\x03\x04 an .npz".to_vec(), "expected a .npy file"),
            (b"<html>".to_vec(), "this is a web page, not a .npy file"),
        ];
        for (content, expected) in cases {
            let error = read(&content, None).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn floats_go_out_and_come_back() {
        let path = Path::new("mu.npy");
        let values = [0.1, -2.5e300, f64::MIN_POSITIVE, 4.0, 5.0, 6.0];
        for shape in [&[6][..], &[2, 3], &[1, 6, 1]] {
            let mut file = Vec::new();
            write_float_npy(&mut file, shape, &values).unwrap();
            let found = read_float_npy(path, &file[..]).unwrap();
            assert_eq!(found, (shape.to_vec(), values.to_vec()));
            let cut = read_float_npy(path, &file[..file.len() - 1]).unwrap_err();
            assert!(cut.to_string().contains("ends inside"), "{cut}");
        }
        let bytes: Vec<u8> = [1.5_f32, -3.0]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let narrow = npy(1, &header("'<f4'", false, "(2,)"), &bytes);
        let found = read_float_npy(path, &narrow[..]).unwrap();
        assert_eq!(found, (vec![2], vec![1.5, -3.0]));
        for (file, expected) in [
            (npy(1, &header("'|u1'", false, "(2,)"), &[1, 2]), "float64"),
            (
                npy(1, &header("'<f8'", true, "(1, 2)"), &[0; 16]),
                "C order",
            ),
            (
                npy(1, &header("'<f8'", false, "(2,)"), &[0; 24]),
                "more bytes",
            ),
        ] {
            let error = read_float_npy(path, &file[..]).unwrap_err().to_string();
            assert!(
                error.starts_with("mu.npy: ") && error.contains(expected),
                "{error}"
            );
        }
    }
}
