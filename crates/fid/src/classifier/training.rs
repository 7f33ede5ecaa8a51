//! Training a classifier.

use burn::{
    backend::Autodiff,
    module::AutodiffModule,
    nn::loss::CrossEntropyLossConfig,
    optim::{AdamConfig, GradientsParams, Optimizer},
    prelude::*,
    tensor::TensorData,
};
use shortrun_data::{Batches, ImageShape, Images};

use super::{Classifier, Trained, network::Network};
use crate::FidError;

/// Images that are classified at once.
const AT_ONCE: usize = 256;

/// How a classifier is trained: Adam, with a rate that falls to zero along a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassifierOptions {
    /// Updates of the weights.
    pub iterations: u64,
    /// Images of an update.
    pub batch_size: usize,
    /// The learning rate of the first update.
    pub learning_rate: f64,
    /// Seed of the weights and of the order of images.
    pub seed: u64,
}

impl Default for ClassifierOptions {
    /// A minute or so on a CPU.
    fn default() -> Self {
        Self {
            iterations: 1_500,
            batch_size: 64,
            learning_rate: 1e-3,
            seed: 1,
        }
    }
}

impl<B: Backend> Classifier<B> {
    /// Learns the labels of `train`, and tells `done` the number of each update. The same images and
    /// options give the same classifier (on the CPU, to the last bit).
    ///
    /// # Errors
    /// [`FidError::Unlabelled`] if images are not square, have no labels or all the same, or if those
    /// of `test` are of another shape.
    pub fn train(
        data: &str,
        train: &Images,
        test: &Images,
        options: &ClassifierOptions,
        device: &B::Device,
        mut done: impl FnMut(u64),
    ) -> Result<Self, FidError> {
        let refuse = |reason: &str| Err(FidError::Unlabelled(format!("{data}: {reason}")));
        let (Some(labels), Some(held_out)) = (train.labels(), test.labels()) else {
            return refuse("they have no labels");
        };
        let ImageShape {
            channels,
            height,
            width,
        } = train.shape();
        let size = height;
        if height != width || test.shape() != train.shape() || test.is_empty() {
            return refuse("square images are needed, and some of the same shape to test on");
        }
        let highest = |labels: &[u8]| labels.iter().copied().max().map_or(0, usize::from);
        let classes = 1 + highest(labels).max(highest(held_out));
        if labels.iter().all(|label| *label == labels[0]) {
            return refuse("all have the same label");
        }

        let shape = [channels, size];
        let mut network = Network::<Autodiff<B>>::new(shape, classes, options.seed, device);
        let mut adam = AdamConfig::new().init();
        let entropy = CrossEntropyLossConfig::new().init(device);
        let mut order = Batches::new(options.seed, train.len(), options.batch_size)?;
        for iteration in 0..options.iterations {
            let places = order.indices(iteration);
            let right = places
                .iter()
                .map(|place| i32::from(labels[*place]))
                .collect();
            let right = TensorData::new::<i32, _>(right, [places.len()]);
            let logits = network.logits(to_tensor(train, &places, device));
            let loss = entropy.forward(logits, Tensor::from_data(right, device));
            let gradients = GradientsParams::from_grads(loss.backward(), &network);
            let left = 1.0 - iteration as f64 / options.iterations as f64;
            network = adam.step(options.learning_rate * left, network, gradients);
            done(iteration + 1);
        }

        let network = network.valid();
        let places: Vec<usize> = (0..test.len()).collect();
        let mut right = 0;
        for places in places.chunks(AT_ONCE) {
            let logits = network.logits(to_tensor::<B>(test, places, device));
            let found = logits.argmax(1).into_data().convert::<i32>();
            let pairs = found.iter::<i32>().zip(places);
            right += pairs
                .filter(|(found, place)| *found == i32::from(held_out[**place]))
                .count();
        }
        let trained = Trained {
            data: data.to_owned(),
            channels,
            size,
            classes,
            images: train.len(),
            iterations: options.iterations,
            seed: options.seed,
            accuracy: right as f64 / test.len() as f64,
            held_out: test.len(),
        };
        Ok(Self { network, trained })
    }
}

/// Images at these places, `[n, c, h, w]` in [-1, 1].
fn to_tensor<B: Backend>(images: &Images, places: &[usize], device: &B::Device) -> Tensor<B, 4> {
    let shape = images.shape();
    let shape = [places.len(), shape.channels, shape.height, shape.width];
    Tensor::from_data(TensorData::new(images.to_f32(places), shape), device)
}
