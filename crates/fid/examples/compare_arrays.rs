//! Inception features and distances of arrays of real images, to be held against pytorch-fid
//! (`tests/reference/pytorch_fid_reference.py`). Features go into A.features.npy and so on; the last
//! lines say what an image takes.
//!
//! ```sh
//! cargo run --release -p shortrun-fid --example compare_arrays -- WEIGHTS.pth 25 1000 A.npy B.npy
//! ```
//!
//! for batches of 25 and the first 1,000 images of each array. With `--features cuda`, `cuda` before
//! the weights computes on an NVIDIA GPU.

use std::{error::Error, fs::File, path::Path, time::Instant};

use burn::{backend::Flex, prelude::*};
use shortrun_data::{read_npy, write_float_npy};
use shortrun_fid::{
    Extracted, Extractor, Inception, batches, extract, frechet_distance, precision_recall,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        #[cfg(feature = "cuda")]
        Some((first, rest)) if first == "cuda" => compare::<burn::backend::Cuda>(rest),
        _ => compare::<Flex>(&arguments),
    }
}

fn compare<B: Backend>(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [weights, batch_size, count, arrays @ ..] = arguments else {
        return Err("give WEIGHTS.pth BATCH COUNT A.npy [B.npy]".into());
    };
    let (batch_size, count) = (batch_size.parse()?, count.parse()?);
    let device = Default::default();
    let inception = Inception::<B>::load(Path::new(weights), &device)?;
    let name = Extractor::<B>::name(&inception);
    let mut all: Vec<Extracted> = Vec::new();
    let (mut images, begun) = (0, Instant::now());
    for path in arrays {
        let array = read_npy(Path::new(path), Some(count))?;
        let batches = batches::<B>(&array, batch_size, &device);
        let found = extract(&inception, batches, usize::MAX, |_| {})?;
        images += found.count;
        let rows: Vec<f64> = found.first.values.iter().map(|v| f64::from(*v)).collect();
        let out = File::create(Path::new(path).with_extension("features.npy"))?;
        write_float_npy(out, &[found.count, found.first.dim], &rows)?;
        all.push(found);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let peak = peak_memory();
    let each = 1000.0 * seconds / images as f64;
    #[allow(clippy::print_stdout)]
    {
        println!("{name}");
        if let [one, other] = all.as_slice() {
            let begun = Instant::now();
            let distance = frechet_distance(&one.gaussian, &other.gaussian)?;
            let took = begun.elapsed().as_secs_f64();
            println!("distance {distance:.10} in {took:.1} s");
            let begun = Instant::now();
            let shares = precision_recall(&one.first, &other.first, 3)?;
            println!("{shares:?} in {:.1} s", begun.elapsed().as_secs_f64());
        }
        println!(
            "{images} images in batches of {batch_size}: {seconds:.1} s, {each:.1} s per 1,000"
        );
        println!("peak memory of the features: {peak}");
    }
    Ok(())
}

/// The most memory that this process ever held, where the system says (Linux).
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.map_or("unknown", str::trim).to_owned()
}
