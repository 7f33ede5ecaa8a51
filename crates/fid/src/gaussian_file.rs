//! Statistics in the `.npz` form that other FID programs write and read.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Read, Seek, Write},
    path::Path,
};

use atomic_write_file::AtomicWriteFile;
use serde::{Deserialize, Serialize};
use shortrun_data::{read_float_npy, write_float_npy};
use zip::{CompressionMethod, ZipArchive, ZipWriter, result::ZipError, write::SimpleFileOptions};

use crate::{FidError, Gaussian};

const MEAN: &str = "mu";
const COVARIANCE: &str = "sigma";

/// What statistics were made of. It travels as JSON in the archive's comment, which NumPy and other
/// programs pass over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The extractor's [name](crate::Extractor::name).
    pub extractor: String,
    /// Where the images came from.
    pub images: String,
    /// How many there were.
    pub count: usize,
}

/// The statistics of a set of images: arrays `mu` `[d]` and `sigma` `[d, d]` of float64 in a `.npz`
/// archive, as pytorch-fid and others keep them.
#[derive(Clone, Debug, PartialEq)]
pub struct GaussianFile {
    /// Mean and covariance.
    pub gaussian: Gaussian,
    /// What they were made of; other programs do not say.
    pub origin: Option<Origin>,
}

impl GaussianFile {
    /// Writes the archive: the whole of it, or nothing.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), FidError> {
        let fail = |reason: String| FidError::Write {
            path: path.to_owned(),
            reason,
        };
        let mut file = AtomicWriteFile::open(path).map_err(|e| fail(e.to_string()))?;
        let written = self.write_into(BufWriter::new(&mut file));
        written.map_err(|e| fail(e.to_string()))?;
        file.commit().map_err(|e| fail(e.to_string()))
    }

    fn write_into(&self, out: impl Write + Seek) -> Result<(), ZipError> {
        let mut archive = ZipWriter::new(out);
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        let dim = self.gaussian.dim();
        archive.start_file(format!("{MEAN}.npy"), options)?;
        write_float_npy(&mut archive, &[dim], &self.gaussian.mean)?;
        archive.start_file(format!("{COVARIANCE}.npy"), options)?;
        write_float_npy(&mut archive, &[dim, dim], &self.gaussian.covariance)?;
        if let Some(origin) = &self.origin {
            let origin = serde_json::to_string(origin).map_err(std::io::Error::from)?;
            archive.set_comment(origin)?;
        }
        archive.finish()?.flush()?;
        Ok(())
    }

    /// Reads statistics of features of `dim` values.
    ///
    /// # Errors
    /// [`FidError::Statistics`] if the file is damaged, lacks an array, holds other arrays than a
    /// mean and a symmetric covariance of finite numbers, or features of another length.
    pub fn read(path: &Path, dim: usize) -> Result<Self, FidError> {
        let fail = |reason: String| FidError::Statistics {
            path: path.to_owned(),
            reason,
        };
        let file = File::open(path).map_err(|e| fail(e.to_string()))?;
        let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|error| {
            fail(format!(
                "not a whole .npz archive ({error}); make it again with --save-stats"
            ))
        })?;
        let (shape, mean) = array(&mut archive, MEAN).map_err(fail)?;
        let fits = |expected: &[usize], name: &str, shape: &[usize]| match shape == expected {
            true => Ok(()),
            false => Err(fail(format!(
                "{name} has shape {shape:?}, but the features compared have {dim} values, which \
                 needs {expected:?}: the statistics belong to another extractor"
            ))),
        };
        fits(&[dim], MEAN, &shape)?;
        let (shape, covariance) = array(&mut archive, COVARIANCE).map_err(fail)?;
        fits(&[dim, dim], COVARIANCE, &shape)?;
        if mean.iter().chain(&covariance).any(|v| !v.is_finite()) {
            return Err(fail("there are values that are no finite numbers".into()));
        }
        if !is_symmetric(&covariance, dim) {
            return Err(fail(format!(
                "{COVARIANCE} is not symmetric: it is no covariance"
            )));
        }
        let comment = archive.comment();
        Ok(Self {
            gaussian: Gaussian { mean, covariance },
            origin: serde_json::from_slice(comment).ok(),
        })
    }

    /// Refuses statistics that say they were made by another extractor.
    ///
    /// # Errors
    /// [`FidError::Statistics`] that names both.
    pub fn check_extractor(&self, path: &Path, name: &str) -> Result<(), FidError> {
        match &self.origin {
            Some(origin) if origin.extractor != name => Err(FidError::Statistics {
                path: path.to_owned(),
                reason: format!(
                    "made with {}, not with {name}: numbers of two extractors cannot be compared",
                    origin.extractor
                ),
            }),
            _ => Ok(()),
        }
    }
}

