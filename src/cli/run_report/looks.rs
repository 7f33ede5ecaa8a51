//! What there is to see of a checkpoint: samples, reconstructions, inpainting, layers, the step size.

use burn::{backend::Autodiff, module::AutodiffModule, prelude::*};
use shortrun_baselines::MethodName;
use shortrun_data::ImageShape;
use shortrun_eval::{Grid, Inference, Mask, Side, host, inpaint, resample_layers};
use shortrun_model::{Generator, MultiLayerGenerator};
use shortrun_report::{Picture, Section, Table, number};
use shortrun_train::Method;

use super::{ReportArgs, origin::LookedAt};
use crate::{
    backend::OnBackend,
    cli::{
        Failure,
        hierarchy::layer_rows,
        options::{Chosen, DEFAULT_COUNT},
        reporting::StepSizeReport,
        run::{InferredBy, LoadedRun, OF_AN_INVERSE},
        step_size::StepSizeArgs,
    },
};

type Model<B> = MultiLayerGenerator<Autodiff<B>>;

const COLUMNS: usize = 8;
/// Samples, and training images beside them.
const SAMPLES: usize = 64;
/// Reconstructions that are shown.
const PAIRS: usize = 32;
/// Images that are inpainted with each mask, and chains for each.
const INPAINTED: usize = 8;
const CHAINS: usize = 4;
/// Images whose layers are drawn again, and how often each layer is.
const HELD: usize = 8;
const REDRAWS: usize = 7;
/// Images and etas of the objective's curve.
const OBJECTIVE_IMAGES: usize = 2;
const ETAS: [f64; 9] = [0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.13, 0.17];

/// Address and title of each section.
const SECTIONS: [(&str, &str); 5] = [
    ("samples", "Samples"),
    ("reconstructions", "Reconstructions"),
    ("inpainting", "Inpainting"),
    ("hierarchy", "Hierarchy"),
    ("step-size", "Step size"),
];

/// What was seen.
pub(super) struct Looks {
    /// Of the checkpoint.
    pub(super) iteration: u64,
    /// With the objective of the step size, if that was not forbidden.
    pub(super) whole: bool,
    pub(super) sections: Vec<Section>,
    /// The images that were looked at, if they were found.
    pub(super) data: Option<LookedAt>,
}

/// The sections of a run without a usable checkpoint.
pub(super) fn missing(reason: &Failure) -> Vec<Section> {
    let section = |(id, title)| Section::missing(id, title, reason);
    SECTIONS.into_iter().map(section).collect()
}

/// Looks at a checkpoint. Where images cannot be had, the sections that need them say why.
///
/// # Errors
/// If what was asked for (a chain, other images) makes no sense.
pub(super) fn look<B: Backend>(
    args: &ReportArgs,
    run: &LoadedRun,
    whole: bool,
    device: &B::Device,
) -> Result<Looks, Failure> {
    let inference = run.inference(&args.subject.chain)?;
    let chosen = args
        .subject
        .data
        .load_first(run, args.subject.data.count(DEFAULT_COUNT));
    let chosen = match chosen {
        Err(error) if args.subject.data.given() => return Err(error),
        chosen => chosen,
    };
    let looker: Looker<'_, B> = Looker {
        args,
        run,
        inference,
        device: device.clone(),
    };
    let [samples, reconstructions, inpainting, hierarchy, step_size] = SECTIONS;
    let with = |(id, title): (&'static str, &'static str),
                of: &dyn Fn(Section, &Chosen) -> Result<Section, Failure>| {
        let made = match &chosen {
            Ok(chosen) => of(Section::new(id, title), chosen),
            Err(error) => return Section::missing(id, title, error),
        };
        made.unwrap_or_else(|error| Section::missing(id, title, error))
    };
    let sections = vec![
        looker
            .samples(chosen.as_ref().ok())
            .unwrap_or_else(|error| Section::missing(samples.0, samples.1, error)),
        with(reconstructions, &|section, chosen| {
            looker.reconstructions(section, chosen)
        }),
        with(inpainting, &|section, chosen| {
            looker.inpainting(section, chosen)
        }),
        with(hierarchy, &|section, chosen| {
            looker.hierarchy(section, chosen)
        }),
        with(step_size, &|section, _| looker.step_size(section, whole)),
    ];
    Ok(Looks {
        iteration: run.checkpoint.state.iteration,
        whole,
        sections,
        data: chosen.ok().map(|chosen| LookedAt {
            name: chosen.name,
            provenance: chosen.provenance,
            other: args.subject.data.given(),
        }),
    })
}

