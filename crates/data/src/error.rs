use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong while finding, fetching, reading or shuffling images.
///
/// Every message names the file or option, what was found, what was expected and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be opened or read.
    #[error("cannot read {}: {source}; check that it exists and that you may read it", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file or folder could not be written.
    #[error("cannot write {}: {source}; check that you may write there and that the disk has room", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// None of the files that would do is there.
    #[error("found none of {} in {}; {way_out}", names.join(", "), folder.display())]
    Missing {
        /// Where they were looked for.
        folder: PathBuf,
        /// The names looked for; any one of them would do.
        names: Vec<String>,
        /// How to get one.
        way_out: String,
    },
    /// A file was read, but holds something else than it should.
    #[error("{}: found {found}, expected {expected}; {way_out}", path.display())]
    Unexpected {
        /// The file or folder.
        path: PathBuf,
        /// What it holds.
        found: String,
        /// What it should hold.
        expected: String,
        /// How to put it right.
        way_out: &'static str,
    },
    /// A file is an HTML page: an error page saved under the name of the data.
    #[error("{}: this is a web page, not {expected}; delete it and download again", path.display())]
    WebPage {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// A file ends before all that its header promises.
    #[error("{}: the file ends inside {part}; it was cut off, so copy or download it again", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// What was being read.
        part: String,
    },
    /// The compressed part of a file does not unpack.
    #[error("{}: the compressed data of {part} are damaged ({source}); copy or download the file again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was being read.
        part: String,
        /// What the decoder said.
        source: io::Error,
    },
    /// Not one image of a folder could be decoded.
    #[error(
        "{}: none of its {count} images could be decoded (the first, {}: {reason}); \
         expected readable jpg or png files",
        folder.display(), first.display()
    )]
    NoneDecoded {
        /// The folder.
        folder: PathBuf,
        /// How many were tried.
        count: usize,
        /// The first of them.
        first: PathBuf,
        /// Why that one could not be decoded.
        reason: String,
    },
    /// An option or argument has a value that cannot be used.
    #[error("{what}: found {found}, expected {expected}")]
    Invalid {
        /// The option or argument.
        what: &'static str,
        /// Its value.
        found: String,
        /// The values that can be used.
        expected: String,
    },
    /// A file could not be fetched, or what came is not the file that was asked for.
    #[error(
        "cannot download {url}: {reason}; fetch it on a machine that can and put it at {}",
        path.display()
    )]
    Download {
        /// The address.
        url: String,
        /// Where the file belongs.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
}

impl Error {
    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Read { path, source }
    }

    pub(crate) fn write(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Write { path, source }
    }

    pub(crate) fn unexpected(
        path: &Path,
        found: impl Into<String>,
        expected: impl Into<String>,
        way_out: &'static str,
    ) -> Self {
        Self::Unexpected {
            path: path.to_owned(),
            found: found.into(),
            expected: expected.into(),
            way_out,
        }
    }
}
