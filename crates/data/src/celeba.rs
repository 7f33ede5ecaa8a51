use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{Error, Images, Skipped, Split, folder, holdout, read_npy};

const PARTITION: &str = "list_eval_partition.txt";

/// CelebA as found in a folder.
pub(crate) enum Celeba {
    /// Arrays made for one image size.
    Arrays {
        /// The file to learn from.
        train: PathBuf,
        /// The file to test on.
        test: PathBuf,
    },
    /// The pictures themselves.
    Pictures {
        /// Where they are.
        folder: PathBuf,
        /// Their paths, sorted.
        files: Vec<PathBuf>,
        /// The official list of which are for training (0), validation (1) and testing (2).
        partition: Option<PathBuf>,
    },
}

impl Celeba {
    /// Looks in `folder` for arrays of `size` by `size` pixels, else for pictures.
    pub(crate) fn find(folder: &Path, size: usize) -> Result<Self, Error> {
        let arrays = |split| largest_array(folder, &format!("celeba{size}_{split}_"));
        if let (Some(train), Some(test)) = (arrays("train")?, arrays("test")?) {
            return Ok(Self::Arrays { train, test });
        }
        for place in ["img_align_celeba", "Img/img_align_celeba", ""] {
            let pictures = folder.join(place);
            if !pictures.is_dir() {
                continue;
            }
            let files = folder::list(&pictures)?;
            if !files.is_empty() {
                let lists = ["", "Eval", ".."].map(|place| folder.join(place).join(PARTITION));
                return Ok(Self::Pictures {
                    folder: pictures,
                    files,
                    partition: lists.into_iter().find(|list| list.is_file()),
                });
            }
        }
        Err(Error::Missing {
            folder: folder.to_owned(),
            names: vec![
                "img_align_celeba/*.jpg".into(),
                "*.jpg".into(),
                format!("celeba{size}_train_*.npy.gz with celeba{size}_test_*.npy.gz"),
            ],
            way_out: "get img_align_celeba.zip from CelebA's site and unpack it there, \
                      or name its folder with --data-dir"
                .into(),
        })
    }

    /// Reads at most `limit` faces of one split; pictures as `[n, channels, size, size]`, arrays as
    /// they are.
    pub(crate) fn read(
        &self,
        split: Split,
        limit: Option<usize>,
        size: usize,
        channels: usize,
        cache: &Path,
    ) -> Result<(Images, Vec<Skipped>), Error> {
        match self {
            Self::Arrays { train, test } => {
                let path = match split {
                    Split::Train => train,
                    Split::Test => test,
                };
                Ok((read_npy(path, limit)?, Vec::new()))
            }
            Self::Pictures {
                folder,
                files,
                partition,
            } => {
                let mut files = match partition {
                    Some(partition) => official(partition, files, split)?,
                    None => holdout::choose(folder, files, split)?,
                };
                files.truncate(limit.unwrap_or(files.len()));
                folder::read(folder, &files, size, channels, cache)
            }
        }
    }

    /// One sentence for reports.
    pub(crate) fn provenance(&self) -> String {
        match self {
            Self::Arrays { train, test } => {
                format!(
                    "CelebA faces from {} and {}",
                    train.display(),
                    test.display()
                )
            }
            Self::Pictures {
                folder, partition, ..
            } => {
                let split = match partition {
                    Some(_) => "official split",
                    None => "a tenth held out",
                };
                format!("CelebA faces from {}, {split}", folder.display())
            }
        }
    }
}

/// The `.npy` or `.npy.gz` file with this prefix and, after it, the largest number of images.
fn largest_array(folder: &Path, prefix: &str) -> Result<Option<PathBuf>, Error> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let mut largest = None;
    for entry in fs::read_dir(folder).map_err(|e| Error::read(folder, e))? {
        let path = entry.map_err(|e| Error::read(folder, e))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let count = name
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_suffix(".npy").or(rest.strip_suffix(".npy.gz")))
            .and_then(|count| count.parse::<usize>().ok());
        largest = largest.max(count.map(|count| (count, path)));
    }
    Ok(largest.map(|(_, path)| path))
}

