//! Which method a run learns by: `--method`, and `[method]` in `config.toml`.

use burn::prelude::*;
use serde::{Deserialize, Serialize};
use shortrun_model::GeneratorConfig;
use shortrun_train::{LearningRate, Method, ShortRunMethod, TrainConfig, TrainError};

use crate::{
    AbpConfig, IafConfig, LadderVaeConfig, McmcConfig, VaeConfig,
    glo::{GloConfig, GloMethod},
    glow::{GlowConfig, GlowMethod},
    vae::one_layer,
};

/// A flow bears a higher rate than a generator, if it falls in time: `docs/baselines/glow.md`.
const GLOW_RATE: [(u64, f64); 2] = [(0, 1e-3), (400, 2e-4)];

/// The methods that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodName {
    /// Algorithm 1 of Nijkamp et al. (2020).
    ShortRun,
    /// Variational autoencoder.
    Vae,
    /// Ladder variational autoencoder.
    LadderVae,
    /// Variational autoencoder with inverse autoregressive flow.
    VaeIaf,
    /// Alternating back-propagation.
    Abp,
    /// Maximum likelihood by long chains.
    Mcmc,
    /// Generative latent optimisation.
    Glo,
    /// Glow.
    Glow,
}

impl MethodName {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::ShortRun,
        Self::Vae,
        Self::LadderVae,
        Self::VaeIaf,
        Self::Abp,
        Self::Mcmc,
        Self::Glo,
        Self::Glow,
    ];

    /// As it is written on the command line and in `config.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::ShortRun => "short-run",
            Self::Vae => "vae",
            Self::LadderVae => "ladder-vae",
            Self::VaeIaf => "vae-iaf",
            Self::Abp => "abp",
            Self::Mcmc => "mcmc",
            Self::Glo => "glo",
            Self::Glow => "glow",
        }
    }

    /// What it is, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::ShortRun => "short-run Langevin inference",
            Self::Vae => "a variational autoencoder",
            Self::LadderVae => "a ladder variational autoencoder",
            Self::VaeIaf => "a variational autoencoder with inverse autoregressive flow",
            Self::Abp => "alternating back-propagation",
            Self::Mcmc => "maximum likelihood with long chains",
            Self::Glo => "generative latent optimisation",
            Self::Glow => "Glow, a normalising flow",
        }
    }

    /// Whether it learns a generator with latents, which everything that looks at a generator
    /// takes.
    pub fn has_generator(self) -> bool {
        self != Self::Glow
    }

    /// Whether the latents of its generator are standard normal, so that log p(x) under these is that of
    /// its model.
    pub fn has_standard_prior(self) -> bool {
        self.has_generator() && self != Self::Glo
    }

    /// Whether it infers latents by chains.
    pub fn has_chains(self) -> bool {
        matches!(self, Self::ShortRun | Self::Abp | Self::Mcmc)
    }

    /// Its settings, unless told otherwise.
    pub fn config(self) -> MethodConfig {
        match self {
            Self::ShortRun => MethodConfig::ShortRun {},
            Self::Vae => MethodConfig::Vae(VaeConfig::default()),
            Self::LadderVae => MethodConfig::LadderVae(LadderVaeConfig::default()),
            Self::VaeIaf => MethodConfig::VaeIaf(IafConfig::default()),
            Self::Abp => MethodConfig::Abp {},
            Self::Mcmc => MethodConfig::Mcmc {},
            Self::Glo => MethodConfig::Glo(GloConfig::default()),
            Self::Glow => MethodConfig::Glow(GlowConfig::default()),
        }
    }

    /// Settings of a run without whose [`training`](Self::training) values it would be another method.
    pub fn defined_by(self) -> &'static [&'static str] {
        match self {
            Self::Abp => &[
                "sigma",
                "langevin.steps",
                "langevin.step_size",
                "langevin.persistent",
                "step_size.every",
            ],
            Self::Mcmc => &["langevin.steps", "langevin.persistent", "step_size.every"],
            _ => &[],
        }
    }

    /// What it is usually run with instead of these settings.
    pub fn training(self, usual: &TrainConfig) -> TrainConfig {
        match self {
            Self::Abp => AbpConfig::default().over(usual),
            Self::Mcmc => McmcConfig::default().over(usual),
            Self::Glow => TrainConfig {
                learning_rate: LearningRate::Pieces(GLOW_RATE.to_vec()),
                ..usual.clone()
            },
            _ => usual.clone(),
        }
    }
}

/// Channels or units of a layer at most.
const MOST_WIDTH: u64 = 16_384;

/// Checks the width of `layers` layers, each of about `width` times `width` weights.
pub(crate) fn check_width(width: usize, layers: usize) -> Result<(), TrainError> {
    let setting = "method.width";
    TrainError::check_counts([(setting, width as u64, MOST_WIDTH)])?;
    let weights = [layers, width, width].map(|count| count as u64);
    let weights = weights.into_iter().fold(1, u64::saturating_mul);
    if weights <= GeneratorConfig::MOST_WEIGHTS {
        return Ok(());
    }
    let reason = format!(
        "is {width}, with which {layers} layers have about {weights} weights, but no more than {} are \
         possible; lower it, or the number of layers",
        GeneratorConfig::MOST_WEIGHTS
    );
    Err(TrainError::Setting { setting, reason })
}

