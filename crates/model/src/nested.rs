//! The posterior of any generator, as nested autodiff differentiates it.

use burn::prelude::*;
use shortrun_langevin::{Autodiff3, Posterior};

use crate::{Generator, Observation};

/// A generator's posterior on three levels of autodiff: the inside of
/// [`ByNestedAutodiff`](shortrun_langevin::ByNestedAutodiff), which gives the second and third
/// derivatives of any generator.
///
/// ```
/// use burn::{backend::{Autodiff, Flex}, module::Module, prelude::*};
/// use shortrun_langevin::{Autodiff2, Autodiff3, ByNestedAutodiff, Curvature};
/// use shortrun_model::{NestedPosterior, Observation, Preset};
///
/// let device = Default::default();
/// let generator = Preset::Quick.config(28, 1)?.init::<Flex>(1, &device);
/// let generator = generator
///     .train::<Autodiff<Flex>>()
///     .train::<Autodiff2<Flex>>()
///     .train::<Autodiff3<Flex>>();
/// let observation = Observation::<Flex>::new(Tensor::zeros([1, 1, 28, 28], &device), 0.1)?;
/// let curvature = ByNestedAutodiff::new(NestedPosterior::new(generator, observation));
/// let vectors = Tensor::<Flex, 3>::ones([1, 1, 96], &device);
/// let products = curvature.hessian_products(Tensor::zeros([1, 96], &device), vectors, 1);
/// assert_eq!(products.dims(), [1, 1, 96]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct NestedPosterior<B: Backend, G> {
    generator: G,
    observation: Observation<Autodiff3<B>>,
}

impl<B: Backend, G: Generator<Autodiff3<B>>> NestedPosterior<B, G> {
    /// The posterior of `observation` under the present weights of `generator`.
    pub fn new(generator: G, observation: Observation<B>) -> Self {
        let observation = Observation::from_inner(Observation::from_inner(observation));
        Self {
            // Derivatives are taken in the latents only.
            generator: generator.no_grad(),
            observation: Observation::from_inner(observation),
        }
    }
}

impl<B: Backend, G: Generator<Autodiff3<B>>> Posterior<Autodiff3<B>> for NestedPosterior<B, G> {
    fn energy(&self, latents: Tensor<Autodiff3<B>, 2>) -> Tensor<Autodiff3<B>, 1> {
        self.generator.energy(latents, &self.observation)
    }

    fn repeated(&self, times: usize) -> Option<Self> {
        Some(Self {
            generator: self.generator.clone(),
            observation: self.observation.repeated(times),
        })
    }
}
