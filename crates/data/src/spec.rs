use std::path::{Path, PathBuf};

use crate::celeba::Celeba;
use crate::fit::too_small;
use crate::{
    Error, ImageShape, Images, Remote, Skipped, Source, folder, holdout, mnist, read_npy, svhn,
    synthetic,
};

/// Image sizes that the built-in generator is made for.
const SIZES: [usize; 3] = [28, 32, 64];
/// The synthetic digits of one split come from one seed, with no digit in both splits.
const SYNTHETIC_TRAIN: (u64, usize) = (1, 10_000);
const SYNTHETIC_TEST: (u64, usize) = (2, 1_000);

/// The two parts of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// The images to learn from.
    Train,
    /// The images held out.
    Test,
}

/// One split of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// A short name, such as `svhn`.
    pub name: String,
    /// Where the images are from: one plain sentence for reports.
    pub provenance: String,
    /// The images.
    pub images: Images,
    /// The files of a folder that could not be decoded.
    pub skipped: Vec<Skipped>,
}

/// Both splits of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataSet {
    /// A short name, such as `svhn`.
    pub name: String,
    /// Where the images are from: one plain sentence for reports.
    pub provenance: String,
    /// The images to learn from.
    pub train: Images,
    /// The images held out.
    pub test: Images,
    /// The files of a folder that could not be decoded.
    pub skipped: Vec<Skipped>,
}

/// Which images to load, and in which form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataSpec {
    /// Where they come from.
    pub source: Source,
    /// The folder of MNIST, SVHN or CelebA; otherwise `datasets/` with the name of the data set.
    /// Arrays, folders and synthetic digits do not use it.
    pub data_dir: Option<PathBuf>,
    /// Height and width to load at: 28, 32 or 64 pixels. Others are resized by their short side and
    /// cut to their centre.
    pub size: usize,
    /// 1 (grey) or 3 (colour); otherwise 1 for MNIST, what an array holds, and 3 for the rest.
    pub channels: Option<usize>,
    /// Where decoded pictures are kept for next time; it need not exist. Nothing ever removes old
    /// files in it; you may, at any time.
    pub cache_dir: PathBuf,
}

impl DataSpec {
    /// Images of `size` by `size` pixels from `source`; the rest as if not given, the cache in
    /// `datasets/.cache`.
    pub fn new(source: Source, size: usize) -> Self {
        Self {
            source,
            data_dir: None,
            size,
            channels: None,
            cache_dir: "datasets/.cache".into(),
        }
    }

    /// Loads both splits.
    ///
    /// MNIST, SVHN and CelebA (with its partition file) have official splits; of a folder with the
    /// folders `train` and `test` in it, these are the splits. Of other folders and of arrays the last
    /// tenth of a fixed random order is held out: at least 1 image, at most 1,000.
    ///
    /// # Errors
    ///
    /// As [`load_split`](Self::load_split).
    pub fn load(&self) -> Result<DataSet, Error> {
        let train = self.load_split(Split::Train, None)?;
        let test = self.load_split(Split::Test, None)?;
        let [found, expected] = [&test, &train].map(|part| part.images.shape());
        if found != expected {
            return Err(Error::Unexpected {
                path: self.folder(&test.name),
                found: format!("test images of {found}"),
                expected: format!("images of {expected} as in the training split"),
                way_out: "make both alike, or choose with --channels",
            });
        }
        Ok(DataSet {
            name: train.name,
            provenance: train.provenance,
            train: train.images,
            test: test.images,
            skipped: [train.skipped, test.skipped].concat(),
        })
    }

    /// Loads one split, or its first `limit` images: of a folder no others are decoded. (Pictures
    /// that cannot be decoded count towards the limit.)
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a size, number of channels or limit that cannot be used;
    /// [`Error::Missing`] or [`Error::Read`] for files that are not there; [`Error::WebPage`],
    /// [`Error::Truncated`], [`Error::Damaged`], [`Error::Unexpected`] or [`Error::NoneDecoded`] for
    /// files that do not hold what they should. Single bad pictures of a folder are no error.
    pub fn load_split(&self, split: Split, limit: Option<usize>) -> Result<Part, Error> {
        self.check(limit)?;
        let (images, skipped, provenance) = self.read(split, limit)?;
        let images = match self.channels {
            Some(1) => images.to_grey(),
            Some(_) => images.to_rgb(),
            None => images,
        };
        Ok(Part {
            name: self.name(),
            provenance,
            images: images.resize(self.size)?,
            skipped,
        })
    }

    /// Fetches the files of SVHN (also for `auto`) or MNIST into their folder, with a progress bar;
    /// files that are there stay.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for other sources; otherwise as [`Remote::fetch`].
    pub fn download(&self) -> Result<(), Error> {
        match self.source {
            Source::Auto | Source::Svhn => Remote::svhn().fetch(&self.folder("svhn")),
            Source::Mnist => Remote::mnist().fetch(&self.folder("mnist")),
            _ => Err(Error::Invalid {
                what: "data to download",
                found: self.source.to_string(),
                expected: "svhn or mnist; other images are put in place by hand".into(),
            }),
        }
    }

    fn check(&self, limit: Option<usize>) -> Result<(), Error> {
        let wrong = |what, found: usize, expected: &str| {
            let (found, expected) = (found.to_string(), expected.into());
            Err(Error::Invalid {
                what,
                found,
                expected,
            })
        };
        if !SIZES.contains(&self.size) {
            return wrong("image size", self.size, "28, 32 or 64");
        }
        if let Some(channels @ (0 | 2 | 4..)) = self.channels {
            return wrong("channels", channels, "1 (grey) or 3 (colour)");
        }
        if limit == Some(0) {
            return wrong("number of images", 0, "at least 1");
        }
        Ok(())
    }

