//! On a CUDA GPU: the kernels against a float64 reference on random data, twice and bit by bit, and
//! how long a chain takes.
//!
//! ```sh
//! cargo run --release -p shortrun-kernels --features cuda --example kernel_check
//! ```
//!
//! Names of shapes choose among them; `quick`: the first alone; `untimed`, `unchecked`: one half; `f16`: operands of
//! float16, not bfloat16.
#![allow(clippy::print_stdout)]

#[path = "kernel_check/parts.rs"]
mod parts;
#[path = "kernel_check/reference.rs"]
mod reference;
#[path = "kernel_check/shapes.rs"]
mod shapes;

use std::time::Instant;

use cubecl::{
    cuda::{CudaDevice, CudaRuntime},
    prelude::*,
    server::Handle,
};
use reference::{Generator, Rng};
use shapes::{finer, released, shapes, wider};
use shortrun_kernels::{
    GeneratorKernels, Noise, NoiseStream, Observed, Shape,
    cuda::{Network, Operands, Packed},
};
use shortrun_langevin::{NoiseKey, Purpose};

type Client = ComputeClient<CudaRuntime>;

struct Case {
    network: Network,
    generator: Generator,
    weights: Vec<Handle>,
    batch: usize,
    images: Vec<f32>,
    mask: Vec<f32>,
    latents: Vec<f32>,
}

fn bytes(values: &[f32]) -> &[u8] {
    bytemuck::cast_slice(values)
}

fn read(client: &Client, handle: &Handle) -> Vec<f32> {
    let bytes = client.read_one_unchecked(handle.clone());
    bytemuck::cast_slice::<u8, f32>(&bytes).to_vec()
}

fn keyed(key: NoiseKey) -> Noise {
    let (counter, key) = key.philox();
    Noise::Keyed(NoiseStream { counter, key })
}

fn sync(client: &Client) {
    if let Err(error) = cubecl::future::block_on(client.sync()) {
        println!("sync failed: {error:?}");
        std::process::exit(1);
    }
}

/// Whether the command line has this word.
fn asked(word: &str) -> bool {
    std::env::args().skip(1).any(|argument| argument == word)
}

/// Gives back memory of every size, full of what is no number as float32 nor as any of 16 bits: what kernels
/// read and nobody wrote shows.
fn poison(client: &Client) {
    let words = vec![0x7FFF_7FFF_u32; 1 << 23];
    let bytes: &[u8] = bytemuck::cast_slice(&words);
    let all: Vec<Handle> = (8..=25)
        .map(|power| client.create_from_slice(&bytes[..1 << power]))
        .collect();
    sync(client);
    drop(all);
}

impl Case {
    fn new(client: &Client, shape: &Shape, batch: usize, seed: u64) -> Self {
        let operands = match asked("f16") {
            true => Operands::Half,
            false => Operands::Brain,
        };
        let generator = Generator::new(shape.clone(), seed);
        let mut rng = Rng(seed ^ 0x9E37_79B9_7F4A_7C15);
        let side = shape.size << shape.doublings;
        let pixels = shape.image_channels * side * side;
        let images = (0..batch * pixels).map(|_| rng.uniform() * 0.9).collect();
        let mask = (0..batch * pixels)
            .map(|_| f32::from(u8::from(rng.uniform() > -0.5)))
            .collect();
        let latents = (0..batch * shape.dim()).map(|_| rng.normal()).collect();
        let parameters: Vec<f32> = generator.parameters.iter().map(|v| *v as f32).collect();
        let parts = generator.parts().into_iter();
        let weights = parts.map(|(_, own)| client.create_from_slice(bytes(&parameters[own])));
        let weights = weights.collect();
        Self {
            network: Network::new(client.clone(), shape.clone(), operands),
            generator,
            weights,
            batch,
            images,
            mask,
            latents,
        }
    }

    fn pack(&self) -> Packed {
        self.network.pack(&self.weights)
    }

    fn observed(&self, client: &Client, masked: bool) -> Observed {
        Observed {
            images: client.create_from_slice(bytes(&self.images)),
            mask: masked.then(|| client.create_from_slice(bytes(&self.mask))),
            precision: 1.0 / (0.3 * 0.3),
        }
    }

