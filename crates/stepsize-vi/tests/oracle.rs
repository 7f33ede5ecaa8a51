//! The oracles against themselves; nothing here uses the crate that they are for.
#![allow(clippy::unwrap_used)]

mod common;

use burn::{backend::Flex, prelude::*, tensor::TensorData};
use common::{
    Gaussian, LinearGaussian, Reference, Sizes, TanhNet, assert_close, best, constant, cubature,
    gradient, host, per_layer, per_step,
};
use nalgebra::{DMatrix, DVector};
use shortrun_langevin::{
    ByAutodiff, ByNestedAutodiff, Curvature, EnergyGradient, Noise, Posterior, ShortRun,
};

const K: usize = 10;
const EXACT: f64 = 1e-9;
const SINGLE: f64 = 2e-5;

fn model() -> LinearGaussian {
    LinearGaussian::example()
}

/// Constant, by step, by layer, and with negative eigenvalues of `I - S H`.
fn arrangements() -> Vec<(&'static str, Sizes)> {
    let by_step: Vec<f64> = (0..K).map(|k| 0.002 + 0.001 * k as f64).collect();
    vec![
        ("constant", constant(K, 6, 0.01)),
        ("per step", per_step(6, &by_step)),
        ("per layer", per_layer(K, &[2, 4], &[0.015, 0.006])),
        ("overshooting", constant(K, 6, 0.042)),
    ]
}

/// A point that is nothing special.
fn somewhere(d: usize) -> DVector<f64> {
    DVector::from_fn(d, |i, _| 0.3 * i as f64 - 0.7)
}

#[test]
fn the_example_is_what_it_says() {
    let model = model();
    let expected = [1.2, 2.5, 5.0, 9.0, 16.0, 30.0];
    // W is rounded to float32.
    assert_close("spectrum", &model.eigenvalues(), &expected, 1e-6);
    assert_eq!((model.dim(), model.observed()), (6, 10));
}

/// `p(x, e) = p(e) p(x | e) = p(x) p(e | x)`, and `-log p(x, e) = U(e) + (D/2) log(2πσ²) +
/// (d/2) log 2π`.
#[test]
fn energy_evidence_and_posterior_agree() {
    let model = model();
    let e = somewhere(6);
    let two_pi = 3.0 * std::f64::consts::TAU.ln();
    let joint = -model.energy_at(&e) - model.constant() - two_pi;
    let factored = model.log_evidence() + model.posterior().log_density(&e);
    assert_close("log p(x, e)", &[joint], &[factored], EXACT);

    let at = |e: &[f64]| model.energy_at(&DVector::from_row_slice(e));
    let slopes = gradient(at, e.as_slice());
    assert_close("gradient", model.gradient_at(&e).as_slice(), &slopes, EXACT);
}

#[test]
fn the_objective_is_kl_and_mutual_information() {
    let model = model();
    for (name, sizes) in arrangements() {
        // Given the noise, e_K has covariance A Aᵀ, A the whole Jacobian.
        let whole = sizes
            .iter()
            .fold(DMatrix::identity(6, 6), |a, size| model.factor(size) * a);
        let given = Gaussian::standard(6).entropy() + whole.determinant().abs().ln();
        let information = model.law(&sizes).entropy() - given;
        let found = model.mutual_information(&sizes);
        assert_close(name, &[found], &[information], EXACT);
        assert!(information > 0.0);
        let sum = model.kl(&sizes) - model.log_evidence() + information;
        assert_close(name, &[model.expected_objective(&sizes)], &[sum], EXACT);
    }
}

#[test]
fn expectations_are_means_over_chains() {
    let model = model();
    for (name, sizes) in arrangements() {
        let chains = cubature(6, K);
        let exact = chains.mean(|start, noise| model.objective(start, noise, &sizes));
        assert_close(name, &[model.expected_objective(&sizes)], &[exact], EXACT);
        let augmented = chains.mean(|start, noise| model.augmented(start, noise, &sizes));
        assert_close(
            name,
            &[model.expected_augmented(&sizes)],
            &[augmented],
            EXACT,
        );
    }
}

/// The law of the whole path `(e_0, …, e_K)`, run forwards from `N(0, I)`, or backwards from the
/// posterior with the same kernels.
fn path(model: &LinearGaussian, sizes: &[DVector<f64>], forwards: bool) -> Gaussian {
    let (d, steps) = (model.dim(), sizes.len());
    let first = if forwards {
        Gaussian::standard(d)
    } else {
        model.posterior()
    };
    // e_k = mean_k + maps_k ξ with standard normal ξ.
    let size = d * (steps + 1);
    let mut map = DMatrix::zeros(d, size);
    map.view_mut((0, 0), (d, d))
        .copy_from(&first.cholesky().l());
    let mut mean = first.mean;
    let (mut means, mut maps) = (DVector::zeros(size), DMatrix::zeros(size, size));
    for i in 0..=steps {
        let at = if forwards { i } else { steps - i };
        means.rows_mut(at * d, d).copy_from(&mean);
        maps.rows_mut(at * d, d).copy_from(&map);
        if i < steps {
            let s = &sizes[if forwards { i } else { steps - 1 - i }];
            mean = &mean - s.component_mul(&model.gradient_at(&mean));
            map = model.factor(s) * map;
            for j in 0..d {
                map[(j, (i + 1) * d + j)] += (2.0 * s[j]).sqrt();
            }
        }
    }
    Gaussian {
        mean: means,
        covariance: &maps * maps.transpose(),
    }
}

