use std::path::{Path, PathBuf};

use crate::permutation::shuffled;
use crate::{Error, Split};

/// At most this many images are held out for testing.
const MOST: usize = 1000;

/// The images of `split` for a data set of `len` images without splits of its own: in a random but
/// fixed order, the last tenth (at least 1, at most 1,000) is for testing. The order never depends on
/// the seed of a run, so no run learns from another one's test images.
pub(crate) fn indices(path: &Path, len: usize, split: Split) -> Result<Vec<usize>, Error> {
    if len < 2 {
        return Err(Error::unexpected(
            path,
            format!("{len} images"),
            "at least 2, one to learn from and one to test on",
            "add images",
        ));
    }
    let mut order = order(len);
    let test = order.split_off(len - (len / 10).clamp(1, MOST));
    Ok(match split {
        Split::Train => order,
        Split::Test => test,
    })
}

/// Those of `files` in `folder` that [`indices`] gives to `split`.
pub(crate) fn choose(
    folder: &Path,
    files: &[PathBuf],
    split: Split,
) -> Result<Vec<PathBuf>, Error> {
    let chosen = indices(folder, files.len(), split)?;
    Ok(chosen
        .into_iter()
        .map(|index| files[index].clone())
        .collect())
}

/// The same order at every call. The first images of it are a fair sample, which those of a list
/// sorted by name or class are not.
pub(crate) fn order(len: usize) -> Vec<usize> {
    shuffled(0, 0, *b"holdout\0", len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(len: usize) -> (Vec<usize>, Vec<usize>) {
        let part = |split| indices(Path::new("data"), len, split).unwrap();
        (part(Split::Train), part(Split::Test))
    }

    #[test]
    fn the_parts_share_no_image_and_lack_none() {
        for (len, held_out) in [(2, 1), (9, 1), (35, 3), (30_000, 1000)] {
            let (train, test) = both(len);
            assert_eq!(test.len(), held_out);
            let mut all = [train, test].concat();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..len));
        }
    }

    #[test]
    fn the_split_is_the_same_for_good() {
        assert_eq!(both(30).1, [10, 12, 0]);
    }

    #[test]
    fn one_image_cannot_be_split() {
        let error = indices(Path::new("a.npy"), 1, Split::Test).unwrap_err();
        assert!(error.to_string().starts_with("a.npy: found 1 images"));
    }
}