/// A method with its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum MethodConfig {
    /// All of its settings are those of the run.
    ShortRun {},
    /// See [`VaeConfig`].
    Vae(VaeConfig),
    /// See [`LadderVaeConfig`].
    LadderVae(LadderVaeConfig),
    /// See [`IafConfig`].
    VaeIaf(IafConfig),
    /// Short-run inference with the settings of [`AbpConfig`].
    Abp {},
    /// Short-run inference with the settings of [`McmcConfig`].
    Mcmc {},
    /// See [`GloConfig`].
    Glo(GloConfig),
    /// See [`GlowConfig`].
    Glow(GlowConfig),
}

impl Default for MethodConfig {
    fn default() -> Self {
        Self::ShortRun {}
    }
}

impl MethodConfig {
    /// Which method it is.
    pub fn name(&self) -> MethodName {
        match self {
            Self::ShortRun {} => MethodName::ShortRun,
            Self::Vae(_) => MethodName::Vae,
            Self::LadderVae(_) => MethodName::LadderVae,
            Self::VaeIaf(_) => MethodName::VaeIaf,
            Self::Abp {} => MethodName::Abp,
            Self::Mcmc {} => MethodName::Mcmc,
            Self::Glo(_) => MethodName::Glo,
            Self::Glow(_) => MethodName::Glow,
        }
    }

    /// With all that depends on how a run begins settled, so that it stays when the run goes on for
    /// longer.
    pub fn of_run(self, training: &TrainConfig) -> Self {
        match self {
            Self::LadderVae(config) => Self::LadderVae(config.of_run(training)),
            other => other,
        }
    }

    /// Checks that the settings make sense, and that the method goes with a generator.
    ///
    /// # Errors
    /// If it does not, or names the first setting that makes no sense.
    pub fn check(&self, generator: &GeneratorConfig) -> Result<(), TrainError> {
        match self {
            Self::Vae(_) => one_layer("vae", generator),
            Self::VaeIaf(config) => config.check(generator),
            Self::Glo(config) => config.check(),
            Self::Glow(config) => config.check(),
            Self::ShortRun {} | Self::LadderVae(_) | Self::Abp {} | Self::Mcmc {} => Ok(()),
        }
    }

    /// The method, about to learn from so many `images`, with starting weights that depend on the
    /// run's seed alone.
    ///
    /// # Errors
    /// If a setting makes no sense, or the method does not go with the generator.
    pub fn build<B: Backend>(
        &self,
        generator: &GeneratorConfig,
        training: &TrainConfig,
        images: usize,
        device: &B::Device,
    ) -> Result<Box<dyn Method<B>>, TrainError> {
        self.check(generator)?;
        let model = || generator.init(training.seed, device);
        Ok(match self {
            Self::ShortRun {} | Self::Abp {} | Self::Mcmc {} => {
                let layers = generator.latents.clone();
                Box::new(ShortRunMethod::<B, _>::new(
                    model(),
                    layers,
                    training,
                    images,
                    device,
                ))
            }
            Self::Vae(config) => Box::new(config.method::<B>(model(), training, device)?),
            Self::LadderVae(config) => Box::new(config.method::<B>(model(), training, device)?),
            Self::VaeIaf(config) => Box::new(config.method::<B>(model(), training, device)?),
            Self::Glo(config) => Box::new(GloMethod::<B, _>::new(
                model(),
                &generator.latents,
                images,
                config,
                training,
                device,
            )?),
            Self::Glow(config) => Box::new(GlowMethod::<B>::new(
                generator.image_shape(),
                config,
                training,
                device,
            )?),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use shortrun_train::Sigma;

    use super::*;

    #[test]
    fn every_method_is_written_and_read_by_its_name() {
        for name in MethodName::ALL {
            let config = name.config();
            let text = serde_json::to_string(&config).unwrap();
            assert!(
                text.contains(&format!("\"name\":\"{}\"", name.name())),
                "{text}"
            );
            let read: MethodConfig = serde_json::from_str(&text).unwrap();
            assert_eq!((read.name(), read), (name, config));
        }
    }

    #[test]
    fn a_run_that_goes_on_for_longer_keeps_its_warm_up() {
        let training = |iterations| TrainConfig {
            iterations,
            sigma: Sigma::Constant(0.2),
            ..TrainConfig::default()
        };
        let begun = MethodName::LadderVae.config().of_run(&training(600));
        let MethodConfig::LadderVae(config) = &begun else {
            unreachable!("{begun:?}")
        };
        assert_eq!(config.warm_up, Some(60));
        assert_eq!(begun.clone().of_run(&training(20_000)), begun);
    }

    #[test]
    fn chains_that_go_on_have_no_step_size_tuned_for_others() {
        let mut usual = TrainConfig::default();
        usual.step_size.every = 50;
        for method in [MethodName::Abp, MethodName::Mcmc] {
            assert_eq!(method.training(&usual).step_size.every, 0);
            assert!(method.defined_by().contains(&"step_size.every"));
        }
    }

    #[test]
    fn settings_of_another_method_are_refused() {
        for text in [
            r#"{"name": "vae", "steps": 4}"#,
            r#"{"name": "short-run", "warm_up": 4}"#,
            r#"{"name": "glow", "warm_up": 4}"#,
            r#"{"name": "elbow"}"#,
        ] {
            assert!(
                serde_json::from_str::<MethodConfig>(text).is_err(),
                "{text}"
            );
        }
    }
}
