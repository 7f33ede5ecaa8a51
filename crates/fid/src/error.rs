//! What can go wrong when comparing sets of images.

use std::path::PathBuf;

use thiserror::Error;

/// A comparison that cannot be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FidError {
    /// A weights file is not there.
    #[error(
        "there are no Inception weights at {}; fetch {url} and put it there, or run with --download, \
         or name the file with --weights; --features classifier needs none", path.display()
    )]
    NoWeights {
        /// Where they were looked for.
        path: PathBuf,
        /// Where they can be had.
        url: String,
    },
    /// A weights file that cannot be read.
    #[error("{}: not a PyTorch file of tensors ({reason}); fetch it again", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        reason: String,
    },
    /// A weights file of another network.
    #[error(
        "{} does not hold the weights of FID's Inception v3: {reason}; fetch {url}", path.display()
    )]
    Weights {
        /// The file.
        path: PathBuf,
        /// Which tensors are missing, of another shape, or unknown.
        reason: String,
        /// Where the right ones can be had.
        url: String,
    },
    /// A file of statistics that cannot be used.
    #[error("statistics {}: {reason}", path.display())]
    Statistics {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A file could not be written.
    #[error("cannot write {}: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A classifier file that cannot be used.
    #[error("classifier {}: {reason}; delete it to train another", path.display())]
    Classifier {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Images that a classifier cannot be trained on.
    #[error(
        "no classifier can be trained on these images: {0}; MNIST, SVHN and synthetic digits can do"
    )]
    Unlabelled(String),
    /// Features of different lengths.
    #[error(
        "features of {0} values cannot be compared with features of {1}: use one extractor for both"
    )]
    Dimensions(usize, usize),
    /// A covariance that is not square, or not of its mean's size.
    #[error("a covariance of {dim} features has {dim} x {dim} values; this one has {found}")]
    CovarianceSize {
        /// Values of the mean.
        dim: usize,
        /// Values of the covariance.
        found: usize,
    },
    /// An Inception network of a width that its channels cannot be divided to.
    #[error("Inception v3 cannot be {0} times narrower: choose 1, 2, 4, 8 or 16")]
    Narrower(usize),
    /// Too little to estimate from.
    #[error("{what}: {found} images are too few, {needed} are the least")]
    TooFew {
        /// What was to be estimated.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there must be.
        needed: usize,
    },
    /// A network that breaks down.
    #[error("{0} gives features that are no finite numbers: its weights are damaged")]
    NotFinite(String),
    /// A matrix that is no covariance.
    #[error(
        "this is no covariance matrix: its smallest eigenvalue is {smallest:.3e}, its largest {largest:.3e}"
    )]
    NoCovariance {
        /// Its smallest eigenvalue.
        smallest: f64,
        /// Its largest.
        largest: f64,
    },
    /// The eigenvalue iteration did not end.
    #[error(
        "the eigenvalues of a covariance cannot be computed: it holds values that are no finite numbers or beyond all measure"
    )]
    Eigenvalues,
    /// Images could not be loaded or fetched.
    #[error(transparent)]
    Data(#[from] shortrun_data::Error),
}