    /// The folder of the data set called `name`.
    fn folder(&self, name: &str) -> PathBuf {
        let usual = || Path::new("datasets").join(name);
        self.data_dir.clone().unwrap_or_else(usual)
    }

    /// Where SVHN's training file is looked for by `auto`.
    fn svhn_is_there(&self) -> bool {
        self.folder("svhn")
            .join(svhn::file_name(Split::Train))
            .is_file()
    }

    fn name(&self) -> String {
        match &self.source {
            Source::Auto if self.svhn_is_there() => "svhn".into(),
            Source::Auto => "synthetic".into(),
            Source::Array(path) | Source::Folder(path) => {
                let name = path.file_name().unwrap_or(path.as_os_str());
                name.to_string_lossy().into_owned()
            }
            named => named.to_string(),
        }
    }

    /// Images of one split and where they are from. Those of folders have their final shape.
    fn read(
        &self,
        split: Split,
        limit: Option<usize>,
    ) -> Result<(Images, Vec<Skipped>, String), Error> {
        let channels = self.channels.unwrap_or(3);
        match &self.source {
            Source::Mnist => {
                let folder = self.folder("mnist");
                let images = mnist::read(&folder, split, limit)?;
                Ok((
                    images,
                    vec![],
                    format!("MNIST digits from {}", folder.display()),
                ))
            }
            Source::Auto if !self.svhn_is_there() => {
                let folder = self.folder("svhn");
                let provenance = format!(
                    "built-in synthetic digits, not SVHN; put {} in {}, or run with --download",
                    svhn::file_name(Split::Train),
                    folder.display()
                );
                Ok((self.synthetic(split, limit)?, vec![], provenance))
            }
            Source::Auto | Source::Svhn => {
                let folder = self.folder("svhn");
                let images = svhn::read(&folder, split, limit)?;
                Ok((
                    images,
                    vec![],
                    format!("SVHN digits from {}", folder.display()),
                ))
            }
            Source::Synthetic => {
                let provenance = "built-in synthetic digits, not SVHN".into();
                Ok((self.synthetic(split, limit)?, vec![], provenance))
            }
            Source::Celeba => {
                let celeba = Celeba::find(&self.folder("celeba"), self.size)?;
                let cache = &self.cache_dir;
                let (images, skipped) = celeba.read(split, limit, self.size, channels, cache)?;
                Ok((images, skipped, celeba.provenance()))
            }
            Source::Array(path) => {
                let images = self.array(path, split, limit)?;
                Ok((
                    images,
                    vec![],
                    format!("{}, a tenth held out", path.display()),
                ))
            }
            Source::Folder(path) => {
                let (files, kind) = split_folder(path, split)?;
                let files = &files[..limit.unwrap_or(files.len()).min(files.len())];
                let (images, skipped) =
                    folder::read(path, files, self.size, channels, &self.cache_dir)?;
                Ok((
                    images,
                    skipped,
                    format!("pictures in {}, {kind}", path.display()),
                ))
            }
        }
    }

    fn synthetic(&self, split: Split, limit: Option<usize>) -> Result<Images, Error> {
        let (seed, count) = match split {
            Split::Train => SYNTHETIC_TRAIN,
            Split::Test => SYNTHETIC_TEST,
        };
        let count = limit.unwrap_or(count).min(count);
        let (pixels, labels) = synthetic::house_numbers(seed, count, self.size);
        Images::new(ImageShape::square(3, self.size), pixels, Some(labels))
    }

    fn array(&self, path: &Path, split: Split, limit: Option<usize>) -> Result<Images, Error> {
        let images = read_npy(path, None)?;
        let ImageShape { height, width, .. } = images.shape();
        if let Some(least) = too_small(height, width, self.size) {
            return Err(Error::unexpected(
                path,
                format!("images of {height}x{width} pixels"),
                format!("at least {least} a side, to enlarge them to {}", self.size),
                "ask for a smaller image size, or save the array with larger images",
            ));
        }
        let indices = holdout::indices(path, images.len(), split)?;
        Ok(images.subset(&indices[..limit.unwrap_or(indices.len()).min(indices.len())]))
    }
}

/// The pictures of one split of a folder, in a fixed random order, and what kind of split it is.
fn split_folder(folder: &Path, split: Split) -> Result<(Vec<PathBuf>, &'static str), Error> {
    let [train, test] = ["train", "test"].map(|name| folder.join(name));
    let files_of = |folder: &Path| {
        let files = folder::list(folder)?;
        if files.is_empty() {
            return Err(Error::Missing {
                folder: folder.to_owned(),
                names: ["*.jpg", "*.jpeg", "*.png"].map(Into::into).to_vec(),
                way_out: "put pictures there, or name another folder".into(),
            });
        }
        Ok(files)
    };
    if train.is_dir() && test.is_dir() {
        let files = files_of(match split {
            Split::Train => &train,
            Split::Test => &test,
        })?;
        let order = holdout::order(files.len()).into_iter();
        let files = order.map(|index| files[index].clone()).collect();
        return Ok((files, "split by its folders train and test"));
    }
    let files = holdout::choose(folder, &files_of(folder)?, split)?;
    Ok((files, "a tenth held out"))
}
