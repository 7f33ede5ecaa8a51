//! The part of the MATLAB 5 format that holds numeric arrays.
//!
//! A file is a header of 128 bytes and a row of elements, each a tag (type, size in bytes) and a
//! body. An array is an element of four elements: flags, dimensions, name, values in column-major
//! order. It may be packed: an element whose body is the zlib stream of another element.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::read::ZlibDecoder;

use crate::Error;
use crate::stream::{Stream, refuse_web_page};

const HEADER: u64 = 128;
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;
/// Longer flags, dimensions and names than any array has: a damaged size is not followed.
const LONGEST_PART: usize = 4096;

const ARRAY_HEADER: &str = "the header of an array";
const RESAVE: &str = "save it with MATLAB's -v7 or scipy.io.savemat, or download it again";

/// A numeric array.
pub(crate) struct Array {
    /// The dimensions, at least two; MATLAB drops trailing ones of size 1.
    pub(crate) dims: Vec<usize>,
    number: Number,
    order: Order,
    /// The leading values, in column-major order.
    bytes: Vec<u8>,
}

impl Array {
    /// The values if they are stored as unsigned bytes, else the array as it is.
    pub(crate) fn into_u8(self) -> Result<Vec<u8>, Self> {
        match self.number {
            Number::U8 => Ok(self.bytes),
            _ => Err(self),
        }
    }

    /// Dimensions and type, for a message.
    pub(crate) fn describe(&self) -> String {
        format!("{:?} values of {:?}", self.dims, self.number)
    }

    /// The values as floating-point numbers, whatever their type.
    pub(crate) fn to_f64(&self) -> Vec<f64> {
        let values = self.bytes.chunks_exact(self.number.width());
        values
            .map(|value| self.number.decode(self.order, value))
            .collect()
    }
}

/// Reads at most the first `most` values of the array called `name`.
pub(crate) fn read(path: &Path, name: &str, most: Option<usize>) -> Result<Array, Error> {
    let io = |source| Error::read(path, source);
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    let length = file.get_ref().metadata().map_err(io)?.len();
    refuse_web_page(path, &mut file, "a MATLAB file")?;
    let order = read_header(path, &mut file)?;

    let mut names = Vec::new();
    let mut start = HEADER;
    while start < length {
        file.seek(SeekFrom::Start(start)).map_err(io)?;
        let (kind, size) = read_tag(&mut Stream::new(path, &mut file), order)?;
        let end = start + 8 + u64::from(size);
        if end > length {
            let part = format!("the element at byte {start}");
            let path = path.to_owned();
            return Err(Error::Truncated { path, part });
        }
        let body = (&mut file).take(u64::from(size));
        let matrix = match kind {
            MATRIX => Some(Stream::new(path, body)),
            COMPRESSED => {
                let mut packed = Stream::new(path, ZlibDecoder::new(body));
                let (kind, _) = read_tag(&mut packed, order)?;
                (kind == MATRIX).then_some(packed)
            }
            _ => None,
        };
        if let Some(mut stream) = matrix {
            let header = MatrixHeader::read(path, &mut stream, order)?;
            if header.name == name {
                return header.read_values(path, stream, order, most);
            }
            names.push(header.name);
        }
        // Packed elements follow each other without a gap; the others start at multiples of 8.
        start = if kind == COMPRESSED {
            end
        } else {
            end.next_multiple_of(8)
        };
    }
    Err(Error::unexpected(
        path,
        format!("arrays called {names:?}"),
        format!("one called {name:?}"),
        "check that it is the right file, or download it again",
    ))
}

fn read_header(path: &Path, file: &mut BufReader<File>) -> Result<Order, Error> {
    let header: [u8; HEADER as usize] = Stream::new(path, file).array("the MATLAB header")?;
    let found = if header.starts_with(b"\x89HDF") || header.starts_with(b"MATLAB 7.3") {
        "a MATLAB 7.3 file (HDF5)".to_owned()
    } else {
        match [header[126], header[127]] {
            // The number 0x4d49, "MI", in the byte order of the file.
            [b'I', b'M'] => return Ok(Order::Little),
            [b'M', b'I'] => return Ok(Order::Big),
            mark => format!("{mark:02x?} as its byte order mark"),
        }
    };
    let expected = "a MATLAB 5 file, with IM or MI at byte 126";
    Err(Error::unexpected(path, found, expected, RESAVE))
}

struct MatrixHeader {
    name: String,
    dims: Vec<usize>,
    class: u8,
    complex: bool,
}

impl MatrixHeader {
    fn read(path: &Path, stream: &mut Stream<'_>, order: Order) -> Result<Self, Error> {
        let flags = read_part(path, stream, order)?;
        let flags = flags.first_chunk().map_or(0, |word| order.u32(*word));
        let sizes = read_part(path, stream, order)?;
        let sizes = sizes.as_chunks().0.iter();
        let name = read_part(path, stream, order)?;
        Ok(Self {
            name: String::from_utf8_lossy(&name).into_owned(),
            dims: sizes.map(|&size| order.u32(size) as usize).collect(),
            class: flags as u8,
            complex: flags & 0x800 != 0,
        })
    }

