//! The built-in generator.

use burn::{
    backend::Autodiff, module::Module, nn::conv::ConvTranspose2d, prelude::*,
    tensor::backend::AutodiffBackend,
};
use shortrun_langevin::{
    Autodiff2, Autodiff3, ByNestedAutodiff, Curvature, EnergyGradient, Purpose,
};

use crate::{
    Architecture, Block, CentredError, ConfigError, ExplicitCurvature, ExplicitPosterior,
    Generator, GeneratorConfig, NestedPosterior, Observation, Parameterisation, Refine, Stochastic,
    generator::half_square, init::Init, output,
};

/// The multi-layer top-down generator of Nijkamp et al. (2020), Table 4.
///
/// With `z_0` the top latents and i counting layers from the top:
///
/// ```text
/// h_i     = d_i(p_i(z_i)) + h_{i-1}                    (h_{-1} = 0)
/// z_{i+1} = mu_i(h_i) + sigma_i(h_i) * e_{i+1}         (non-centred)
/// x       = tanh(output(refine(h_{L-1})))
/// ```
///
/// As an [`Architecture::Ladder`] (Zhao, Song and Ermon, 2017) it has no stochastic part; every
/// layer's noise goes straight into its block, which works on the features above as well:
///
/// ```text
/// h_i     = d_i(p_i(e_i) + h_{i-1})                    (h_{-1} = 0)
/// ```
///
/// So the noise of a layer passes through the blocks of all layers below, and the top layer's
/// through the most. (Their equations join `v_l(e_l)` to the features above as further channels,
/// `u_l([h_{i-1}; v_l(e_l)])`. Here it is added, which is the case in which the first convolution
/// of u_l has the same kernel for both; `p_l` ends in a convolution of its own.)
#[derive(Module, Debug)]
pub struct MultiLayerGenerator<B: Backend> {
    /// `p_i` and `d_i` of every layer, top first.
    pub blocks: Vec<Block<B>>,
    /// `mu_i` and `sigma_i`, from block i to latents i + 1. None in a ladder.
    pub stochastic: Vec<Stochastic<B>>,
    /// Further residual blocks before the output.
    pub refine: Vec<Refine<B>>,
    /// The transposed convolutions to the image.
    pub output: Vec<ConvTranspose2d<B>>,
    #[module(skip)]
    config: GeneratorConfig,
}

impl GeneratorConfig {
    /// A generator with starting weights that depend on the seed alone.
    ///
    /// The configuration must have passed [`check`](Self::check).
    pub fn init<B: Backend>(&self, seed: u64, device: &B::Device) -> MultiLayerGenerator<B> {
        let init = &mut Init::new(seed, Purpose::Weights, device);
        let sizes = self.latents.sizes();
        MultiLayerGenerator {
            blocks: sizes.iter().map(|d| Block::new(self, *d, init)).collect(),
            stochastic: self
                .given_above()
                .iter()
                .map(|d| Stochastic::new(self, *d, init))
                .collect(),
            refine: (0..self.refine_blocks)
                .map(|_| Refine::new(self, init))
                .collect(),
            output: output::layers(self, init),
            config: self.clone(),
        }
    }

    /// As [`init`](Self::init), after [`check`](Self::check).
    ///
    /// # Errors
    /// If the configuration makes no sense.
    pub fn try_init<B: Backend>(
        &self,
        seed: u64,
        device: &B::Device,
    ) -> Result<MultiLayerGenerator<B>, ConfigError> {
        self.check()?;
        Ok(self.init(seed, device))
    }
}

/// What the prior of a layer's latents is computed from: the stochastic part that gives their mean and
/// scale, and the features of the layers above. Without it they are standard normal noise.
pub type Above<'a, B> = Option<(&'a Stochastic<B>, Tensor<B, 4>)>;

/// What the prior of each layer is asked for on the way down.
type Prior<'a, B> = &'a mut dyn FnMut(Tensor<B, 1>);

impl<B: Backend> MultiLayerGenerator<B> {
    /// The shape of this generator.
    pub fn config(&self) -> &GeneratorConfig {
        &self.config
    }

    /// The same weights, with a chain that moves other variables. (A ladder's are always the noise.)
    pub fn with_parameterisation(mut self, parameterisation: Parameterisation) -> Self {
        self.config.parameterisation = parameterisation;
        self
    }

    /// Images `[n, c, h, w]` of latents that are chosen on the way down: `choose` gives the latents
    /// `[n, d_l]` of each layer, top first, told its place and what it is [given](Above).
    pub fn descend<'a>(
        &'a self,
        choose: impl FnMut(usize, Above<'a, B>) -> Tensor<B, 2>,
    ) -> Tensor<B, 4> {
        self.image(self.features_choosing(choose))
    }

    /// The last features of [`descend`](Self::descend).
    fn features_choosing<'a>(
        &'a self,
        mut choose: impl FnMut(usize, Above<'a, B>) -> Tensor<B, 2>,
    ) -> Tensor<B, 4> {
        let is_ladder = self.config.architecture == Architecture::Ladder;
        let mut features: Option<Tensor<B, 4>> = None;
        for (i, block) in self.blocks.iter().enumerate() {
            features = Some(match features {
                None => block.forward(choose(i, None)),
                Some(above) if is_ladder => block.forward_below(choose(i, None), above),
                Some(above) => {
                    let stochastic = &self.stochastic[i - 1];
                    block.forward(choose(i, Some((stochastic, above.clone())))) + above
                }
            });
        }
        features.unwrap_or_else(|| unreachable!("a generator without layers"))
    }

