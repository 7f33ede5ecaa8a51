use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::Error;

/// Where images come from, as written on the command line:
/// `auto | mnist | svhn | celeba | synthetic | FILE.npy[.gz] | FOLDER`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// SVHN if its training file is there, else the synthetic house numbers.
    Auto,
    /// MNIST's four idx files: handwritten digits, 28x28, grey.
    Mnist,
    /// SVHN's two MATLAB files: photographed house numbers, 32x32, colour.
    Svhn,
    /// CelebA's aligned pictures of faces, or arrays made of them.
    Celeba,
    /// The built-in synthetic house numbers, colour.
    Synthetic,
    /// A NumPy array of unsigned bytes, as [`read_npy`](crate::read_npy) reads it.
    Array(PathBuf),
    /// Any folder of jpg and png images.
    Folder(PathBuf),
}

impl FromStr for Source {
    type Err = Error;

    /// # Errors
    ///
    /// [`Error::Invalid`] if `text` is no known name, no name of an array file and no folder.
    fn from_str(text: &str) -> Result<Self, Error> {
        let path = Path::new(text);
        match text {
            "auto" => Ok(Self::Auto),
            "mnist" => Ok(Self::Mnist),
            "svhn" => Ok(Self::Svhn),
            "celeba" => Ok(Self::Celeba),
            "synthetic" => Ok(Self::Synthetic),
            _ if text.ends_with(".npy") || text.ends_with(".npy.gz") => {
                Ok(Self::Array(path.into()))
            }
            _ if path.is_dir() => Ok(Self::Folder(path.into())),
            _ => Err(Error::Invalid {
                what: "data",
                found: format!("{text:?}"),
                expected: "auto, mnist, svhn, celeba, synthetic, a .npy or .npy.gz file, \
                           or a folder that exists"
                    .into(),
            }),
        }
    }
}

impl fmt::Display for Source {
    /// The text that parses to this source.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Mnist => f.write_str("mnist"),
            Self::Svhn => f.write_str("svhn"),
            Self::Celeba => f.write_str("celeba"),
            Self::Synthetic => f.write_str("synthetic"),
            Self::Array(path) | Self::Folder(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_source_go_both_ways() {
        let folder = tempfile::TempDir::new().unwrap();
        let folder_text = folder.path().to_str().unwrap();
        for text in [
            "auto",
            "mnist",
            "svhn",
            "celeba",
            "synthetic",
            "a/b.npy",
            "c.npy.gz",
            folder_text,
        ] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
        }
        assert_eq!(
            "b.npy".parse::<Source>().unwrap(),
            Source::Array("b.npy".into())
        );
        assert_eq!(
            folder_text.parse::<Source>().unwrap(),
            Source::Folder(folder.path().into())
        );
    }

    #[test]
    fn a_slip_of_the_pen_is_told_with_the_choices() {
        for text in ["svnh", "", "no/such/folder", "x.npz"] {
            let error = text.parse::<Source>().unwrap_err().to_string();
            assert!(
                error.contains(&format!("found {text:?}, expected auto, mnist, svhn")),
                "{error}"
            );
        }
    }
}
