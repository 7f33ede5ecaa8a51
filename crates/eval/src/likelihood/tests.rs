//! Against the closed form of a linear-Gaussian generator.

use burn::backend::Flex;

use super::*;
use crate::{
    inference::host,
    linear_gaussian::{D, Linear, SIDE, SIGMA, VALUES, generator, log_density},
};
use burn::backend::Autodiff;
use shortrun_data::ImageShape;

type Generator = Linear<Autodiff<Flex>>;

fn task(annealing: Annealing) -> Likelihood {
    Likelihood {
        annealing,
        sigma: SIGMA,
        latents: D,
        seed: 3,
    }
}

/// 100 chains through 100 temperatures.
fn annealing(schedule: Schedule, leapfrogs: usize) -> Annealing {
    Annealing {
        temperatures: 100,
        schedule,
        leapfrogs,
        chains: 100,
    }
}

fn images() -> Images {
    let pixels = (0..4 * VALUES).map(|place| (60 + (place * 37) % 130) as u8);
    Images::new(ImageShape::square(1, SIDE), pixels.collect(), None).unwrap()
}

fn truth(images: &[f32]) -> Vec<f64> {
    images.chunks_exact(VALUES).map(log_density).collect()
}

#[test]
fn estimates_are_the_closed_form_within_their_errors() {
    let (images, device) = (images(), Default::default());
    let truth = truth(&images.to_f32(&[0, 1, 2, 3]));
    for (schedule, leapfrogs) in [
        (Schedule::Linear, 1),
        (Schedule::Sigmoid, 3),
        (Schedule::Geometric, 1),
    ] {
        let task = task(annealing(schedule, leapfrogs));
        let found = task
            .of_images::<Flex, Generator>(&generator(), &images, 9, false, &device)
            .unwrap();
        assert_eq!(found.len(), 4);
        for (found, truth) in found.iter().zip(&truth) {
            // Twelve estimates: four standard errors, which are small enough to tell.
            let off = (found.value - truth).abs();
            assert!(
                off < 4.0 * found.standard_error && found.standard_error < 0.15,
                "{schedule}, {leapfrogs} leapfrogs: {found:?}, truth {truth}"
            );
            assert!((found.acceptance - 0.65).abs() < 0.15, "{found:?}");
        }
    }
}

#[test]
fn bounds_hold_the_closed_form_between_them_and_close_on_it() {
    let (device, count) = (Default::default(), 40);
    let gap = |temperatures: usize| {
        let task = task(Annealing {
            temperatures,
            chains: 2,
            ..annealing(Schedule::Linear, 1)
        });
        let found = task
            .bounds::<Flex, Generator>(&generator(), count, &device)
            .unwrap();
        let simulated =
            simulate::<Flex, Generator>(&generator(), D, SIGMA, count, 3, &device).unwrap();
        let truth = truth(&host(simulated.observation.images().clone()));
        let mean = |off: &dyn Fn(&Bounds, f64) -> f64| {
            found
                .iter()
                .zip(&truth)
                .map(|(found, truth)| off(found, *truth))
                .sum::<f64>()
                / count as f64
        };
        let below = mean(&|found, truth| truth - found.lower.value);
        let above = mean(&|found, truth| found.upper.value - truth);
        (below, above)
    };
    // Means over 40 images: the truth is 0.5 nats and more from either bound with few temperatures,
    // and within 0.1 of both with many.
    let (below, above) = gap(6);
    assert!(below > 0.5 && above > 0.5, "{below} {above}");
    let (below, above) = gap(600);
    assert!(below.abs() < 0.1 && above.abs() < 0.1, "{below} {above}");
}

/// The same path with steps that are far too large is still right if moves are tested, only less
/// sure, and wrong if all are taken.
#[test]
fn without_the_metropolis_test_large_steps_are_wrong() {
    let device = Default::default();
    let task = task(Annealing {
        chains: 400,
        ..annealing(Schedule::Linear, 1)
    });
    let x = images().to_f32(&[0]);
    let truth = log_density(&x);
    let x = Tensor::from_data(TensorData::new(x, [1, 1, SIDE, SIDE]), &device);
    let observation = Observation::<Flex>::new(x, SIGMA).unwrap();
    let posterior = shortrun_model::Generator::posterior(&generator(), observation.repeated(400));
    let off = |accept| {
        let annealer = Annealer {
            accept,
            ..task.annealer(0, &observation, 400)
        };
        let path = annealer.betas.iter().map(|beta| Temperature {
            beta: *beta,
            eta: vec![0.7],
        });
        let path: Vec<_> = path.collect();
        let start = annealer.start(&device);
        let found = annealer
            .run(&posterior, path.iter(), start, Pass::Forward)
            .densities()[0];
        (found.value - truth, found.standard_error)
    };
    let (right, error) = off(metropolis);
    assert!(
        right.abs() < 4.0 * error && error < 0.1,
        "{right} ± {error}"
    );
    let (wrong, error) = off(|_, _| true);
    assert!(
        wrong.abs() > 0.5 && wrong.abs() > 10.0 * error,
        "{wrong} ± {error}"
    );
}

#[test]
fn dequantised_images_differ_by_less_than_a_byte() {
    let device = Default::default();
    let task = task(annealing(Schedule::Linear, 1));
    let noise = host(task.byte_noise::<Flex>(0, [1, 1, 30, 30], &device));
    let largest = noise
        .iter()
        .fold(0.0_f32, |largest, noise| largest.max(noise.abs()));
    assert!(
        largest <= 0.5 / 127.5 && largest > 0.49 / 127.5,
        "{largest}"
    );
}

#[test]
fn settings_without_sense_are_refused() {
    let refused = |annealing: Annealing, count: usize| {
        let task = task(annealing);
        task.of_images::<Flex, Generator>(
            &generator(),
            &images(),
            count,
            false,
            &Default::default(),
        )
        .unwrap_err()
        .to_string()
    };
    let whole = annealing(Schedule::Linear, 1);
    assert!(refused(whole, 0).contains("no images"));
    assert!(refused(Annealing { chains: 0, ..whole }, 1).contains("chains"));
    assert!(
        refused(
            Annealing {
                temperatures: 0,
                ..whole
            },
            1
        )
        .contains("temperatures")
    );
}
