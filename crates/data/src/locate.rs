use std::path::{Path, PathBuf};

use crate::Error;

/// The first of `names` that is a file in `folder`.
pub(crate) fn locate(folder: &Path, names: &[String], way_out: &str) -> Result<PathBuf, Error> {
    let paths = names.iter().map(|name| folder.join(name));
    paths
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| Error::Missing {
            folder: folder.to_owned(),
            names: names.to_vec(),
            way_out: way_out.to_owned(),
        })
}
