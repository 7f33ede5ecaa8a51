use std::path::{Path, PathBuf};

use crate::locate::locate;
use crate::{Error, ImageShape, Images, Split, idx};

const SIDE: usize = 28;

/// Reads at most `limit` digits of one split from a folder with the four files of MNIST, gzip or
/// plain: `[n, 1, 28, 28]` with labels 0 to 9.
pub(crate) fn read(folder: &Path, split: Split, limit: Option<usize>) -> Result<Images, Error> {
    let prefix = match split {
        Split::Train => "train",
        Split::Test => "t10k",
    };
    let image_path = find(folder, prefix, "images", 3)?;
    let label_path = find(folder, prefix, "labels", 1)?;
    let images = idx::read::<3>(&image_path, limit)?;
    let labels = idx::read::<1>(&label_path, limit)?;

    let [count, height, width] = images.dims;
    if [height, width] != [SIDE, SIDE] || count == 0 {
        return Err(Error::unexpected(
            &image_path,
            format!("{count} images of {height}x{width} pixels"),
            "at least one image, of 28x28 pixels",
            "get MNIST's own file",
        ));
    }
    if labels.dims != [count] {
        return Err(Error::unexpected(
            &label_path,
            format!("{} labels", labels.dims[0]),
            format!("{count}, one for each image of {}", image_path.display()),
            "get both files of the same split",
        ));
    }
    if let Some(label) = labels.values.iter().find(|&&label| label > 9) {
        return Err(Error::unexpected(
            &label_path,
            format!("a label {label}"),
            "0 to 9",
            "get MNIST's own file",
        ));
    }
    let shape = ImageShape::square(1, SIDE);
    Images::new(shape, images.values, Some(labels.values))
}

/// The files go round with `-` or `.` before `idx`, packed or not.
fn find(folder: &Path, prefix: &str, what: &str, dims: usize) -> Result<PathBuf, Error> {
    let stems = ['-', '.'].map(|dot| format!("{prefix}-{what}{dot}idx{dims}-ubyte"));
    let names = stems.map(|stem| [stem.clone(), stem + ".gz"]).concat();
    locate(folder, &names, "put one there, or run with --download")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use tempfile::TempDir;

    use super::*;

    fn idx(dims: &[u32], values: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, dims.len() as u8];
        bytes.extend(dims.iter().flat_map(|dim| dim.to_be_bytes()));
        bytes.extend(values);
        bytes
    }

    /// Three images whose values count up from 0, 100 and 200, with labels 5, 0, 4.
    fn pixels() -> Vec<u8> {
        (0..3 * 784)
            .map(|v| (v % 784 + v / 784 * 100) as u8)
            .collect()
    }

    fn folder() -> TempDir {
        let folder = TempDir::new().unwrap();
        let path = folder.path();
        fs::write(
            path.join("train-images-idx3-ubyte"),
            idx(&[3, 28, 28], &pixels()),
        )
        .unwrap();
        let mut gz = GzEncoder::new(Vec::new(), Compression::default());
        gz.write_all(&idx(&[3], &[5, 0, 4])).unwrap();
        let packed = gz.finish().unwrap();
        fs::write(path.join("train-labels.idx1-ubyte.gz"), packed).unwrap();
        folder
    }

    fn error(folder: &TempDir) -> String {
        let result = read(folder.path(), Split::Train, None);
        result.unwrap_err().to_string()
    }

    #[test]
    fn reads_packed_and_plain_files_of_either_name() {
        let folder = folder();
        let images = read(folder.path(), Split::Train, None).unwrap();
        assert_eq!(images.shape(), ImageShape::square(1, 28));
        assert_eq!(images.pixels(), pixels());
        assert_eq!(images.labels().unwrap(), [5, 0, 4]);
    }

    #[test]
    fn a_limit_reads_the_first_images_alone() {
        let folder = folder();
        let all = read(folder.path(), Split::Train, None).unwrap();
        let two = read(folder.path(), Split::Train, Some(2)).unwrap();
        assert_eq!(two, all.clone().take(2));
        assert_eq!(read(folder.path(), Split::Train, Some(9)).unwrap(), all);
    }

    #[test]
    fn missing_files_are_listed() {
        let folder = folder();
        let error = read(folder.path(), Split::Test, None).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "found none of t10k-images-idx3-ubyte, t10k-images-idx3-ubyte.gz, \
                 t10k-images.idx3-ubyte, t10k-images.idx3-ubyte.gz in {}; \
                 put one there, or run with --download",
                folder.path().display()
            )
        );
    }

    #[test]
    fn wrong_files_are_refused() {
        let folder = folder();
        let images = folder.path().join("train-images-idx3-ubyte");
        let cases: [(&[u8], &str); 6] = [
            (&idx(&[3], &[1, 2, 3]), "idx header of [00, 00, 08, 01]"),
            (&idx(&[3, 28, 28], &pixels()[1..]), "ends inside the values"),
            (&idx(&[2, 28, 28], &pixels()), "more bytes after the values"),
            (&idx(&[3, 14, 56], &pixels()), "3 images of 14x56 pixels"),
            (&idx(&[0, 28, 28], &[]), "0 images"),
            (&idx(&[u32::MAX; 3], &[]), "dimensions of"),
        ];
        for (content, expected) in cases {
            fs::write(&images, content).unwrap();
            assert!(error(&folder).contains(expected), "{}", error(&folder));
        }
    }

    #[test]
    fn labels_must_match_the_images() {
        let folder = folder();
        let labels = folder.path().join("train-labels-idx1-ubyte");
        fs::write(&labels, idx(&[2], &[1, 2])).unwrap();
        assert!(error(&folder).contains("found 2 labels, expected 3, one for each image of"));
        fs::write(&labels, idx(&[3], &[1, 2, 10])).unwrap();
        assert!(error(&folder).contains("found a label 10, expected 0 to 9"));
    }
}