/// Those of `files` that the official list puts in `split`.
fn official(partition: &Path, files: &[PathBuf], split: Split) -> Result<Vec<PathBuf>, Error> {
    let text = fs::read_to_string(partition).map_err(|e| Error::read(partition, e))?;
    let mut parts = HashMap::new();
    for (line, number) in text.lines().zip(1..) {
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (None, ..) => {}
            (Some(name), Some(part @ ("0" | "1" | "2")), None) => {
                parts.insert(name, part);
            }
            _ => {
                return Err(Error::unexpected(
                    partition,
                    format!("{line:?} in line {number}"),
                    "the name of a picture and 0, 1 or 2",
                    "get CelebA's own file, or remove it to hold out a tenth instead",
                ));
            }
        }
    }
    let wanted = match split {
        Split::Train => "0",
        Split::Test => "2",
    };
    let part = |file: &Path| {
        let name = file.file_name()?.to_str()?;
        parts.get(name).copied()
    };
    let chosen: Vec<PathBuf> = files
        .iter()
        .filter(|file| part(file) == Some(wanted))
        .cloned()
        .collect();
    if chosen.is_empty() {
        return Err(Error::unexpected(
            partition,
            format!("no picture of part {wanted} among those at hand"),
            "at least one",
            "add pictures of that part, or remove this file to hold out a tenth instead",
        ));
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, Luma};
    use tempfile::TempDir;

    use super::*;

    /// Twenty faces of shades 1 to 20, called 000001.png and so on, in `place`.
    fn faces(place: &str) -> TempDir {
        let folder = TempDir::new().unwrap();
        let pictures = folder.path().join(place);
        fs::create_dir_all(&pictures).unwrap();
        for shade in 1..=20 {
            let face = GrayImage::from_pixel(16, 20, Luma([shade]));
            face.save(pictures.join(format!("{shade:06}.png"))).unwrap();
        }
        folder
    }

    fn shades(folder: &Path, split: Split, limit: Option<usize>) -> Result<Vec<u8>, Error> {
        let celeba = Celeba::find(folder, 32)?;
        let (images, _) = celeba.read(split, limit, 32, 1, &folder.join(".cache"))?;
        Ok((0..images.len()).map(|i| images.image(i)[0]).collect())
    }

    /// Pictures 1 to 12 are for training, 13 to 16 for validation, 17 to 30 for testing.
    fn partition() -> String {
        let part = |number| match number {
            1..13 => 0,
            13..17 => 1,
            _ => 2,
        };
        (1..=30)
            .map(|n| format!("{n:06}.png {}\n", part(n)))
            .collect()
    }

    #[test]
    fn the_official_list_rules_wherever_it_is() {
        for (place, list) in [
            ("img_align_celeba", PARTITION),
            ("Img/img_align_celeba", "Eval/list_eval_partition.txt"),
            ("", PARTITION),
        ] {
            let folder = faces(place);
            let list = folder.path().join(list);
            fs::create_dir_all(list.parent().unwrap()).unwrap();
            fs::write(list, partition()).unwrap();
            let shades = |split, limit| shades(folder.path(), split, limit).unwrap();
            assert_eq!(shades(Split::Train, None), Vec::from_iter(1..=12));
            assert_eq!(shades(Split::Test, None), [17, 18, 19, 20]);
            assert_eq!(shades(Split::Train, Some(3)), [1, 2, 3]);
        }
    }

    #[test]
    fn without_the_list_a_tenth_is_held_out() {
        let folder = faces("img_align_celeba");
        let train = shades(folder.path(), Split::Train, None).unwrap();
        let test = shades(folder.path(), Split::Test, None).unwrap();
        assert_eq!((train.len(), test.len()), (18, 2));
        let mut all = [train.clone(), test].concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(1..=20));
        assert_eq!(
            shades(folder.path(), Split::Train, Some(5)).unwrap(),
            train[..5]
        );
    }

    #[test]
    fn a_list_that_does_not_fit_is_refused() {
        let folder = faces("img_align_celeba");
        let list = folder.path().join(PARTITION);
        fs::write(&list, "000001.png 0\n000002.png\n").unwrap();
        let error = shades(folder.path(), Split::Train, None)
            .unwrap_err()
            .to_string();
        assert!(error.contains("\"000002.png\" in line 2"), "{error}");
        fs::write(&list, "000001.png 0\n").unwrap();
        let error = shades(folder.path(), Split::Test, None)
            .unwrap_err()
            .to_string();
        assert!(error.contains("no picture of part 2"), "{error}");
    }

    #[test]
    fn arrays_of_the_size_go_first_and_the_largest_of_them() {
        let folder = faces("img_align_celeba");
        for name in [
            "celeba32_train_900.npy.gz",
            "celeba32_train_18000.npy",
            "celeba32_test_10.npy.gz",
            "celeba64_train_5.npy",
        ] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        match Celeba::find(folder.path(), 32).unwrap() {
            Celeba::Arrays { train, test } => {
                assert!(train.ends_with("celeba32_train_18000.npy"));
                assert!(test.ends_with("celeba32_test_10.npy.gz"));
            }
            Celeba::Pictures { .. } => panic!("arrays were there"),
        }
        // One split alone is no data set: both must come from the same source.
        let found = Celeba::find(folder.path(), 64).unwrap();
        assert!(matches!(found, Celeba::Pictures { .. }));
    }

    #[test]
    fn what_was_looked_for_is_listed() {
        let folder = TempDir::new().unwrap();
        for folder in [folder.path(), &folder.path().join("none")] {
            let error = shades(folder, Split::Train, None).unwrap_err().to_string();
            assert!(
                error.starts_with("found none of img_align_celeba/*.jpg, *.jpg, celeba32_train_"),
                "{error}"
            );
            assert!(error.contains(folder.to_str().unwrap()), "{error}");
        }
    }
}