/// A checkpoint, ready to be looked at.
struct Looker<'a, B: Backend> {
    args: &'a ReportArgs,
    run: &'a LoadedRun,
    inference: Inference,
    device: B::Device,
}

impl<B: Backend> Looker<'_, B> {
    fn generator(&self) -> Result<Model<B>, Failure> {
        Ok(self.run.generator(&self.device)?)
    }

    fn samples(&self, chosen: Option<&Chosen>) -> Result<Section, Failure> {
        let (id, title) = SECTIONS[0];
        let config = &self.run.config.generator;
        let seed = self.inference.seed;
        let method = self.run.method_seeded::<B>(seed, &self.device)?;
        let images = method.samples(SAMPLES, SAMPLES)?.flat_map(host).collect();
        let shape = ImageShape::square(config.image_channels, config.image_size);
        let from = match self.run.config.method.name() {
            MethodName::Glo => "the Gaussian fitted to its latents",
            MethodName::Glow => "noise at its temperature",
            _ => "the prior",
        };
        let caption = format!("{SAMPLES} samples from {from}");
        let mut pictures = vec![Picture::of(&Grid::new(shape, COLUMNS, images), caption)?];
        let mut section = Section::new(id, title);
        match chosen.map(|chosen| chosen.training_images(SAMPLES)) {
            Some(Ok(images)) => {
                let count = images.len().min(SAMPLES);
                let places: Vec<usize> = (0..count).collect();
                let grid = Grid::new(images.shape(), COLUMNS, images.to_f32(&places));
                let caption = format!("the first {count} training images, for comparison");
                pictures.push(Picture::of(&grid, caption)?);
            }
            Some(Err(error)) => section = section.note(format!("No training images: {error}")),
            None => section = section.note("No training images beside them: they were not found."),
        }
        Ok(section.pictures(&pictures))
    }

    fn reconstructions(&self, section: Section, chosen: &Chosen) -> Result<Section, Failure> {
        let (images, count) = (&chosen.images, chosen.images.len());
        let options = &self.args.subject.chain;
        let (found, by) = self
            .run
            .reconstruct::<B>(options, images, count, &self.device)?;
        let (by, exact) = match by {
            InferredBy::Chain(_) => (self.chain(), false),
            InferredBy::Method(name, method) => {
                (format!("inferred by {}", name.name()), method.is_exact())
            }
        };
        let shown = count.min(PAIRS);
        let values = shown * images.shape().values();
        let (above, below) = (&found.originals[..values], &found.generated[..values]);
        let grid = Grid::pairs(images.shape(), COLUMNS, above, below);
        let mut section = section.text(format!(
            "Mean squared error {} per value in [-1, 1] on {count} images; {}.",
            number(found.mse()),
            by
        ));
        if exact {
            section = section.note(format!("It {OF_AN_INVERSE}."));
        }
        if let Some(divergence) = &found.divergence {
            let share = number(100.0 * divergence.share);
            section = section.note(format!("{share} % of the chains diverged."));
        }
        let caption = format!(
            "{shown} images, each row above what the generator makes of their inferred latents"
        );
        Ok(section.pictures(&[Picture::of(&grid, caption)?]))
    }

    fn inpainting(&self, section: Section, chosen: &Chosen) -> Result<Section, Failure> {
        let generator = self.generator()?;
        let (images, shape) = (&chosen.images, chosen.images.shape());
        let mut pictures = Vec::new();
        let mut table = Table {
            head: [
                "mask",
                "MSE, hidden pixels",
                "of the mean of the chains",
                "MSE, visible pixels",
            ]
            .map(str::to_owned)
            .to_vec(),
            rows: Vec::new(),
        };
        let masks = [
            Mask::Centre(shape.height / 2),
            Mask::Half(Side::Bottom),
            Mask::Random(0.8),
        ];
        for mask in masks {
            let found = inpaint::<B, Model<B>>(
                &generator,
                images,
                INPAINTED,
                &mask,
                CHAINS,
                &self.inference,
                &self.device,
            )?;
            let grid = Grid::stacks(shape, COLUMNS, &found.rows().each_ref().map(|row| &row[..]));
            pictures.push(Picture::of(&grid, mask.to_string())?);
            table.rows.push(vec![
                mask.to_string(),
                number(found.hidden_mse),
                number(found.mean_hidden_mse),
                number(found.visible_mse),
            ]);
        }
        Ok(section
            .text(format!(
                "The chain sees some pixels only. Rows: original, occluded, inpainted by one chain, mean \
                 of {CHAINS} chains, their standard deviation (black is none); {}.",
                self.chain()
            ))
            .pictures(&pictures)
            .table(&table))
    }

    fn hierarchy(&self, section: Section, chosen: &Chosen) -> Result<Section, Failure> {
        let (generator, layers) = (self.generator()?, &self.inference.layers);
        let (images, seed) = (&chosen.images, self.inference.seed);
        let found = self
            .inference
            .infer::<B, Model<B>>(&generator, images, HELD, &self.device)?;
        let noise = generator.valid().noise_from_latents(found.latents);
        let found = resample_layers::<B, Model<B>>(&generator, layers, noise, REDRAWS, seed)?;
        let all = found.all.change().mean;
        let mut pictures = Vec::new();
        let mut table = Table {
            head: ["layer", "latents", "mean squared change", "share of all"]
                .map(str::to_owned)
                .to_vec(),
            rows: Vec::new(),
        };
        let row = |layer: String, latents: usize, change: f64| {
            let share = format!("{:.0} %", 100.0 * change / all);
            vec![layer, latents.to_string(), number(change), share]
        };
        // z_L is the top layer, z_1 the bottom one.
        let numbered = (1..=layers.count()).rev().zip(&found.layers);
        for ((l, layer), size) in numbered.zip(layers.sizes()) {
            let grid = layer_rows(images.shape(), &found, layer, REDRAWS);
            pictures.push(Picture::of(&grid, format!("layer {l} drawn again"))?);
            table
                .rows
                .push(row(l.to_string(), *size, layer.change().mean));
        }
        table.rows.push(row("all".to_owned(), layers.dim(), all));
        let count = images.len().min(HELD);
        Ok(section
            .text(format!(
                "The inferred noise of one layer is drawn again from its prior, that of the others \
                 held. A row for each of {count} images: what the generator makes of it, then \
                 {REDRAWS} redraws; {}.",
                self.chain()
            ))
            .table(&table)
            .pictures(&pictures))
    }

    /// The objective of the step size, if a whole page is asked for.
    fn step_size(&self, section: Section, whole: bool) -> Result<Section, Failure> {
        let method = self.run.config.method.name();
        if !method.has_chains() {
            return Ok(section.text(format!("{} has no chains.", method.name())));
        }
        let own = StepSizeReport::from(self.inference.chain.step_sizes());
        let section = section.text(format!("At this checkpoint eta is {own}."));
        if self.args.no_objective {
            return Ok(section.text("The curve of the objective was left out (--no-objective)."));
        }
        if !whole {
            return Ok(section.text("The curve of the objective follows when training has ended."));
        }
        let found = StepSizeArgs::grid(
            self.args.subject.run.clone(),
            self.args.subject.data.with_count(OBJECTIVE_IMAGES),
            self.args.subject.chain.clone(),
            self.args.objective,
            &ETAS,
            self.args.reporting,
        )
        .run::<B>(self.device.clone())?;
        let row = |name: &str, size: &StepSizeReport, value: f64| {
            let list = |values: &[f64]| values.iter().copied().map(number).collect::<Vec<_>>();
            let [eta, drift] = [&size.eta, &size.drift].map(|values| list(values).join(", "));
            vec![name.to_owned(), eta, drift, number(value)]
        };
        let mut table = Table {
            head: ["", "eta", "drift s", "objective, nats an image"]
                .map(str::to_owned)
                .to_vec(),
            rows: vec![
                row("best", &found.step_size, found.value),
                row("the run’s own", &found.own_step_size, found.own_value),
            ],
        };
        let points = found.curve.iter();
        table
            .rows
            .extend(points.map(|point| row("tried", &point.step_size, point.objective)));
        Ok(section
            .text(format!(
                "The {} objective is what the chain’s divergence from the posterior is bounded by: lower \
                 is better. Mean over {} images, K = {}, sigma {}. `shortrun step-size` looks closer.",
                found.objective,
                found.images,
                found.steps,
                number(found.sigma)
            ))
            .plots(&[found.panel])
            .table(&table))
    }

    /// How latents were inferred.
    fn chain(&self) -> String {
        let sizes = StepSizeReport::from(self.inference.chain.step_sizes());
        format!(
            "K = {}, eta {sizes}, sigma {}",
            self.inference.chain.steps(),
            number(self.inference.sigma)
        )
    }
}
