#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]
use burn::{backend::Flex, prelude::*};
use shortrun_langevin::{Curvature, EnergyGradient, NoiseKey, Purpose};
use shortrun_model::{ExplicitCurvature, Observation, Preset};
use std::time::Instant;

fn noise<const D: usize>(shape: [usize; D], stream: u64) -> Tensor<Flex, D> {
    let key = NoiseKey {
        seed: 11,
        iteration: 0,
        purpose: Purpose::Evaluation,
    };
    key.normal(shape, stream, &Default::default())
}
fn best(times: usize, mut f: impl FnMut()) -> f64 {
    (0..times)
        .map(|_| {
            let t = Instant::now();
            f();
            t.elapsed().as_secs_f64() * 1e3
        })
        .fold(f64::INFINITY, f64::min)
}
fn main() {
    let only = std::env::args().nth(1);
    let times: usize = std::env::args().nth(2).map_or(5, |t| t.parse().unwrap());
    for preset in [Preset::Quick, Preset::Table4, Preset::Released] {
        if only
            .as_ref()
            .is_some_and(|o| o != preset.name() && o != "all")
        {
            continue;
        }
        let config = preset.config(32, 3).unwrap();
        let d = config.latents.dim();
        let n = 4;
        let obs = Observation::new(noise([n, 3, 32, 32], 1).tanh(), 0.3).unwrap();
        let g = config.init::<Flex>(1, &Default::default());
        let c = ExplicitCurvature::new(&g, obs).unwrap();
        let e = noise([n, d], 2);
        let w = noise([n, d, d], 3);
        let w = w.clone() + w.swap_dims(1, 2);
        let v = noise([n, 8, d], 3);
        let v1 = noise([n, 1, d], 3);
        let t = times;
        let grad = best(10 * t, || {
            let _ = c.energy_and_gradient(e.clone());
        }) / n as f64;
        let hes = best(t, || {
            let _ = c.hessian(e.clone(), 1);
        }) / n as f64;
        let hes_n = best(t, || {
            let _ = c.hessian(e.clone(), n * d);
        }) / n as f64;
        let tra = best(t, || {
            let _ = c.trace_gradient(e.clone(), w.clone(), 1);
        }) / n as f64;
        let pro = best(t, || {
            let _ = c.hessian_products(e.clone(), v.clone(), 8);
        }) / n as f64;
        let pro1 = best(t, || {
            let _ = c.hessian_products(e.clone(), v1.clone(), n);
        }) / n as f64;
        println!(
            "{} d={d}: per image ms: gradient {grad:.2} hessian {hes:.1} (all at once {hes_n:.1}) trace {tra:.1} products8 {pro:.1} product1 {pro1:.1}; {} bytes/row",
            preset.name(),
            c.bytes_per_row()
        );
    }
}
