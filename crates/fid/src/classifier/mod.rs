//! A small classifier of the labels of a data set, for features without downloads.

mod file;
mod network;
mod training;

use burn::prelude::*;
use serde::{Deserialize, Serialize};
use shortrun_data::ImageShape;

use crate::Extractor;
use network::Network;
pub use training::ClassifierOptions;

/// A convolutional classifier (three layers with stride 2, 128 features, one output for each class)
/// and how it was trained. Its features tell apart what its classes are told apart by, nothing else,
/// so numbers made with it compare runs on one data set only.
#[derive(Debug)]
pub struct Classifier<B: Backend> {
    network: Network<B>,
    trained: Trained,
}

/// On what a classifier was trained, and what it can do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// The data set's name.
    pub data: String,
    /// Channels of its images.
    pub channels: usize,
    /// Their height and width.
    pub size: usize,
    /// How many classes.
    pub classes: usize,
    /// How many images it learned from.
    pub images: usize,
    /// Updates of its weights.
    pub iterations: u64,
    /// Seed of its weights and of the order of images.
    pub seed: u64,
    /// The share of held-out images that it classifies right.
    pub accuracy: f64,
    /// How many held-out images there were.
    pub held_out: usize,
}

impl Trained {
    /// Whether it takes such images.
    pub fn takes(&self, shape: ImageShape) -> bool {
        shape == ImageShape::square(self.channels, self.size)
    }
}

impl<B: Backend> Classifier<B> {
    /// On what it was trained.
    pub fn trained(&self) -> &Trained {
        &self.trained
    }
}

impl<B: Backend> Extractor<B> for Classifier<B> {
    fn name(&self) -> String {
        let Trained {
            data,
            images,
            iterations,
            accuracy,
            held_out,
            ..
        } = &self.trained;
        format!(
            "classifier of {data} ({iterations} updates on {images} images; {:.2} % right on \
             {held_out} held-out ones)",
            100.0 * accuracy
        )
    }

    fn distance_name(&self) -> &'static str {
        "Fréchet distance on classifier features (not FID)"
    }

    fn dim(&self) -> usize {
        network::FEATURES
    }

    fn features(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        self.network.features(images * 2.0 - 1.0)
    }
}