/// An array of the archive by name.
fn array(
    archive: &mut ZipArchive<impl Read + Seek>,
    name: &str,
) -> Result<(Vec<usize>, Vec<f64>), String> {
    let file = format!("{name}.npy");
    let entry = archive.by_name(&file).map_err(|error| match error {
        ZipError::FileNotFound => {
            format!("there is no array '{name}' in it; '{MEAN}' and '{COVARIANCE}' are needed")
        }
        other => format!("{file}: {other}"),
    })?;
    read_float_npy(Path::new(&file), entry).map_err(|error| error.to_string())
}

fn is_symmetric(matrix: &[f64], d: usize) -> bool {
    let largest = matrix
        .iter()
        .fold(0.0, |most, value| f64::max(most, value.abs()));
    (0..d).all(|i| (0..i).all(|j| (matrix[i * d + j] - matrix[j * d + i]).abs() <= 1e-6 * largest))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn statistics() -> GaussianFile {
        GaussianFile {
            gaussian: Gaussian {
                mean: vec![0.1, -2.0],
                covariance: vec![2.0, 1.0 / 3.0, 1.0 / 3.0, 1e-300],
            },
            origin: Some(Origin {
                extractor: "an extractor".into(),
                images: "ünusual images".into(),
                count: 12,
            }),
        }
    }

    fn written(folder: &tempfile::TempDir) -> PathBuf {
        let path = folder.path().join("s.npz");
        statistics().write(&path).unwrap();
        path
    }

    fn refusal(path: &Path, dim: usize) -> String {
        let text = GaussianFile::read(path, dim).unwrap_err().to_string();
        assert!(text.contains(path.to_str().unwrap()), "{text}");
        text
    }

    #[test]
    fn every_bit_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(&folder);
        let found = GaussianFile::read(&path, 2).unwrap();
        assert_eq!(found, statistics());
        assert!(found.check_extractor(&path, "an extractor").is_ok());
        let error = found
            .check_extractor(&path, "another")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("an extractor") && error.contains("another"),
            "{error}"
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn damage_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(&folder);
        let whole = std::fs::read(&path).unwrap();
        for cut in [0, 10, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let error = refusal(&path, 2);
            assert!(error.contains("not a whole .npz archive"), "{error}");
        }
        // A flipped bit among the values: the archive keeps a checksum.
        let at = whole
            .windows(8)
            .position(|w| w == 0.1_f64.to_le_bytes())
            .unwrap();
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        std::fs::write(&path, flipped).unwrap();
        let error = refusal(&path, 2);
        assert!(error.contains("mu"), "{error}");
        assert!(refusal(&folder.path().join("none.npz"), 2).contains("statistics"));
    }

    #[test]
    fn other_arrays_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(&folder);
        let error = refusal(&path, 3);
        assert!(
            error.contains("mu has shape [2]") && error.contains("[3]"),
            "{error}"
        );
        let change = |change: fn(&mut Gaussian)| {
            let mut file = statistics();
            change(&mut file.gaussian);
            file.write(&path).unwrap();
            refusal(&path, 2)
        };
        assert!(change(|g| g.covariance[1] = 0.5).contains("not symmetric"));
        assert!(change(|g| g.covariance[0] = f64::NAN).contains("no finite numbers"));
        let mut archive = ZipWriter::new(File::create(&path).unwrap());
        let options = SimpleFileOptions::default();
        archive.start_file("mu.npy", options).unwrap();
        write_float_npy(&mut archive, &[2], &[1.0, 2.0]).unwrap();
        archive.finish().unwrap();
        assert!(refusal(&path, 2).contains("no array 'sigma'"));
    }

    /// As `numpy.savez_compressed(f, mu=numpy.array([1.5, -2.0]), sigma=numpy.eye(2))` wrote it.
    #[test]
    fn an_archive_that_numpy_packed_is_read() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/numpy.npz");
        let found = GaussianFile::read(&path, 2).unwrap();
        assert_eq!(found.gaussian.mean, [1.5, -2.0]);
        assert_eq!(found.gaussian.covariance, [1.0, 0.0, 0.0, 1.0]);
        assert_eq!(found.origin, None);
    }
}
