//! Expected: on SVHN a top layer that changes colours and little else, and a bottom layer that changes
//! the digits; see docs/HIERARCHY.md.
//!
//! Draws one layer of latents again while the others are held, and goes from one test image to
//! another through their inferred latents. Any run will do, also one of `shortrun train`.
//!
//! ```text
//! cargo run --release --example train_svhn
//! cargo run --release --example hierarchy [-- runs/svhn]
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::{error::Error, process::ExitCode};

use burn::{
    backend::{Autodiff, Flex},
    module::AutodiffModule,
    prelude::*,
};
use shortrun::{
    data::Split,
    eval::{Grid, Interpolation, interpolate, resample_layers},
    model::Generator,
    run::LoadedRun,
};

const IMAGES: usize = 8;
const REDRAWS: usize = 8;

fn run() -> Result<(), Box<dyn Error>> {
    let device = Default::default();
    let path = std::env::args().nth(1);
    let run = LoadedRun::open(path.as_deref().unwrap_or("runs/svhn"))?;
    let generator = run.generator::<Autodiff<Flex>>(&device)?;
    let test = run
        .config
        .data
        .spec()?
        .load_split(Split::Test, Some(IMAGES))?;
    println!("data: {}", test.provenance);

    let (images, inference) = (&test.images, run.own_inference()?);
    let found = inference.infer::<Flex, _>(&generator, images, IMAGES, &device)?;
    let noise = generator.valid().noise_from_latents(found.latents);
    let (layers, shape) = (&inference.layers, images.shape());
    let found =
        resample_layers::<Flex, _>(&generator, layers, noise.clone(), REDRAWS, inference.seed)?;
    for (l, layer) in (1..=layers.count()).rev().zip(&found.layers) {
        println!("layer {l}: mean squared change {:.4}", layer.change().mean);
        let picture = run.folder.path().join(format!("layer-{l}.png"));
        Grid::new(shape, REDRAWS, layer.images.clone()).write_png(&picture)?;
        println!("a row for each image: {}", picture.display());
    }

    // From every image to the next, and from the last to the first.
    let count = noise.dims()[0];
    let part = |range| noise.clone().slice_dim(0, range);
    let next = Tensor::cat(vec![part(1..count), part(0..1)], 0);
    let way = Interpolation::Spherical;
    let path = interpolate::<Flex, _>(&generator, layers, [noise.clone(), next], REDRAWS, way)?;
    let picture = run.folder.path().join("interpolation.png");
    Grid::new(shape, REDRAWS, path).write_png(&picture)?;
    println!("from image to image: {}", picture.display());
    Ok(())
}

fn main() -> ExitCode {
    let Err(error) = run() else {
        return ExitCode::SUCCESS;
    };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}
