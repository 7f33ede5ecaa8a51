use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::Error;

/// Enough of a file to tell a web page from data.
const HEAD: usize = 512;

/// Reads a file from front to back; every error names the file and the part being read.
pub(crate) struct Stream<'a> {
    path: &'a Path,
    reader: Box<dyn Read + 'a>,
}

impl<'a> Stream<'a> {
    /// Opens a file and unpacks it if its content is gzip, whatever its name says: browsers and
    /// tools unpack on the way and keep the name.
    ///
    /// `expected` names what it should hold, for the error if it is a web page.
    pub(crate) fn open(path: &'a Path, expected: &'static str) -> Result<Self, Error> {
        let mut file = BufReader::new(File::open(path).map_err(|e| Error::read(path, e))?);
        refuse_web_page(path, &mut file, expected)?;
        let head = file.fill_buf().map_err(|e| Error::read(path, e))?;
        if head.starts_with(&[0x1f, 0x8b]) {
            return Ok(Self::new(path, MultiGzDecoder::new(file)));
        }
        Ok(Self::new(path, file))
    }

    /// Reads `path` through a reader that was made from it.
    pub(crate) fn new(path: &'a Path, reader: impl Read + 'a) -> Self {
        let reader = Box::new(reader);
        Self { path, reader }
    }

    /// The next `count` bytes. The buffer grows with what arrives, so that a false count in a header
    /// cannot ask for memory that the file does not fill.
    pub(crate) fn bytes(&mut self, count: usize, part: &str) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let read = (&mut self.reader)
            .take(count as u64)
            .read_to_end(&mut bytes);
        match read {
            Ok(_) if bytes.len() == count => Ok(bytes),
            Ok(_) => Err(self.truncated(part)),
            Err(source) => Err(self.failed(source, part)),
        }
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self, part: &str) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        let read = self.reader.read_exact(&mut array);
        read.map_err(|source| self.failed(source, part))?;
        Ok(array)
    }

    /// Checks that the file ends here; reading on to the end also makes gzip check its checksum.
    pub(crate) fn end(mut self, part: &str) -> Result<(), Error> {
        let mut more = Vec::new();
        let read = (&mut self.reader).take(1).read_to_end(&mut more);
        match read {
            Ok(0) => Ok(()),
            Ok(_) => Err(Error::unexpected(
                self.path,
                format!("more bytes after {part}"),
                "the end of the file",
                "the header and the content do not belong together: get the file again",
            )),
            Err(source) => Err(self.failed(source, part)),
        }
    }

    /// Reads what is left, so that zlib checks its checksum.
    pub(crate) fn drain(mut self, part: &str) -> Result<(), Error> {
        match io::copy(&mut self.reader, &mut io::sink()) {
            Ok(_) => Ok(()),
            Err(source) => Err(self.failed(source, part)),
        }
    }

    fn truncated(&self, part: &str) -> Error {
        Error::Truncated {
            path: self.path.to_owned(),
            part: part.to_owned(),
        }
    }

    fn failed(&self, source: io::Error, part: &str) -> Error {
        match source.kind() {
            io::ErrorKind::UnexpectedEof => self.truncated(part),
            // What flate2 says of bad headers, bad blocks and bad checksums.
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => Error::Damaged {
                path: self.path.to_owned(),
                part: part.to_owned(),
                source,
            },
            _ => Error::read(self.path, source),
        }
    }
}

/// Looks at the first bytes without consuming them.
pub(crate) fn refuse_web_page(
    path: &Path,
    file: &mut BufReader<File>,
    expected: &'static str,
) -> Result<(), Error> {
    let head = file.fill_buf().map_err(|e| Error::read(path, e))?;
    if is_web_page(head) {
        let path = path.to_owned();
        return Err(Error::WebPage { path, expected });
    }
    Ok(())
}

/// Whether a file that begins with `head` is an HTML or XML page.
pub(crate) fn is_web_page(head: &[u8]) -> bool {
    let head = &head[..head.len().min(HEAD)];
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let head = head.trim_ascii_start().to_ascii_lowercase();
    let starts: [&[u8]; 5] = [b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--"];
    starts.iter().any(|start| head.starts_with(start))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read_all(content: &[u8], count: usize) -> Result<Vec<u8>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let named = |error: Error| {
            let text = error.to_string();
            assert!(text.contains(file.path().to_str().unwrap()), "{text}");
            text
        };
        let mut stream = Stream::open(file.path(), "numbers").map_err(named)?;
        let bytes = stream.bytes(count, "the list").map_err(named)?;
        stream.end("the list").map_err(named)?;
        Ok(bytes)
    }

    #[test]
    fn gzip_is_told_by_content() {
        let content: Vec<u8> = (0..200).collect();
        assert_eq!(read_all(&content, 200).unwrap(), content);
        assert_eq!(read_all(&gzip(&content), 200).unwrap(), content);
    }

    #[test]
    fn cut_off_files_say_so() {
        let content: Vec<u8> = (0..=255).cycle().take(5000).collect();
        let packed = gzip(&content);
        for cut in [5, packed.len() / 2, packed.len() - 1] {
            let error = read_all(&packed[..cut], 5000).unwrap_err();
            assert!(error.contains("ends inside the list"), "{cut}: {error}");
        }
        let error = read_all(&content[..4999], 5000).unwrap_err();
        assert!(error.contains("ends inside the list"), "{error}");
    }

    #[test]
    fn a_wrong_checksum_is_damage() {
        let mut packed = gzip(&[7; 100]);
        let crc = packed.len() - 8;
        packed[crc] ^= 1;
        let error = read_all(&packed, 100).unwrap_err();
        assert!(error.contains("damaged"), "{error}");
    }

    #[test]
    fn a_false_count_asks_for_no_memory() {
        let error = read_all(&[1, 2, 3], usize::MAX).unwrap_err();
        assert!(error.contains("ends inside"), "{error}");
    }

    #[test]
    fn leftovers_are_an_error() {
        let error = read_all(&[1, 2, 3], 2).unwrap_err();
        assert!(error.contains("more bytes after the list"), "{error}");
    }

    #[test]
    fn web_pages_are_recognised() {
        for page in [
            "<!DOCTYPE html>",
            "\u{feff}\n  <HTML>",
            "<?xml version='1.0'?>",
        ] {
            let error = read_all(page.as_bytes(), 1).unwrap_err();
            assert!(
                error.contains("a web page, not numbers; delete it and download again"),
                "{error}"
            );
        }
        assert!(!is_web_page(b"<not a page"));
    }
}
