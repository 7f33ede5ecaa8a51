//! Opening a run folder, as the command line asks for it.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use burn::{backend::Autodiff, prelude::*};
use clap::Args;
use shortrun_baselines::MethodName;
use shortrun_data::Images;
use shortrun_eval::{Inference, Reconstruction, reconstruct};
use shortrun_model::{MultiLayerGenerator, chosen_precision, set_precision};
use shortrun_train::{Method, RunFolder};

use super::{
    Failure,
    options::{ChainOptions, Chosen, DataOptions, check_output},
};
pub(super) use crate::run::LoadedRun;

/// Which run, and which of its checkpoints.
#[derive(Clone, Debug, Args)]
pub(super) struct RunOption {
    /// Folder of the run.
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// Use the checkpoint with the lowest test error, not the newest.
    #[arg(long)]
    best: bool,
}

impl RunOption {
    /// The folder.
    pub(super) fn folder(&self) -> Result<RunFolder, Failure> {
        Ok(RunFolder::open(&self.run)?)
    }

    pub(super) fn load(&self) -> Result<LoadedRun, Failure> {
        let run = LoadedRun::open(&self.run)?;
        warn_of_damage(&run.damaged);
        if let (None, Some(own)) = (chosen_precision(), run.config.training.precision) {
            set_precision(own);
        }
        Ok(if self.best { run.best()? } else { run })
    }
}

/// Says what is wrong with newer checkpoints than the one that is used.
pub(super) fn warn_of_damage(damaged: &[String]) {
    for message in damaged {
        err!("warning: {message}; an older checkpoint is used");
    }
}

/// A run, images to look at, and how their latents are inferred.
#[derive(Clone, Debug, Args)]
pub(super) struct Subject {
    #[command(flatten)]
    pub(super) run: RunOption,
    #[command(flatten)]
    pub(super) data: DataOptions,
    #[command(flatten)]
    pub(super) chain: ChainOptions,
}

/// How latents were inferred.
pub(super) enum InferredBy<B: Backend> {
    /// By chains.
    Chain(Inference),
    /// By the method's own means.
    Method(MethodName, Box<dyn Method<B>>),
}

/// What is to be said of the reconstructions of a method that [is exact](Method::is_exact), after its name.
pub(super) const OF_AN_INVERSE: &str = "gives every image back: this is the error of its inverse, not to be \
    compared with that of other methods";

/// What [`Subject`] asks for.
pub(super) struct Loaded<B: Backend> {
    pub(super) generator: MultiLayerGenerator<Autodiff<B>>,
    pub(super) chosen: Chosen,
    pub(super) inference: Inference,
}

impl Subject {
    /// Images, generator and inference of an open run; `count` images unless `--count` says
    /// otherwise.
    pub(super) fn load<B: Backend>(
        &self,
        run: &LoadedRun,
        count: usize,
        device: &B::Device,
    ) -> Result<Loaded<B>, Failure> {
        Ok(Loaded {
            chosen: self.data.load(run, count)?,
            inference: run.inference(&self.chain)?,
            generator: run.generator(device)?,
        })
    }
}

impl LoadedRun {
    /// How latents are inferred at this checkpoint, with what the options change.
    pub(super) fn inference(&self, options: &ChainOptions) -> Result<Inference, Failure> {
        Ok(Inference {
            chain: options.chain(self)?,
            sigma: self.sigma(),
            seed: options.seed.unwrap_or(self.config.training.seed),
            layers: self.config.generator.latents.clone(),
        })
    }

    /// The first `count` of `images` inferred the run's own way, or by a chain if the method has
    /// them or the options ask for one.
    pub(super) fn reconstruct<B: Backend>(
        &self,
        options: &ChainOptions,
        images: &Images,
        count: usize,
        device: &B::Device,
    ) -> Result<(Reconstruction, InferredBy<B>), Failure> {
        let method = self.config.method.name();
        if !method.has_chains() && !options.given() {
            let learned = self.method::<B>(device)?;
            let found = learned.reconstruct(&self.checkpoint.state, images, count)?;
            return Ok((found, InferredBy::Method(method, learned)));
        }
        let (generator, inference) = (self.generator(device)?, self.inference(options)?);
        type Model<B> = MultiLayerGenerator<Autodiff<B>>;
        let found = reconstruct::<B, Model<B>>(&generator, images, count, &inference, device)?;
        Ok((found, InferredBy::Chain(inference)))
    }

    /// The run's method with another seed, on which its samples depend.
    pub(super) fn method_seeded<B: Backend>(
        &self,
        seed: u64,
        device: &B::Device,
    ) -> Result<Box<dyn Method<B>>, Failure> {
        let mut seeded = self.clone();
        seeded.config.training.seed = seed;
        Ok(seeded.method(device)?)
    }

    /// Where a command writes its picture: in the run folder, as `name`, if it is not told.
    pub(super) fn picture(&self, out: Option<PathBuf>, name: &str) -> Result<PathBuf, Failure> {
        let out = out.unwrap_or_else(|| self.folder.path().join(name));
        let extension = Path::new(name).extension().and_then(OsStr::to_str);
        check_output(&out, extension.unwrap_or_default())?;
        Ok(out)
    }

    /// The folder that a command writes several pictures to, made if it is not there: in the run
    /// folder if it is not told.
    pub(super) fn pictures(&self, out: Option<PathBuf>, name: &str) -> Result<PathBuf, Failure> {
        let out = out.unwrap_or_else(|| self.folder.path().join(name));
        std::fs::create_dir_all(&out).map_err(|error| {
            Failure::Other(format!("cannot make the folder {}: {error}", out.display()))
        })?;
        Ok(out)
    }
}
