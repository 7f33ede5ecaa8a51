//! The IDX format of MNIST: two zero bytes, the element type, the number of dimensions, each
//! dimension as a big-endian 32-bit number, then the values, last dimension fastest.

use std::path::Path;

use crate::Error;
use crate::stream::Stream;

const UNSIGNED_BYTE: u8 = 8;
const AGAIN: &str = "get the file again, or check that it is not under another file's name";

/// An array of bytes, of which perhaps only the leading entries were read.
pub(crate) struct Idx<const N: usize> {
    /// The dimensions that the header states.
    pub(crate) dims: [usize; N],
    /// The values of the leading entries.
    pub(crate) values: Vec<u8>,
}

/// Reads an idx file of `N` dimensions, gzip or plain, at most `limit` entries of the first.
pub(crate) fn read<const N: usize>(path: &Path, limit: Option<usize>) -> Result<Idx<N>, Error> {
    let mut stream = Stream::open(path, "an idx file")?;
    let magic = stream.array::<4>("the idx header")?;
    let wanted = [0, 0, UNSIGNED_BYTE, N as u8];
    if magic != wanted {
        return Err(Error::unexpected(
            path,
            format!("an idx header of {magic:02x?}"),
            format!("{wanted:02x?} (unsigned bytes, {N} dimensions)"),
            AGAIN,
        ));
    }
    let mut dims = [0; N];
    for dim in &mut dims {
        *dim = u32::from_be_bytes(stream.array("the idx header")?) as usize;
    }
    let [count, entry @ ..] = &dims[..] else {
        return Ok(Idx {
            dims,
            values: Vec::new(),
        });
    };
    let read = limit.map_or(*count, |limit| limit.min(*count));
    let values = entry.iter().try_fold(read, |n, &dim| n.checked_mul(dim));
    let values = values.ok_or_else(|| {
        let found = format!("dimensions of {dims:?}");
        Error::unexpected(path, found, "an array that fits in memory", AGAIN)
    })?;
    let values = stream.bytes(values, "the values")?;
    if read == *count {
        stream.end("the values")?;
    }
    Ok(Idx { dims, values })
}
