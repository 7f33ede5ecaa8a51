//! Reconstruction, samples and traces of a tiny generator.
#![allow(clippy::unwrap_used)]

use burn::backend::{Autodiff, Flex};
use shortrun_data::{ImageShape, Images};
use shortrun_eval::{EvalError, Inference, reconstruct, sample, trace};
use shortrun_langevin::{LatentLayers, ShortRun, StepSize};
use shortrun_model::{GeneratorConfig, HeadWidth, MultiLayerGenerator, Preset};

type Tiny = MultiLayerGenerator<Autodiff<Flex>>;

fn config() -> GeneratorConfig {
    GeneratorConfig {
        latents: LatentLayers::new([2, 3]).unwrap(),
        features: 4,
        head_width: HeadWidth::Fixed(3),
        ..Preset::Quick.config(28, 1).unwrap()
    }
}

fn generator() -> Tiny {
    config().init(1, &Default::default())
}

fn images(count: usize) -> Images {
    let pixels = (0..count * 784).map(|place| ((place * 31) % 251) as u8);
    Images::new(ImageShape::square(1, 28), pixels.collect(), None).unwrap()
}

fn inference(eta: f64) -> Inference {
    Inference {
        chain: ShortRun::new(4, StepSize::from_eta(eta).unwrap()).unwrap(),
        sigma: 0.3,
        seed: 3,
        layers: config().latents,
    }
}

fn close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= 1e-5 * (1.0 + b.abs()), "{a} {b}");
    }
}

#[test]
fn images_of_another_shape_are_refused() {
    let colours = Images::new(ImageShape::square(3, 28), vec![9; 3 * 784], None).unwrap();
    let found = reconstruct::<Flex, Tiny>(
        &generator(),
        &colours,
        1,
        &inference(0.05),
        &Default::default(),
    );
    let error = found.unwrap_err().to_string();
    assert!(error.contains("3 x 28 x 28"), "{error}");
    assert!(error.ends_with("1 x 28 x 28"), "{error}");
}

#[test]
fn an_image_is_reconstructed_alike_in_any_company() {
    let (generator, device) = (generator(), Default::default());
    let run = |images: &Images, count: usize| {
        reconstruct::<Flex, Tiny>(&generator, images, count, &inference(0.05), &device).unwrap()
    };
    let (all, few) = (run(&images(5), 5), run(&images(5), 3));
    let alone = run(&images(3), 99);
    assert_eq!((all.mse_by_image.len(), few.mse_by_image.len()), (5, 3));
    assert_eq!(few.generated, alone.generated);
    close(&all.generated[..3 * 784], &few.generated);
    assert_eq!(few.originals, all.originals[..3 * 784]);
    for (image, mse) in few.mse_by_image.iter().enumerate() {
        let pairs = few.originals.iter().zip(&few.generated);
        let squares = pairs.map(|(a, b)| f64::from(a - b).powi(2));
        let expected = squares.skip(image * 784).take(784).sum::<f64>() / 784.0;
        assert!((mse - expected).abs() < 1e-9);
    }
    assert_eq!(all.divergence, None);
    // More images than fit one batch of chains.
    let many = run(&images(53), 53);
    close(&many.generated[..5 * 784], &all.generated);
    assert_eq!(many.mse_by_image.len(), 53);
}

#[test]
fn divergence_is_the_share_of_all_images() {
    let (generator, device) = (generator(), Default::default());
    let found =
        reconstruct::<Flex, Tiny>(&generator, &images(53), 53, &inference(20.0), &device).unwrap();
    let share = found.divergence.unwrap().share;
    assert!(
        (share * 53.0 - (share * 53.0).round()).abs() < 1e-9 && share > 0.5,
        "{share}"
    );
}

#[test]
fn no_images_is_an_error() {
    let (generator, device) = (generator(), Default::default());
    let error = reconstruct::<Flex, Tiny>(&generator, &images(2), 0, &inference(0.05), &device);
    assert!(matches!(error, Err(EvalError::NoImages)));
    let error = sample::<Flex, Tiny>(&generator, &config().latents, 0, 1, &device);
    assert!(matches!(error, Err(EvalError::NoImages)));
}

#[test]
fn samples_do_not_depend_on_their_number() {
    let (generator, device) = (generator(), Default::default());
    let run = |count: usize| {
        sample::<Flex, Tiny>(&generator, &config().latents, count, 1, &device).unwrap()
    };
    let (many, few) = (run(60), run(3));
    assert_eq!((many.len(), few.len()), (60 * 784, 3 * 784));
    close(&many[..3 * 784], &few);
}

#[test]
fn a_trace_ends_where_the_reconstruction_does() {
    let (generator, device, inference) = (generator(), Default::default(), inference(0.05));
    // Two batches of chains.
    let (images, n, d, k) = (images(52), 52, 5, 4);
    let found = trace::<Flex, Tiny>(&generator, &images, n, &inference, None, &device).unwrap();
    let tensor = |name: &str| found.tensor(name).unwrap();
    let (shape, z) = tensor("z");
    assert_eq!(shape, [k + 1, n, d]);
    assert_eq!(tensor("z0"), (&[n, d][..], &z[..n * d]));
    assert_eq!(tensor("energy").0, [k + 1, n]);
    assert!(found.tensor("nothing").is_none());
    let (noise, gradient) = (tensor("noise").1, tensor("gradient0").1);
    let s = 0.05_f32 * 0.05 / 2.0;
    let step: Vec<f32> = (0..n * d)
        .map(|at| z[at] - s * gradient[at] + 0.05 * noise[at])
        .collect();
    close(&z[n * d..2 * n * d], &step);
    // The same images, chains and noise: the ends generate the reconstructions.
    let ends = burn::tensor::TensorData::new(z[k * n * d..].to_vec(), [n, d]);
    let again = shortrun_model::Generator::forward(
        &burn::module::AutodiffModule::valid(&generator),
        burn::tensor::Tensor::<Flex, 2>::from_data(ends, &device),
    );
    let again: Vec<f32> = again.into_data().to_vec().unwrap();
    let reconstruction =
        reconstruct::<Flex, Tiny>(&generator, &images, n, &inference, &device).unwrap();
    close(&reconstruction.generated, &again);
}

#[test]
fn a_trace_that_cannot_be_written_is_named() {
    let (generator, device) = (generator(), Default::default());
    let found =
        trace::<Flex, Tiny>(&generator, &images(1), 1, &inference(0.05), None, &device).unwrap();
    let error = found
        .write("/proc/none/t.safetensors")
        .unwrap_err()
        .to_string();
    assert!(error.contains("/proc/none/t.safetensors"), "{error}");
}
