//! `shortrun hierarchy`.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Instant,
};

use burn::{backend::Autodiff, module::AutodiffModule, prelude::*};
use clap::Args;
use serde::Serialize;
use shortrun_data::{ImageShape, Images};
use shortrun_eval::{
    Grid, Hierarchy, Interpolation, Redrawn, interpolate, prior_noise, resample_layers,
};
use shortrun_langevin::LatentLayers;
use shortrun_model::{Generator, MultiLayerGenerator};

use super::{
    Failure,
    options::{DEFAULT_COUNT, MOST_OF_EACH, counted, warn_of_divergence},
    reporting::{Reporting, StepSizeReport},
    run::{Loaded, LoadedRun, Subject},
};
use crate::backend::OnBackend;

/// Rows of a picture at most: a person looks at no more.
const ROWS: usize = 8;

/// Arguments of `shortrun hierarchy`.
#[derive(Debug, Args)]
pub(super) struct HierarchyArgs {
    #[command(flatten)]
    pub(super) subject: Subject,
    /// Start from samples of the prior, and not from latents inferred from images.
    #[arg(long, conflicts_with_all = ["data", "data_dir", "split", "langevin_steps", "step_size"])]
    from_prior: bool,
    /// How often each layer of each image is drawn again.
    #[arg(long, default_value_t = 7, value_name = "N", value_parser = counted(1..=MOST_OF_EACH))]
    redraws: usize,
    /// How latents are taken from one image to another: spherical (each layer on an arc, which stays
    /// where standard normal latents lie) or linear.
    #[arg(long, value_enum, default_value_t = WayName::Spherical)]
    interpolation: WayName,
    /// Images on the way from one image to another, both ends among them.
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u16).range(2..))]
    frames: u16,
    /// Folder to write to, made if it is not there: layer-L.png to layer-1.png, top layer first (a row
    /// for each image: as it is, then with the layer drawn again), and interpolation.png (a row for
    /// each pair of images, between them if they are real) [default: RUN/hierarchy].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    pub(super) reporting: Reporting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum WayName {
    Linear,
    Spherical,
}

/// What drawing one layer again, or all of them, changes.
#[derive(Serialize)]
struct Change {
    /// l of z_l: L is the top layer, 1 the bottom one; null of all layers.
    layer: Option<usize>,
    size: usize,
    /// Mean squared change per value in [-1, 1]; null if a chain left all bounds.
    change: Option<f64>,
    standard_error: Option<f64>,
    /// Mean square of the noise that was there before, per dimension: 1 under the prior.
    mean_square: Option<f64>,
}

#[derive(Serialize)]
pub(super) struct Report {
    /// Top first.
    layers: Vec<Change>,
    all: Change,
    images: usize,
    redraws: usize,
    /// Of the chains that inferred latents; absent of samples of the prior.
    #[serde(flatten)]
    inferred: Option<Inferred>,
    seed: u64,
    checkpoint: u64,
    /// Top layer first.
    pictures: Vec<PathBuf>,
    /// Absent of a single image.
    interpolation: Option<PathBuf>,
    seconds: f64,
}

#[derive(Serialize)]
struct Inferred {
    data: String,
    steps: usize,
    step_size: StepSizeReport,
    sigma: f64,
    diverged: f64,
}