/// `E[F_aug] = KL(q(e_0, …, e_K) || r(e_0, …, e_K)) - log p(x)`, so at least
/// `KL(q_s || p(e | x)) - log p(x)`.
#[test]
fn the_augmented_bound_is_the_kl_of_paths() {
    let model = model();
    for (name, sizes) in arrangements() {
        let kl = path(&model, &sizes, true).kl(&path(&model, &sizes, false));
        let expected = kl - model.log_evidence();
        let found = model.expected_augmented(&sizes);
        assert_close(name, &[found], &[expected], EXACT);
        assert!(kl > model.kl(&sizes), "{name}");
        let end = path(&model, &sizes, true).mean.rows(6 * K, 6).into_owned();
        let law = model.law(&sizes);
        assert_close(name, law.mean.as_slice(), end.as_slice(), EXACT);
    }
}

#[test]
fn the_best_constant_step_is_interior_and_leans_to_small() {
    let model = model();
    let range = 1e-4..0.999 * model.largest_size();
    let objective = |s: f64| model.expected_objective(&constant(K, 6, s));
    let s = best(objective, range.clone());
    assert!(s > 0.005 && s < 0.015, "{s}");
    let slope = gradient(|sizes| objective(sizes[0]), &[s])[0] * s;
    assert!(slope.abs() < 1e-4, "{slope}");
    for i in 0..=1000 {
        let other = range.start * (range.end / range.start).powf(f64::from(i) / 1000.0);
        assert!(objective(other) >= objective(s), "{other} beats {s}");
    }
    // Without the mutual information.
    let unbiased = best(|s| model.kl(&constant(K, 6, s)), range);
    assert!(unbiased > 1.5 * s, "{unbiased}");
}

#[test]
fn the_linear_posterior_has_its_energy_and_hessian() {
    let (model, device) = (model(), Default::default());
    let e = somewhere(6);
    let values: Vec<f32> = e.iter().map(|v| *v as f32).collect();
    let latents = Tensor::<Flex, 2>::from_data(TensorData::new(values, [1, 6]), &device);
    let found = host(model.energy(latents.clone()));
    assert_close("energy", &found, &[model.energy_at(&e)], SINGLE);
    let curvature = ByNestedAutodiff::new(model.clone());
    let (_, gradient) = curvature.energy_and_gradient(latents.clone());
    let expected = model.gradient_at(&e);
    assert_close("gradient", &host(gradient), expected.as_slice(), SINGLE);
    let expected = model.hessian().as_slice();
    for rows in [1, 6] {
        let hessian: Tensor<Flex, 3> = curvature.hessian(latents.clone(), rows);
        assert_close("Hessian", &host(hessian), expected, SINGLE);
    }
}

#[test]
fn the_net_has_the_references_derivatives() {
    type B = Flex;
    let (reference, device) = (Reference::load(), Default::default());
    let expected = &reference.at_start;
    let net = TanhNet::new(&reference);
    let start = reference.starts::<B>(&device);

    let (energy, gradient) = ByAutodiff(net.clone()).energy_and_gradient(start.clone());
    assert_close("energy", &host(energy), &expected.energy, SINGLE);
    let gradients = expected.gradient.concat();
    assert_close("gradient", &host(gradient), &gradients, SINGLE);

    let curvature = ByNestedAutodiff::new(net);
    let d = reference.d;
    let all = |values: &[f64], m: usize| {
        let values: Vec<f32> = values.iter().map(|v| *v as f32).collect();
        let one = Tensor::<B, 3>::from_data(TensorData::new(values, [1, m, d]), &device);
        one.expand([reference.n, m, d])
    };
    for rows in [1, 7, 100] {
        let hessian = host(curvature.hessian(start.clone(), rows));
        let first = &hessian[..d * d];
        assert_close("Hessian", first, &expected.hessian.concat(), SINGLE);
        let product = curvature.hessian_products(start.clone(), all(&expected.vector, 1), rows);
        let first = &host(product)[..d];
        assert_close("product", first, &expected.hessian_product, SINGLE);
        let weights = all(&expected.weights.concat(), d);
        let third = host(curvature.trace_gradient(start.clone(), weights, rows));
        assert_close("third", &third[..d], &expected.trace_gradient, SINGLE);
    }
}

#[test]
fn chains_of_the_net_pass_the_references_positions() {
    let (reference, device) = (Reference::load(), Default::default());
    let net = TanhNet::new(&reference);
    for (name, case) in &reference.cases {
        let run = ShortRun::new(reference.steps, case.step_sizes())
            .unwrap()
            .with_trace()
            .run(
                &ByAutodiff(net.clone()),
                reference.starts::<Flex>(&device),
                Noise::Given(reference.noise(&device)),
            )
            .unwrap();
        let found = host(run.trace.unwrap().positions);
        let expected = case.positions.concat().concat();
        assert_close(name, &found, &expected, SINGLE);
        let energy = host(net.energy(run.latents));
        assert_close(name, &energy, &case.end_energy, 1e-4);
    }
}