    /// The last features, and each layer's `-log p(z_l | above)` (without constants) to `prior`.
    fn features(&self, latents: Tensor<B, 2>, prior: Option<Prior<'_, B>>) -> Tensor<B, 4> {
        let layers = self.config.latents.split(latents);
        let centred = self.config.is_centred();
        let mut collect = prior;
        self.features_choosing(|i, above| {
            let given = layers[i].clone();
            match above {
                Some((stochastic, features)) if centred => {
                    if let Some(collect) = &mut collect {
                        let (mean, scale) = stochastic.forward(features);
                        let noise = (given.clone() - mean) / scale.clone();
                        collect(half_square(noise) + scale.log().sum_dim(1).squeeze_dim(1));
                    }
                    given
                }
                above => {
                    if let Some(collect) = &mut collect {
                        collect(half_square(given.clone()));
                    }
                    let Some((stochastic, features)) = above else {
                        return given;
                    };
                    let (mean, scale) = stochastic.forward(features);
                    mean + scale * given
                }
            }
        })
    }

    /// Goes down the layers of the centred form: `step` makes the latents of a layer, and what is
    /// wanted of it, of the layer's mean, scale and part of `given`. In other forms latents and noise
    /// are the same.
    fn layer_by_layer(
        &self,
        given: Tensor<B, 2>,
        step: impl Fn(Tensor<B, 2>, Tensor<B, 2>, Tensor<B, 2>) -> (Tensor<B, 2>, Tensor<B, 2>),
    ) -> Tensor<B, 2> {
        if !self.config.is_centred() {
            return given;
        }
        let given = self.config.latents.split(given);
        let mut wanted = Vec::with_capacity(given.len());
        self.features_choosing(|i, above| {
            let given = given[i].clone();
            let (latent, found) = match above {
                None => (given.clone(), given),
                Some((stochastic, features)) => {
                    let (mean, scale) = stochastic.forward(features);
                    step(mean, scale, given)
                }
            };
            wanted.push(found);
            latent
        });
        Tensor::cat(wanted, 1)
    }

    fn image(&self, features: Tensor<B, 4>) -> Tensor<B, 4> {
        let refined = self
            .refine
            .iter()
            .fold(features, |features, block| block.forward(features));
        output::forward(&self.output, refined)
    }
}

impl<B: Backend> Generator<B> for MultiLayerGenerator<B> {
    fn forward(&self, latents: Tensor<B, 2>) -> Tensor<B, 4> {
        #[cfg(any(feature = "cuda", feature = "wgpu"))]
        if let Some(images) = crate::fused::forward(self, &latents) {
            return images;
        }
        self.image(self.features(latents, None))
    }

    fn energy(&self, latents: Tensor<B, 2>, observation: &Observation<B>) -> Tensor<B, 1> {
        #[cfg(any(feature = "cuda", feature = "wgpu"))]
        if let Some(energy) = crate::fused::energy(self, &latents, observation) {
            return energy;
        }
        let mut prior: Option<Tensor<B, 1>> = None;
        let mut collect = |layer: Tensor<B, 1>| {
            prior = Some(match prior.take() {
                Some(sum) => sum + layer,
                None => layer,
            });
        };
        let features = self.features(latents, Some(&mut collect));
        let likelihood = observation.energy(self.image(features));
        match prior {
            Some(prior) => prior + likelihood,
            None => likelihood,
        }
    }

    fn latents_from_noise(&self, noise: Tensor<B, 2>) -> Tensor<B, 2> {
        self.layer_by_layer(noise, |mean, scale, noise| {
            let latent = mean + scale * noise;
            (latent.clone(), latent)
        })
    }

    fn noise_from_latents(&self, latents: Tensor<B, 2>) -> Tensor<B, 2> {
        self.layer_by_layer(latents, |mean, scale, latent| {
            let noise = (latent.clone() - mean) / scale;
            (latent, noise)
        })
    }

    fn posterior(
        &self,
        observation: Observation<B::InnerBackend>,
    ) -> Box<dyn EnergyGradient<B::InnerBackend>>
    where
        B: AutodiffBackend,
    {
        use burn::module::AutodiffModule;
        let generator = self.valid();
        #[cfg(any(feature = "cuda", feature = "wgpu"))]
        if let Some(posterior) = crate::fused::posterior(&generator, &observation) {
            return posterior;
        }
        Box::new(ExplicitPosterior::new(&generator, observation))
    }

    /// Explicitly for the non-centred form, by nested autodiff for the centred one.
    fn curvature(
        &self,
        observation: Observation<B::InnerBackend>,
    ) -> Option<Box<dyn Curvature<B::InnerBackend>>>
    where
        B: AutodiffBackend,
    {
        use burn::module::AutodiffModule;
        let generator = self.valid();
        Some(
            match ExplicitCurvature::new(&generator, observation.clone()) {
                Ok(explicit) => Box::new(explicit),
                Err(CentredError) => {
                    let nested = generator
                        .train::<Autodiff<B::InnerBackend>>()
                        .train::<Autodiff2<B::InnerBackend>>()
                        .train::<Autodiff3<B::InnerBackend>>();
                    Box::new(ByNestedAutodiff::new(NestedPosterior::new(
                        nested,
                        observation,
                    )))
                }
            },
        )
    }
}
