//! A run small enough for tests: a tiny generator on a few grey images of 28 x 28 pixels.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub)]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use burn::{
    backend::{Autodiff, Flex},
    module::{Module, ModuleVisitor, Param},
    prelude::*,
};
use shortrun_data::{DataSet, ImageShape, Images};
use shortrun_langevin::{LatentLayers, StepSize, StepSizes};
use shortrun_model::{GeneratorConfig, HeadWidth, MultiLayerGenerator, Preset};
use shortrun_train::{
    Checkpoint, LearningRate, MetricsLog, Progress, Record, RunFolder, Session, ShortRunMethod,
    Sigma, Summary, TrainConfig, TrainError,
};

pub type AB = Autodiff<Flex>;
pub type Tiny = MultiLayerGenerator<AB>;

/// Stripes whose direction and width differ from image to image.
pub fn images(count: usize) -> Images {
    let pixels = (0..count).flat_map(|image| {
        (0..28 * 28).map(move |place| {
            let (y, x) = (place / 28, place % 28);
            let along = if image % 2 == 0 { x } else { y };
            if (along / (2 + image % 5)) % 2 == 0 {
                30
            } else {
                220
            }
        })
    });
    Images::new(ImageShape::square(1, 28), pixels.collect(), None).unwrap()
}

pub fn data() -> DataSet {
    DataSet {
        name: "stripes".to_owned(),
        provenance: "stripes made in a test".to_owned(),
        train: images(7),
        test: images(3),
        skipped: Vec::new(),
    }
}

pub fn generator() -> GeneratorConfig {
    GeneratorConfig {
        latents: LatentLayers::new([2, 3]).unwrap(),
        features: 4,
        head_width: HeadWidth::Fixed(3),
        ..Preset::Quick.config(28, 1).unwrap()
    }
}

/// Ten iterations of three images, a checkpoint every four.
pub fn config() -> TrainConfig {
    let mut config = TrainConfig {
        seed: 5,
        iterations: 10,
        batch_size: 3,
        learning_rate: LearningRate::Pieces(vec![(0, 1e-3), (6, 5e-4)]),
        sigma: Sigma::Annealed {
            start: 0.4,
            end: 0.3,
            iterations: 8,
        },
        log_every: 1,
        max_skipped: 3,
        ..TrainConfig::default()
    };
    config.langevin.steps = 3;
    config.langevin.step_size = eta(0.05);
    config.checkpoint.every = 4;
    config.evaluation.images = 3;
    config.evaluation.samples = 2;
    config
}

pub fn eta(eta: f64) -> StepSizes {
    StepSizes::Constant(StepSize::from_eta(eta).unwrap())
}

pub fn start(config: &TrainConfig, data: &DataSet, path: &Path) -> Result<Summary, TrainError> {
    start_until(config, data, path, &AtomicBool::new(false))
}

pub fn start_until(
    config: &TrainConfig,
    data: &DataSet,
    path: &Path,
    stop: &AtomicBool,
) -> Result<Summary, TrainError> {
    let device = Default::default();
    let folder = RunFolder::create(path, "")?;
    let (config, layers) = (config.clone(), generator().latents);
    let model: Tiny = generator().init(config.seed, &device);
    let method = ShortRunMethod::new(model, layers, &config, data.train.len(), &device);
    Session::<Flex, _>::start(config, method, data, folder, &device)?
        .run(stop, &mut Progress::hidden())
}

/// The end of the resumed run, and what was said on resuming.
pub fn resume(
    config: &TrainConfig,
    data: &DataSet,
    path: &Path,
) -> Result<(Summary, Vec<String>), TrainError> {
    let device = Default::default();
    let folder = RunFolder::open(path)?;
    let (config, layers) = (config.clone(), generator().latents);
    let model: Tiny = generator().init(config.seed, &device);
    let method = ShortRunMethod::new(model, layers, &config, data.train.len(), &device);
    let (mut session, messages) =
        Session::<Flex, _>::resume(config, method, data, folder, &device)?;
    let summary = session.run(&AtomicBool::new(false), &mut Progress::hidden())?;
    Ok((summary, messages))
}

/// A folder's checkpoint of an iteration.
pub fn step(path: &Path, iteration: u64) -> PathBuf {
    path.join("checkpoints")
        .join(format!("step-{iteration:08}"))
}

/// The iterations that have a checkpoint, and whatever else lies among them.
pub fn checkpoints(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path.join("checkpoints")).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// All weights of the newest checkpoint, bit by bit.
pub fn weights(path: &Path) -> Vec<u32> {
    let device = Default::default();
    let folder = RunFolder::open(path).unwrap();
    let (checkpoint, _) = Checkpoint::newest(&folder).unwrap();
    let shape: Tiny = generator().init(0, &device);
    bits(&checkpoint.generator::<AB, Tiny>(shape, &device).unwrap())
}

/// All weights of a module, bit by bit.
pub fn bits<M: Module<AB>>(module: &M) -> Vec<u32> {
    struct Bits(Vec<u32>);

    impl ModuleVisitor<AB> for Bits {
        fn visit_float<const D: usize>(&mut self, weight: &Param<Tensor<AB, D>>) {
            let values = weight.val().into_data().to_vec::<f32>().unwrap();
            self.0.extend(values.into_iter().map(f32::to_bits));
        }
    }

    let mut bits = Bits(Vec::new());
    module.visit(&mut bits);
    bits.0
}

/// The records of a run, without the seconds.
pub fn records(path: &Path) -> Vec<Record> {
    let mut records = MetricsLog::read(&RunFolder::open(path).unwrap()).unwrap();
    for record in &mut records {
        match record {
            Record::Train(metrics) => metrics.seconds = 0.0,
            Record::StepSize(tuning) => tuning.seconds = 0.0,
            Record::Evaluation(_) => {}
        }
    }
    records
}

/// The iterations of the evaluations in the log.
pub fn evaluated(path: &Path) -> Vec<u64> {
    let iteration = |record| match record {
        Record::Evaluation(evaluation) => Some(evaluation.iteration),
        Record::Train(_) | Record::StepSize(_) => None,
    };
    records(path).into_iter().filter_map(iteration).collect()
}

/// Every file below a folder with its bytes.
pub fn contents(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}
