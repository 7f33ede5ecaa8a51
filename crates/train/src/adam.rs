//! Adam, as Burn has it, by one kernel a tensor where the backend has one.

use burn::{
    optim::{
        Adam as BurnAdam, AdamConfig as BurnConfig, AdamState, AdaptiveMomentumState as Momentum,
        SimpleOptimizer, adaptor::OptimizerAdaptor,
    },
    prelude::*,
};
use shortrun_model::AdamUpdate;

use crate::config::AdamConfig;

/// Adam for one tensor at a time; its state is that of Burn's.
#[derive(Clone)]
pub(crate) struct Adam {
    generic: BurnAdam,
    config: AdamConfig,
}

impl Adam {
    pub(crate) fn new(config: AdamConfig) -> Self {
        let generic = BurnConfig::new()
            .with_beta_1(config.beta1)
            .with_beta_2(config.beta2)
            .with_epsilon(config.epsilon)
            .build();
        Self { generic, config }
    }

    /// For a whole module.
    pub(crate) fn optimiser<B, M>(self) -> OptimizerAdaptor<Self, M, B>
    where
        B: burn::tensor::backend::AutodiffBackend,
        M: burn::module::AutodiffModule<B>,
    {
        OptimizerAdaptor::from(self)
    }
}

impl<B: Backend> SimpleOptimizer<B> for Adam {
    type State<const D: usize> = AdamState<B, D>;

    fn step<const D: usize>(
        &self,
        rate: f64,
        weights: Tensor<B, D>,
        gradient: Tensor<B, D>,
        state: Option<AdamState<B, D>>,
    ) -> (Tensor<B, D>, Option<AdamState<B, D>>) {
        let update = AdamUpdate {
            rate,
            beta1: self.config.beta1,
            beta2: self.config.beta2,
            epsilon: self.config.epsilon,
            time: state.as_ref().map_or(1, |state| state.momentum.time + 1),
        };
        let moments = state.as_ref().map(|state| {
            let moments = &state.momentum;
            [&moments.moment_1, &moments.moment_2]
        });
        let Some([weights, first, second]) = update.apply(&weights, &gradient, moments) else {
            return self.generic.step(rate, weights, gradient, state);
        };
        let momentum = Momentum::new(update.time, first, second);
        (weights, Some(AdamState::new(momentum)))
    }

    fn to_device<const D: usize>(state: AdamState<B, D>, device: &B::Device) -> AdamState<B, D> {
        <BurnAdam as SimpleOptimizer<B>>::to_device(state, device)
    }
}