impl Change {
    fn new(layer: Option<usize>, size: usize, redrawn: &Redrawn) -> Self {
        let found = redrawn.change();
        let finite = |value: f64| value.is_finite().then_some(value);
        Self {
            layer,
            size,
            change: finite(found.mean),
            standard_error: found.standard_error.and_then(finite),
            mean_square: finite(redrawn.replaced_square),
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, whole: &Self) -> fmt::Result {
        let name = self.layer.map_or("all".to_owned(), |l| format!("{l}"));
        let change = self.change.unwrap_or(f64::NAN);
        let error = self.standard_error.unwrap_or(f64::NAN);
        let share = 100.0 * change / whole.change.unwrap_or(f64::NAN);
        let (size, square) = (self.size, self.mean_square.unwrap_or(f64::NAN));
        writeln!(
            f,
            "{name:>5} {size:>6} {change:>10.5} {error:>10.5} {share:>7.1} % {square:>12.3}"
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.inferred {
            Some(inferred) => {
                writeln!(f, "data: {}", inferred.data)?;
                writeln!(
                    f,
                    "K = {}, eta {}, sigma {:.4}, checkpoint {}",
                    inferred.steps, inferred.step_size, inferred.sigma, self.checkpoint
                )?;
            }
            None => writeln!(f, "samples of the prior, checkpoint {}", self.checkpoint)?,
        }
        writeln!(
            f,
            "mean squared change per value in [-1, 1] when a layer is drawn again: {} images, {} \
             redraws each, {:.1} s",
            self.images, self.redraws, self.seconds
        )?;
        writeln!(
            f,
            "{:>5} {:>6} {:>10} {:>10} {:>9} {:>12}",
            "layer", "size", "change", "std error", "of all", "mean square"
        )?;
        for layer in self.layers.iter().chain([&self.all]) {
            layer.write(f, &self.all)?;
        }
        writeln!(
            f,
            "(mean square: of the noise that was there before, per dimension; 1 under the prior)"
        )?;
        let pictures = self.pictures.iter().chain(&self.interpolation);
        let pictures: Vec<String> = pictures.map(|path| path.display().to_string()).collect();
        write!(f, "pictures: {}", pictures.join(", "))
    }
}

/// What the layers are drawn again in: noise `[n, d]`, and the images it was inferred from.
struct Base<B: Backend> {
    noise: Tensor<B, 2>,
    images: Option<Images>,
    inferred: Option<Inferred>,
    seed: u64,
}

impl HierarchyArgs {
    fn base<B: Backend>(
        &self,
        run: &LoadedRun,
        device: &B::Device,
    ) -> Result<(MultiLayerGenerator<Autodiff<B>>, Base<B>), Failure> {
        if self.from_prior {
            let count = self.subject.data.count(DEFAULT_COUNT);
            let seed = self.subject.chain.seed;
            let seed = seed.unwrap_or(run.config.training.seed);
            let base = Base {
                noise: prior_noise(&run.config.generator.latents, count, seed, device),
                images: None,
                inferred: None,
                seed,
            };
            return Ok((run.generator(device)?, base));
        }
        let Loaded {
            generator,
            chosen,
            inference,
        } = self.subject.load::<B>(run, DEFAULT_COUNT, device)?;
        let count = chosen.images.len();
        let found = inference.infer(&generator, &chosen.images, count, device)?;
        warn_of_divergence(found.divergence.as_ref());
        let base = Base {
            noise: generator.valid().noise_from_latents(found.latents),
            seed: inference.seed,
            inferred: Some(Inferred {
                data: chosen.provenance,
                steps: inference.chain.steps(),
                step_size: inference.chain.step_sizes().into(),
                sigma: inference.sigma,
                diverged: found.divergence.map_or(0.0, |found| found.share),
            }),
            images: Some(chosen.images),
        };
        Ok((generator, base))
    }

    /// The picture of the paths between the images 0 and 1, 2 and 3, and so on.
    fn paths<B: Backend>(
        &self,
        generator: &MultiLayerGenerator<Autodiff<B>>,
        layers: &LatentLayers,
        base: &Base<B>,
        shape: ImageShape,
    ) -> Result<Option<Grid>, Failure> {
        let [count, d] = base.noise.dims();
        let pairs = (count / 2).min(ROWS);
        if pairs == 0 {
            return Ok(None);
        }
        let noise = base.noise.clone().slice_dim(0, 0..2 * pairs);
        let noise = noise.reshape([pairs, 2, d]);
        let ends = [0, 1].map(|end| noise.clone().slice_dim(1, end..end + 1).squeeze_dim(1));
        let way = match self.interpolation {
            WayName::Linear => Interpolation::Linear,
            WayName::Spherical => Interpolation::Spherical,
        };
        let frames = usize::from(self.frames);
        let found = interpolate::<B, _>(generator, layers, ends, frames, way)?;
        let Some(images) = &base.images else {
            return Ok(Some(Grid::new(shape, frames, found)));
        };
        let rows = found.chunks_exact(frames * shape.values()).enumerate();
        let rows = rows.flat_map(|(pair, row)| {
            let real = |place| images.to_f32(&[place]);
            [real(2 * pair), row.to_vec(), real(2 * pair + 1)].concat()
        });
        Ok(Some(Grid::new(shape, frames + 2, rows.collect())))
    }
}

/// A row for each of the first images: as it is, then with one layer drawn again.
pub(super) fn layer_rows(
    shape: ImageShape,
    found: &Hierarchy,
    layer: &Redrawn,
    redraws: usize,
) -> Grid {
    let values = shape.values();
    let redrawn = layer.images.chunks_exact(redraws * values);
    let rows = found.base.chunks_exact(values).zip(redrawn).take(ROWS);
    let pictures = rows.flat_map(|(base, redrawn)| [base, redrawn].concat());
    Grid::new(shape, redraws + 1, pictures.collect())
}

fn write(grid: &Grid, folder: &Path, name: &str) -> Result<PathBuf, Failure> {
    let path = folder.join(name);
    grid.write_png(&path)?;
    Ok(path)
}

impl OnBackend for HierarchyArgs {
    type Output = Result<Report, Failure>;

    fn run<B: Backend>(mut self, device: B::Device) -> Self::Output {
        let run = self.subject.run.load()?;
        let folder = run.pictures(self.out.take(), "hierarchy")?;
        let begun = Instant::now();
        let (generator, base) = self.base::<B>(&run, &device)?;
        let config = &run.config.generator;
        let layers = &config.latents;
        let found = resample_layers::<B, _>(
            &generator,
            layers,
            base.noise.clone(),
            self.redraws,
            base.seed,
        )?;
        let shape = ImageShape::square(config.image_channels, config.image_size);
        let paths = self.paths(&generator, layers, &base, shape)?;
        let seconds = begun.elapsed().as_secs_f64();
        // z_L is the top layer, z_1 the bottom one.
        let numbered = || (1..=layers.count()).rev().zip(&found.layers);
        let pictures = numbered().map(|(l, layer)| {
            let grid = layer_rows(shape, &found, layer, self.redraws);
            write(&grid, &folder, &format!("layer-{l}.png"))
        });
        let changes = numbered().zip(layers.sizes());
        Ok(Report {
            layers: changes
                .map(|((l, layer), size)| Change::new(Some(l), *size, layer))
                .collect(),
            all: Change::new(None, layers.dim(), &found.all),
            images: base.noise.dims()[0],
            redraws: self.redraws,
            inferred: base.inferred,
            seed: base.seed,
            checkpoint: run.checkpoint.state.iteration,
            pictures: pictures.collect::<Result<_, _>>()?,
            interpolation: paths
                .map(|grid| write(&grid, &folder, "interpolation.png"))
                .transpose()?,
            seconds,
        })
    }
}
