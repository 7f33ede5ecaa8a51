//! Expected: on SVHN MSE 0.05 to 0.06 on hidden pixels (mean image: 0.18), blurred strokes that go on
//! where the visible ones end, some of them wrong.
//!
//! Hides the middle of test images and lets a trained run fill it in, several times for each image:
//! the rows are originals, occluded, one chain's answer, the mean of all, and where they differ.
//! Any run will do, also one of `shortrun train`.
//!
//! ```text
//! cargo run --release --example train_svhn
//! cargo run --release --example inpaint [-- runs/svhn]
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::{error::Error, process::ExitCode};

use burn::backend::{Autodiff, Flex};
use shortrun::{
    data::Split,
    eval::{Grid, Mask, inpaint},
    run::LoadedRun,
};

const IMAGES: usize = 16;
const CHAINS: usize = 8;

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

    let (images, count) = (&test.images, test.images.len());
    let mask: Mask = "center:12".parse()?;
    let inference = run.own_inference()?;
    let found = inpaint::<Flex, _>(
        &generator, images, count, &mask, CHAINS, &inference, &device,
    )?;
    println!(
        "MSE on hidden pixels: {:.4} of one chain, {:.4} of the mean of {CHAINS}",
        found.hidden_mse, found.mean_hidden_mse
    );
    // Deviations lie in [0, 1]: black is none.
    let doubt: Vec<f32> = found.deviation.iter().map(|d| 2.0 * d - 1.0).collect();
    let rows = [
        &found.originals,
        &found.occluded,
        &found.inpainted,
        &found.mean,
        &doubt,
    ];
    let picture = run.folder.path().join("inpaint.png");
    Grid::stacks(images.shape(), 8, &rows.map(Vec::as_slice)).write_png(&picture)?;
    println!("picture: {}", picture.display());
    Ok(())
}

fn main() -> ExitCode {
    let Err(error) = run() else {
        return ExitCode::SUCCESS;
    };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}