    fn reference(&self, latents: &[f32], image: usize, masked: bool) -> (f64, Vec<f64>) {
        let shape = self.network.shape();
        let pixels = self.images.len() / self.batch;
        let row = |of: &[f32], width: usize| -> Vec<f64> {
            of[image * width..][..width]
                .iter()
                .map(|v| f64::from(*v))
                .collect()
        };
        let mask = if masked {
            row(&self.mask, pixels)
        } else {
            vec![1.0; pixels]
        };
        self.generator.energy_and_gradient(
            &row(latents, shape.dim()),
            &row(&self.images, pixels),
            &mask,
            1.0 / (0.3 * 0.3),
        )
    }
}

/// `|found - wanted| / |wanted|`
fn error(found: &[f32], wanted: &[f64]) -> f64 {
    let (mut off, mut all) = (0.0, 0.0);
    for (f, w) in found.iter().zip(wanted) {
        off += (f64::from(*f) - w).powi(2);
        all += w * w;
    }
    (off / all).sqrt()
}

/// Passes if it is small; a NaN fails.
fn judge(failed: &mut bool, name: &str, value: f64, limit: f64) {
    let ok = value < limit;
    *failed |= !ok;
    println!(
        "  {:40} {value:9.2e}  < {limit:.0e}  {}",
        name,
        if ok { "ok" } else { "FAILED" }
    );
}

/// Gradients of the weights, part by part, and every bit twice.
fn check_weights(client: &Client, case: &Case, packed: &Packed, failed: &mut bool) {
    let batch = case.batch;
    let observed = case.observed(client, true);
    let mut rng = Rng(99);
    let weights: Vec<f32> = (0..batch).map(|_| 0.5 + 0.4 * rng.uniform()).collect();
    let run = || {
        poison(client);
        let latents = client.create_from_slice(bytes(&case.latents));
        let weights = client.create_from_slice(bytes(&weights));
        let gradients = case
            .network
            .weight_gradients(packed, &observed, latents, batch, weights);
        let all: Vec<f32> = gradients.iter().flat_map(|own| read(client, own)).collect();
        all
    };
    let gradient = run();
    if gradient.len() != case.generator.parameters.len() {
        println!("  weights: {} gradients", gradient.len());
        *failed = true;
        return;
    }
    let again = run();
    let same = again
        .iter()
        .zip(&gradient)
        .all(|(a, b)| a.to_bits() == b.to_bits());
    judge(
        failed,
        "weights: second run differs",
        f64::from(u8::from(!same)),
        0.5,
    );
    let of_images: Vec<Vec<f64>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..batch)
            .map(|image| {
                scope.spawn(move || {
                    let pixels = case.images.len() / batch;
                    let row = |of: &[f32], width: usize| -> Vec<f64> {
                        of[image * width..][..width]
                            .iter()
                            .map(|v| f64::from(*v))
                            .collect()
                    };
                    case.generator.weight_gradient(
                        &row(&case.latents, case.network.shape().dim()),
                        &row(&case.images, pixels),
                        &row(&case.mask, pixels),
                        1.0 / (0.3 * 0.3),
                    )
                })
            })
            .collect();
        threads
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect()
    });
    let mut wanted = vec![0.0; gradient.len()];
    for (own, weight) in of_images.iter().zip(&weights) {
        for (sum, g) in wanted.iter_mut().zip(own) {
            *sum += g * f64::from(*weight);
        }
    }
    for (part, range) in case.generator.parts() {
        let off = error(&gradient[range.clone()], &wanted[range]);
        judge(failed, &format!("weights: {part}"), off, 3e-2);
    }
}

