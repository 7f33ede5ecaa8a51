//! `shortrun fid`.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Instant,
};

use burn::prelude::*;
use clap::Args;
use serde::Serialize;
use shortrun_data::Split;
use shortrun_fid::{
    Classifier, ClassifierOptions, Extracted, Extractor, GaussianFile, Inception, Origin,
    PrecisionRecall, as_saved, batches, extract, frechet_distance, precision_recall,
    standard_weights,
};
use shortrun_train::{Method, Progress};

use super::{
    Failure,
    options::{DataOptions, MOST_AT_ONCE, at_least_one, check_file, counted},
    reporting::Reporting,
    run::{LoadedRun, RunOption},
};
use crate::backend::OnBackend;

/// Where the weights are looked for.
const WEIGHTS_FOLDER: &str = "datasets/inception";
/// The neighbour whose distance is the radius of a ball (Kynkäänniemi et al., 2019).
const NEIGHBOUR: usize = 3;

/// Arguments of `shortrun fid`.
#[derive(Debug, Args)]
pub(super) struct FidArgs {
    #[command(flatten)]
    pub(super) run: RunOption,
    #[command(flatten)]
    data: DataOptions,
    /// What sees the images: inception (Inception v3 of FID; needs its weights) or classifier (a small
    /// one, trained on the labels of the data set; its distances are no FID).
    #[arg(long, value_enum, default_value_t = FeaturesName::Inception)]
    features: FeaturesName,
    /// Weights of Inception, as pytorch-fid has them [default:
    /// datasets/inception/pt_inception-2015-12-05-6726825d.pth].
    #[arg(long, value_name = "FILE.pth", conflicts_with = "download")]
    weights: Option<PathBuf>,
    /// Fetch these weights (96 MB) if they are not there.
    #[arg(long)]
    download: bool,
    /// The classifier: read, or trained and written there if there is no such file [default:
    /// RUN/classifier.safetensors].
    #[arg(long, value_name = "FILE.safetensors")]
    classifier: Option<PathBuf>,
    /// Updates of the weights of a classifier that is trained.
    #[arg(long, default_value_t = ClassifierOptions::default().iterations, value_name = "N")]
    classifier_updates: u64,
    /// How many images are generated.
    #[arg(long, default_value_t = 40_000, value_name = "N", value_parser = at_least_one)]
    samples: usize,
    /// Compare with the mean and covariance in this file, as --save-stats and pytorch-fid write them,
    /// instead of images; there is no precision and recall then.
    #[arg(long, value_name = "FILE.npz", conflicts_with_all = ["data", "split", "count", "save_stats"])]
    reference_stats: Option<PathBuf>,
    /// Write the mean and covariance of the real images' features, for next time.
    #[arg(long, value_name = "FILE.npz")]
    save_stats: Option<PathBuf>,
    /// Precision and recall look at the first N features of each set; 0 leaves them out.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    neighbours: usize,
    /// Images that go through the network at once: a matter of memory and speed only.
    #[arg(long, default_value_t = 25, value_name = "N", value_parser = counted(1..=MOST_AT_ONCE))]
    batch_size: usize,
    /// Seed of the latents, if not the run's own.
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    pub(super) reporting: Reporting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum FeaturesName {
    Inception,
    Classifier,
}

#[derive(Serialize)]
pub(super) struct Report {
    /// What the distance is: FID only with Inception's standard weights.
    distance_name: &'static str,
    distance: f64,
    extractor: String,
    /// Values of a feature.
    dimensions: usize,
    reference: String,
    /// Null of statistics that do not say.
    reference_count: Option<usize>,
    samples: usize,
    #[serde(flatten)]
    shares: Option<Shares>,
    seed: u64,
    checkpoint: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    saved: Option<PathBuf>,
    seconds: f64,
}

/// Precision and recall, and what they look at.
#[derive(Serialize)]
struct Shares {
    precision: f64,
    recall: f64,
    neighbour: usize,
    neighbours_of_reference: usize,
    neighbours_of_samples: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {:.4}", self.distance_name, self.distance)?;
        if let Some(shares) = &self.shares {
            writeln!(
                f,
                "precision {:.4}, recall {:.4} (k = {}, the first {} real and {} generated images)",
                shares.precision,
                shares.recall,
                shares.neighbour,
                shares.neighbours_of_reference,
                shares.neighbours_of_samples
            )?;
        }
        writeln!(f, "extractor: {}", self.extractor)?;
        let count = match self.reference_count {
            Some(count) => count.to_string(),
            None => "an unknown number of".to_owned(),
        };
        writeln!(f, "reference: {count} images, {}", self.reference)?;
        write!(
            f,
            "samples: {} of checkpoint {}, seed {}, {:.1} s",
            self.samples, self.checkpoint, self.seed, self.seconds
        )?;
        let fewest = self.reference_count.unwrap_or(usize::MAX);
        if fewest.min(self.samples) <= self.dimensions {
            write!(
                f,
                "\nno more images than features have values ({}): the distance is too large, compare \
                 it only with others of as many images",
                self.dimensions
            )?;
        }
        match &self.saved {
            Some(path) => write!(f, "\nstatistics of the reference: {}", path.display()),
            None => Ok(()),
        }
    }
}