    fn read_values(
        self,
        path: &Path,
        mut stream: Stream<'_>,
        order: Order,
        most: Option<usize>,
    ) -> Result<Array, Error> {
        let Self {
            name,
            dims,
            class,
            complex,
        } = self;
        let wrong = |found: String| {
            let found = format!("array {name:?} {found}");
            Error::unexpected(path, found, "a full array of real numbers", RESAVE)
        };
        // Classes 6 to 15 are the full numeric arrays, double to uint64.
        if !(6..=15).contains(&class) || complex {
            return Err(wrong(format!("of class {class}, complex: {complex}")));
        }
        let Tag { kind, size, small } = Tag::read(path, &mut stream, order)?;
        let number = Number::of(kind).ok_or_else(|| wrong(format!("of value type {kind}")))?;
        let len = dims.iter().try_fold(1_usize, |n, &dim| n.checked_mul(dim));
        let len = len.filter(|len| len.checked_mul(number.width()) == Some(size));
        let len = len.ok_or_else(|| wrong(format!("of {dims:?} {number:?} in {size} bytes")))?;
        let read = most.map_or(len, |most| most.min(len)) * number.width();
        let bytes = match small {
            Some(bytes) => bytes[..read].to_vec(),
            None => {
                let part = format!("array {name:?}");
                let bytes = stream.bytes(read, &part)?;
                if read == size {
                    stream.drain(&part)?;
                }
                bytes
            }
        };
        Ok(Array {
            dims,
            number,
            order,
            bytes,
        })
    }
}

/// The body of one of the elements that make up an array: flags, dimensions or name.
fn read_part(path: &Path, stream: &mut Stream<'_>, order: Order) -> Result<Vec<u8>, Error> {
    let Tag { size, small, .. } = Tag::read(path, stream, order)?;
    if let Some(bytes) = small {
        return Ok(bytes[..size].to_vec());
    }
    if size > LONGEST_PART {
        let found = format!("an array header with a part of {size} bytes");
        return Err(Error::unexpected(path, found, "one of a few bytes", RESAVE));
    }
    let mut bytes = stream.bytes(size.next_multiple_of(8), ARRAY_HEADER)?;
    bytes.truncate(size);
    Ok(bytes)
}

/// The tag of an element inside an array.
struct Tag {
    kind: u32,
    size: usize,
    /// The body, if it is short enough to be in the tag itself.
    small: Option<[u8; 4]>,
}

impl Tag {
    fn read(path: &Path, stream: &mut Stream<'_>, order: Order) -> Result<Self, Error> {
        let (kind, size) = read_tag(stream, order)?;
        let (short, kind_of_short) = ((kind >> 16) as usize, kind & 0xffff);
        match short {
            0 => Ok(Self {
                kind,
                size: size as usize,
                small: None,
            }),
            1..=4 => Ok(Self {
                kind: kind_of_short,
                size: short,
                small: Some(order.bytes(size)),
            }),
            _ => {
                let found = format!("a short element of {short} bytes");
                Err(Error::unexpected(path, found, "at most 4", RESAVE))
            }
        }
    }
}

/// The two numbers of a tag as they stand.
fn read_tag(stream: &mut Stream<'_>, order: Order) -> Result<(u32, u32), Error> {
    let kind = order.u32(stream.array(ARRAY_HEADER)?);
    let size = order.u32(stream.array(ARRAY_HEADER)?);
    Ok((kind, size))
}

#[derive(Clone, Copy)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    /// The bytes that [`u32`](Self::u32) made a number of.
    fn bytes(self, number: u32) -> [u8; 4] {
        match self {
            Self::Little => number.to_le_bytes(),
            Self::Big => number.to_be_bytes(),
        }
    }
}

/// How a value is stored, which need not be the class of its array: whole doubles are stored as
/// integers to save room.
#[derive(Debug, Clone, Copy)]
enum Number {
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    F32,
    F64,
    I64,
    U64,
}

impl Number {
    fn of(kind: u32) -> Option<Self> {
        Some(match kind {
            1 => Self::I8,
            2 => Self::U8,
            3 => Self::I16,
            4 => Self::U16,
            5 => Self::I32,
            6 => Self::U32,
            7 => Self::F32,
            9 => Self::F64,
            12 => Self::I64,
            13 => Self::U64,
            _ => return None,
        })
    }

    fn width(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }

    /// The number in the [`width`](Self::width) bytes of `value`.
    fn decode(self, order: Order, value: &[u8]) -> f64 {
        let mut little = [0; 8];
        little[..value.len()].copy_from_slice(value);
        if let Order::Big = order {
            little[..value.len()].reverse();
        }
        let bits = u64::from_le_bytes(little);
        match self {
            Self::I8 => f64::from(bits as i8),
            Self::U8 => f64::from(bits as u8),
            Self::I16 => f64::from(bits as i16),
            Self::U16 => f64::from(bits as u16),
            Self::I32 => f64::from(bits as i32),
            Self::U32 => f64::from(bits as u32),
            Self::F32 => f64::from(f32::from_bits(bits as u32)),
            Self::F64 => f64::from_bits(bits),
            Self::I64 => bits as i64 as f64,
            Self::U64 => bits as f64,
        }
    }
}