fn check(client: &Client, name: &str, shape: &Shape, batch: usize, failed: &mut bool) {
    println!("{name}, batch {batch}");
    let case = Case::new(client, shape, batch, 5);
    let begun = Instant::now();
    let packed = case.pack();
    sync(client);
    let dim = shape.dim();
    for masked in [false, true] {
        let observed = case.observed(client, masked);
        let run = || {
            poison(client);
            let latents = client.create_from_slice(bytes(&case.latents));
            let (energies, gradients) = case.network.gradient(&packed, &observed, latents, batch);
            (read(client, &energies), read(client, &gradients))
        };
        let (energies, gradients) = run();
        if !masked {
            println!(
                "  first gradient after {:.1} s",
                begun.elapsed().as_secs_f64()
            );
        }
        let alone = {
            let latents = client.create_from_slice(bytes(&case.latents));
            read(
                client,
                &case.network.energies(&packed, &observed, latents, batch),
            )
        };
        let wanted: Vec<f64> = energies.iter().map(|v| f64::from(*v)).collect();
        judge(failed, "energies alone", error(&alone, &wanted), 1e-6);
        let again = run();
        let same = again
            .0
            .iter()
            .zip(&energies)
            .all(|(a, b)| a.to_bits() == b.to_bits())
            && again
                .1
                .iter()
                .zip(&gradients)
                .all(|(a, b)| a.to_bits() == b.to_bits());
        judge(
            failed,
            "second run differs",
            f64::from(u8::from(!same)),
            0.5,
        );
        let mut columns = 0;
        let (mut worst_energy, mut worst) = (0.0f64, vec![0.0f64; shape.latents.len()]);
        for image in [0, batch - 1] {
            let (energy, gradient) = case.reference(&case.latents, image, masked);
            worst_energy = worst_energy.max(error(&energies[image..=image], &[energy]));
            columns = 0;
            for (layer, d) in shape.latents.iter().enumerate() {
                let own = &gradients[image * dim + columns..][..*d];
                let off = error(own, &gradient[columns..][..*d]);
                worst[layer] = if off.is_nan() {
                    f64::NAN
                } else {
                    worst[layer].max(off)
                };
                columns += d;
            }
        }
        let _ = columns;
        let kind = if masked { "masked " } else { "" };
        judge(failed, &format!("{kind}energy"), worst_energy, 5e-3);
        for (layer, off) in worst.iter().enumerate() {
            judge(
                failed,
                &format!("{kind}gradient, layer {layer}"),
                *off,
                3e-2,
            );
        }
    }
    if batch < 10 {
        check_weights(client, &case, &packed, failed);
    }
    // A chain of three steps, with noise from the GPU and given.
    let observed = case.observed(client, false);
    let key = NoiseKey {
        seed: 0x1234_5678_9ABC,
        iteration: 77,
        purpose: Purpose::Langevin,
    };
    let steps = 3;
    let noise: Vec<f32> = (0..steps)
        .flat_map(|k| (0..batch * dim).map(move |i| key.counted(k, i as u32) as f32))
        .collect();
    let eta = 0.05f32;
    let sizes: Vec<f32> = (0..steps as usize * dim)
        .flat_map(|_| [eta * eta / 2.0, eta])
        .collect();
    let start = || {
        poison(client);
        client.create_from_slice(bytes(&case.latents))
    };
    let (ends, _) = case
        .network
        .chain(&packed, &observed, start(), batch, &sizes, &keyed(key));
    let drawn = read(client, &ends);
    let given = Noise::Given(client.create_from_slice(bytes(&noise)));
    let (ends, energies) = case
        .network
        .chain(&packed, &observed, start(), batch, &sizes, &given);
    let (given, energies) = (read(client, &ends), read(client, &energies));
    let wanted: Vec<f64> = given.iter().map(|v| f64::from(*v)).collect();
    judge(
        failed,
        "keyed noise against given",
        error(&drawn, &wanted),
        1e-3,
    );
    let image = batch - 1;
    let mut latents: Vec<f32> = case.latents.clone();
    let mut wanted_energies = Vec::new();
    for k in 0..steps as usize {
        let (energy, gradient) = case.reference(&latents, image, false);
        wanted_energies.push(energy);
        for j in 0..dim {
            let n = noise[(k * batch + image) * dim + j];
            let e = &mut latents[image * dim + j];
            *e += eta * n - (f64::from(eta * eta / 2.0) * gradient[j]) as f32;
        }
    }
    let wanted: Vec<f64> = latents[image * dim..]
        .iter()
        .map(|v| f64::from(*v))
        .collect();
    judge(
        failed,
        "end of three steps",
        error(&given[image * dim..], &wanted),
        1e-2,
    );
    let own: Vec<f32> = (0..steps as usize)
        .map(|k| energies[k * batch + image])
        .collect();
    judge(
        failed,
        "energies of three steps",
        error(&own, &wanted_energies),
        5e-3,
    );
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn time(client: &Client, name: &str, shape: &Shape, batch: usize, steps: usize) {
    let case = Case::new(client, shape, batch, 9);
    let observed = case.observed(client, false);
    let sizes: Vec<f32> = (0..steps * shape.dim())
        .flat_map(|_| [0.05f32 * 0.05 / 2.0, 0.05])
        .collect();
    let (mut packing, mut host, mut whole) = (vec![], vec![], vec![]);
    for k in 0..12 {
        let latents = client.create_from_slice(bytes(&case.latents));
        sync(client);
        let begun = Instant::now();
        let packed = case.pack();
        sync(client);
        packing.push(begun.elapsed().as_secs_f64() * 1e3);
        let key = NoiseKey {
            seed: 1,
            iteration: k,
            purpose: Purpose::Langevin,
        };
        let begun = Instant::now();
        let (ends, _) = case
            .network
            .chain(&packed, &observed, latents, batch, &sizes, &keyed(key));
        host.push(begun.elapsed().as_secs_f64() * 1e3);
        sync(client);
        whole.push(begun.elapsed().as_secs_f64() * 1e3);
        drop(ends);
    }
    let chain = median(whole);
    let packed = case.pack();
    let mut learning = vec![];
    for _ in 0..8 {
        let latents = client.create_from_slice(bytes(&case.latents));
        let weights = client.create_from_slice(bytes(&vec![1.0 / batch as f32; batch]));
        sync(client);
        let begun = Instant::now();
        let gradients = case
            .network
            .weight_gradients(&packed, &observed, latents, batch, weights);
        sync(client);
        learning.push(begun.elapsed().as_secs_f64() * 1e3);
        drop(gradients);
    }
    println!(
        "{name:16} batch {batch:5}: gradient of all weights {:.2} ms",
        median(learning)
    );
    println!(
        "{name:16} batch {batch:5} K {steps:3}: chain {chain:8.2} ms (enqueued after {:.2}), packing \
         {:.2} ms, {:.0} us a step, {} launches a step",
        median(host),
        median(packing),
        chain * 1e3 / steps as f64,
        case.network.launches(batch),
    );
}

fn main() {
    let client = CudaRuntime::client(&CudaDevice::default());
    let begun = Instant::now();
    let mut failed = false;
    let all = shapes();
    // Without names all shapes, and the first one in a large batch too.
    let named: Vec<_> = all.iter().filter(|(name, _)| asked(name)).collect();
    if !asked("unchecked") {
        for (name, shape) in &all {
            let chosen = if asked("quick") {
                *name == all[0].0
            } else {
                named.is_empty() || asked(name)
            };
            if chosen {
                check(&client, name, shape, 3, &mut failed);
            }
        }
        if !asked("quick") && named.is_empty() {
            check(&client, all[0].0, &all[0].1, 100, &mut failed);
        }
        println!("checks took {:.0} s", begun.elapsed().as_secs_f64());
    }
    if !asked("untimed") {
        let batches: &[usize] = if asked("quick") {
            &[100, 400]
        } else {
            &[100, 32, 132, 400, 1024]
        };
        for batch in batches {
            time(&client, "released", &all[0].1, *batch, 25);
        }
        for (name, shape) in [
            ("table4", all[1].1.clone()),
            ("l1", all[3].1.clone()),
            ("released, 64 px", finer(released())),
            ("released, 128", wider(released())),
        ] {
            time(&client, name, &shape, 100, 25);
        }
    }
    if failed {
        println!("FAILED");
        std::process::exit(1);
    }
    println!("all checks passed");
}