/// The real side of a comparison.
struct Reference {
    statistics: GaussianFile,
    images: String,
    /// With the features of the first images, if images were seen.
    extracted: Option<Extracted>,
}

impl OnBackend for FidArgs {
    type Output = Result<Report, Failure>;

    fn run<B: Backend>(self, device: B::Device) -> Self::Output {
        let run = self.run.load()?;
        if let Some(path) = &self.save_stats {
            check_file("--save-stats", path, "npz")?;
        }
        let foreign = match self.features {
            FeaturesName::Inception if self.classifier.is_some() => "--classifier",
            FeaturesName::Classifier if self.weights.is_some() => "--weights",
            FeaturesName::Classifier if self.download => "--download",
            FeaturesName::Inception => {
                let inception = Inception::<B>::load(&self.weights()?, &device)?;
                return self.compare(&run, &inception, &device);
            }
            FeaturesName::Classifier => {
                let classifier = self.classifier::<B>(&run, &device)?;
                return self.compare(&run, &classifier, &device);
            }
        };
        Err(Failure::Usage(format!(
            "{foreign} does not go with --features {}",
            match self.features {
                FeaturesName::Inception => "inception",
                FeaturesName::Classifier => "classifier",
            }
        )))
    }
}

impl FidArgs {
    /// Where Inception's weights are, fetched if asked for.
    fn weights(&self) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.weights {
            return Ok(path.clone());
        }
        let folder = Path::new(WEIGHTS_FOLDER);
        let remote = standard_weights();
        if self.download {
            remote.fetch(folder)?;
        }
        let name = remote.files.first().map_or("", |file| &file.name);
        Ok(folder.join(name))
    }

    /// The classifier of the file, or one trained on the data set's labels and written there.
    fn classifier<B: Backend>(
        &self,
        run: &LoadedRun,
        device: &B::Device,
    ) -> Result<Classifier<B>, Failure> {
        let usual = || run.folder.path().join("classifier.safetensors");
        let path = self.classifier.clone().unwrap_or_else(usual);
        check_file("--classifier", &path, "safetensors")?;
        let spec = self.data.spec(run)?;
        let generator = &run.config.generator;
        let shape =
            shortrun_data::ImageShape::square(generator.image_channels, generator.image_size);
        if path.is_file() {
            let classifier = Classifier::load(&path, device)?;
            let trained = classifier.trained();
            let name = spec.load_split(Split::Test, Some(1))?.name;
            // A file that was named may be of another data set: the report says of which.
            if !trained.takes(shape) || (self.classifier.is_none() && trained.data != name) {
                return Err(Failure::Other(format!(
                    "{} classifies {} x {} x {} images of {}, not {} x {} x {} ones of {name}; name \
                     another file with --classifier",
                    path.display(),
                    trained.channels,
                    trained.size,
                    trained.size,
                    trained.data,
                    shape.channels,
                    shape.height,
                    shape.width,
                )));
            }
            return Ok(classifier);
        }
        let train = spec.load_split(Split::Train, None)?;
        let test = spec.load_split(Split::Test, None)?;
        let options = ClassifierOptions {
            iterations: self.classifier_updates,
            ..Default::default()
        };
        let mut progress = Progress::visible(options.iterations);
        progress.begin(0);
        let classifier = Classifier::train(
            &train.name,
            &train.images,
            &test.images,
            &options,
            device,
            |done| progress.count(done, "updates of the classifier"),
        )?;
        progress.finish();
        classifier.save(&path)?;
        Ok(classifier)
    }

    fn compare<B: Backend>(
        &self,
        run: &LoadedRun,
        extractor: &impl Extractor<B>,
        device: &B::Device,
    ) -> Result<Report, Failure> {
        let begun = Instant::now();
        let reference = self.reference(run, extractor, device)?;
        if let Some(path) = &self.save_stats {
            reference.statistics.write(path)?;
        }
        let seed = self.seed.unwrap_or(run.config.training.seed);
        let method = run.method_seeded::<B>(seed, device)?;
        let generated = method.samples(self.samples, self.batch_size)?.map(as_saved);
        let samples = self.extract(extractor, generated, self.samples, "generated images")?;
        let statistics = &reference.statistics;
        let distance = frechet_distance(&statistics.gaussian, &samples.gaussian)?;
        let shares = match &reference.extracted {
            Some(real) if self.neighbours > 0 => {
                let PrecisionRecall { precision, recall } =
                    precision_recall(&real.first, &samples.first, NEIGHBOUR)?;
                Some(Shares {
                    precision,
                    recall,
                    neighbour: NEIGHBOUR,
                    neighbours_of_reference: real.first.count(),
                    neighbours_of_samples: samples.first.count(),
                })
            }
            _ => None,
        };
        Ok(Report {
            distance_name: extractor.distance_name(),
            distance,
            extractor: extractor.name(),
            dimensions: extractor.dim(),
            reference_count: statistics.origin.as_ref().map(|origin| origin.count),
            reference: reference.images,
            samples: samples.count,
            shares,
            seed,
            checkpoint: run.checkpoint.state.iteration,
            saved: self.save_stats.clone(),
            seconds: begun.elapsed().as_secs_f64(),
        })
    }

    fn reference<B: Backend>(
        &self,
        run: &LoadedRun,
        extractor: &impl Extractor<B>,
        device: &B::Device,
    ) -> Result<Reference, Failure> {
        if let Some(path) = &self.reference_stats {
            let statistics = GaussianFile::read(path, extractor.dim())?;
            statistics.check_extractor(path, &extractor.name())?;
            let shown = path.display();
            return Ok(Reference {
                images: match &statistics.origin {
                    Some(origin) => format!("{} (statistics of {shown})", origin.images),
                    None => format!("statistics of {shown}, which do not say of which extractor"),
                },
                statistics,
                extracted: None,
            });
        }
        let chosen = self.data.load_from(run, Split::Train, self.data.limit())?;
        let count = chosen.images.len();
        let real = batches::<B>(&chosen.images, self.batch_size, device);
        let extracted = self.extract(extractor, real, count, "real images")?;
        let images = format!("{}, {}", chosen.provenance, chosen.part);
        Ok(Reference {
            statistics: GaussianFile {
                gaussian: extracted.gaussian.clone(),
                origin: Some(Origin {
                    extractor: extractor.name(),
                    images: images.clone(),
                    count,
                }),
            },
            images,
            extracted: Some(extracted),
        })
    }

    fn extract<B: Backend>(
        &self,
        extractor: &impl Extractor<B>,
        images: impl Iterator<Item = Tensor<B, 4>>,
        count: usize,
        what: &str,
    ) -> Result<Extracted, Failure> {
        let mut progress = Progress::visible(count as u64);
        progress.begin(0);
        let found = extract(extractor, images, self.neighbours, |done| {
            progress.count(done as u64, what);
        });
        progress.finish();
        Ok(found?)
    }
}
