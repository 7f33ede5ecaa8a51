//! Expected: MSE below half of the mean image's after about a minute, digits that can be guessed.
//!
//! Your own network as the generator. All that shortrun asks of a Burn module is one method,
//! `forward`: flat latents in, images in [-1, 1] out. Energy, gradient, chain, training and
//! reconstruction follow from it.
//!
//! ```text
//! cargo run --release --example custom_model [-- ITERATIONS]
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::{error::Error, path::Path, process::ExitCode};

use burn::{
    backend::{Autodiff, Flex},
    nn::{
        Linear, LinearConfig,
        conv::{ConvTranspose2d, ConvTranspose2dConfig},
    },
    prelude::*,
    tensor::activation::gelu,
};
use shortrun::{
    data::{DataSpec, Source},
    eval::{Grid, Inference, mean_image_mse, reconstruct},
    langevin::{LatentLayers, ShortRun, StepSize},
    model::Generator,
    train::{LearningRate, Progress, RunFolder, Session, ShortRunMethod, Sigma, Stop, TrainConfig},
};

const LATENTS: usize = 64;
const CHANNELS: usize = 16;

/// A plain decoder: a linear map to 8 x 8, then twice the size, and twice again.
#[derive(Module, Debug)]
struct Decoder<B: Backend> {
    project: Linear<B>,
    grow: ConvTranspose2d<B>,
    paint: ConvTranspose2d<B>,
}

impl<B: Backend> Decoder<B> {
    fn new(device: &B::Device) -> Self {
        let twice = |from, to| {
            ConvTranspose2dConfig::new([from, to], [4, 4])
                .with_stride([2, 2])
                .with_padding([1, 1])
                .init(device)
        };
        Self {
            project: LinearConfig::new(LATENTS, CHANNELS * 8 * 8).init(device),
            grow: twice(CHANNELS, CHANNELS),
            paint: twice(CHANNELS, 3),
        }
    }
}

impl<B: Backend> Generator<B> for Decoder<B> {
    fn forward(&self, latents: Tensor<B, 2>) -> Tensor<B, 4> {
        let [n, _] = latents.dims();
        let seed = gelu(self.project.forward(latents));
        let grown = self.grow.forward(seed.reshape([n, CHANNELS, 8, 8]));
        self.paint.forward(gelu(grown)).tanh()
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let iterations = std::env::args().nth(1).map_or(Ok(200), |text| {
        let wrong = |e| format!("ITERATIONS must be a whole number; found '{text}' ({e})");
        text.parse::<u64>().map_err(wrong)
    })?;
    let data = DataSpec::new(Source::Synthetic, 32).load()?;
    println!("data: {}", data.provenance);

    let mut config = TrainConfig {
        iterations,
        batch_size: 32,
        learning_rate: LearningRate::Constant(1e-3),
        sigma: Sigma::Constant(0.2),
        ..TrainConfig::default()
    };
    config.langevin.steps = 15;
    config.langevin.step_size = StepSize::from_eta(0.1)?.into();
    let inference = Inference {
        chain: ShortRun::new(60, config.langevin.step_size.clone())?,
        sigma: config.sigma.last(),
        seed: config.seed,
        layers: LatentLayers::new([LATENTS])?,
    };

    let device = Default::default();
    Flex::seed(&device, config.seed);
    let model = Decoder::<Autodiff<Flex>>::new(&device);
    let layers = inference.layers.clone();
    let path = (1..)
        .map(|number| format!("runs/custom-model-{number}"))
        .find(|path| !Path::new(path).exists())
        .ok_or("no free folder under runs")?;
    let folder = RunFolder::create(&path, &toml::to_string(&config)?)?;
    let mut progress = Progress::visible(iterations);
    let method = ShortRunMethod::<Flex, _>::new(model, layers, &config, data.train.len(), &device);
    let mut session = Session::start(config, method, &data, folder, &device)?;
    session.run(&Stop::new(false), &mut progress)?;

    let found = reconstruct(
        session.method().generator(),
        &data.test,
        64,
        &inference,
        &device,
    )?;
    let mean = mean_image_mse(&data.train.mean_image(), &data.test, 64);
    println!("MSE {:.4} (mean image: {mean:.4})", found.mse());
    let picture = format!("{path}/reconstructed.png");
    Grid::pairs(data.test.shape(), 8, &found.originals, &found.generated).write_png(&picture)?;
    println!("originals above reconstructions: {picture}");
    Ok(())
}

fn main() -> ExitCode {
    let Err(error) = run() else {
        return ExitCode::SUCCESS;
    };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}
