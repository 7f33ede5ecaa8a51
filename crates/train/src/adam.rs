//! Adam, as Burn has it, by kernels for many tensors at once where the backend has them.

use std::collections::BTreeMap;

use burn::{
    backend::Autodiff,
    module::{AutodiffModule, ModuleMapper, ModuleVisitor, Param, ParamId},
    optim::{
        Adam as BurnAdam, AdamConfig as BurnConfig, AdamState, AdaptiveMomentumState as Momentum,
        GradientsParams, Optimizer, SimpleOptimizer, adaptor::OptimizerAdaptor,
        record::AdaptorRecord,
    },
    prelude::*,
};
use shortrun_model::{AdamTensor, AdamUpdate};

use crate::config::AdamConfig;

/// The state of every tensor by its id: what Burn's own optimiser keeps, so that files of either can be read.
pub(crate) type Records<B, M> =
    <OptimizerAdaptor<BurnAdam, M, Autodiff<B>> as Optimizer<M, Autodiff<B>>>::Record;

/// Adam for a whole module.
pub(crate) struct Adam<B: Backend, M: AutodiffModule<Autodiff<B>>> {
    pub(crate) records: Records<B, M>,
    generic: BurnAdam,
    config: AdamConfig,
}

impl<B: Backend, M: AutodiffModule<Autodiff<B>>> Adam<B, M> {
    pub(crate) fn new(config: AdamConfig) -> Self {
        let generic = BurnConfig::new()
            .with_beta_1(config.beta1)
            .with_beta_2(config.beta2)
            .with_epsilon(config.epsilon)
            .build();
        Self {
            records: Default::default(),
            generic,
            config,
        }
    }

    /// The module after one update; what has no gradient stays as it is.
    pub(crate) fn step(&mut self, rate: f64, module: M, gradients: GradientsParams) -> M {
        let mut collect = Collect {
            adam: self,
            gradients: &gradients,
            found: BTreeMap::new(),
        };
        module.visit(&mut collect);
        let found = collect.found;
        let done = self.update(rate, found);
        module.map(&mut PutBack {
            adam: self,
            rate,
            gradients,
            done,
        })
    }

    /// What the kernels made of the tensors.
    fn update(&self, rate: f64, found: Found<B>) -> Done<B> {
        let mut done = Done::new();
        for (time, (ids, tensors)) in found {
            let update = AdamUpdate {
                rate,
                beta1: self.config.beta1,
                beta2: self.config.beta2,
                epsilon: self.config.epsilon,
                time,
            };
            let made = update.apply(&tensors).into_iter().flatten();
            done.extend(ids.into_iter().zip(made.map(|made| (time, made))));
        }
        done
    }

    fn state<const D: usize>(&self, id: ParamId) -> Option<AdamState<B, D>> {
        self.records
            .get(&id)
            .cloned()
            .map(AdaptorRecord::into_state)
    }
}

/// Tensors by the number of updates that they will have had: those with the same one are updated alike.
type Found<B> = BTreeMap<usize, (Vec<ParamId>, Vec<AdamTensor<B>>)>;

/// The number of updates of each tensor, its weights and moments.
type Done<B> = BTreeMap<ParamId, (usize, [Tensor<B, 1>; 3])>;

/// Collects what has a gradient.
struct Collect<'a, B: Backend, M: AutodiffModule<Autodiff<B>>> {
    adam: &'a Adam<B, M>,
    gradients: &'a GradientsParams,
    found: Found<B>,
}

impl<B: Backend, M: AutodiffModule<Autodiff<B>>> ModuleVisitor<Autodiff<B>> for Collect<'_, B, M> {
    fn visit_float<const D: usize>(&mut self, weight: &Param<Tensor<Autodiff<B>, D>>) {
        let Some(gradient) = self.gradients.get::<B, D>(weight.id) else {
            return;
        };
        let momentum = self.adam.state::<D>(weight.id).map(|state| state.momentum);
        let time = momentum.as_ref().map_or(1, |momentum| momentum.time + 1);
        let (ids, tensors) = self.found.entry(time).or_default();
        ids.push(weight.id);
        tensors.push(AdamTensor {
            weights: flat(weight.val().inner()),
            gradient: flat(gradient),
            moments: momentum.map(|of| [flat(of.moment_1), flat(of.moment_2)]),
        });
    }
}

/// Gives every tensor what the kernels made of it, or else updates it by tensor operations.
struct PutBack<'a, B: Backend, M: AutodiffModule<Autodiff<B>>> {
    adam: &'a mut Adam<B, M>,
    rate: f64,
    gradients: GradientsParams,
    done: Done<B>,
}

impl<B: Backend, M: AutodiffModule<Autodiff<B>>> ModuleMapper<Autodiff<B>> for PutBack<'_, B, M> {
    fn map_float<const D: usize>(
        &mut self,
        weight: Param<Tensor<Autodiff<B>, D>>,
    ) -> Param<Tensor<Autodiff<B>, D>> {
        let (id, weights, mapper) = weight.consume();
        let Some(gradient) = self.gradients.remove::<B, D>(id) else {
            return Param::from_mapped_value(id, weights, mapper);
        };
        let learned = weights.is_require_grad();
        let record = self.adam.records.remove(&id);
        let (weights, state) = match self.done.remove(&id) {
            Some((time, made)) => {
                let [weights, m, v] = made.map(|made| made.reshape(weights.shape()));
                let momentum = Momentum::new(time, m, v);
                (weights, Some(AdamState::new(momentum)))
            }
            None => {
                let state = record.map(AdaptorRecord::into_state);
                let adam = &self.adam.generic;
                adam.step(self.rate, weights.inner(), gradient, state)
            }
        };
        if let Some(state) = state {
            let record = AdaptorRecord::from_state::<D>(state);
            self.adam.records.insert(id, record);
        }
        let weights = Tensor::from_inner(weights).set_require_grad(learned);
        Param::from_mapped_value(id, weights, mapper)
    }
}

/// Value by value.
fn flat<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Tensor<B, 1> {
    let count = tensor.shape().num_elements();
    tensor.reshape([count])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::{
        backend::Flex,
        nn::{
            Linear, LinearConfig,
            conv::{Conv2d, Conv2dConfig},
        },
        record::{BinBytesRecorder, FullPrecisionSettings, Record, Recorder},
    };

    use super::*;

    #[derive(Module, Debug)]
    struct Net<B: Backend> {
        conv: Conv2d<B>,
        /// Learns in every second step only.
        late: Linear<B>,
        /// Never learns.
        unused: Linear<B>,
        frozen: Linear<B>,
    }

    impl<B: Backend> Net<B> {
        fn new(device: &B::Device) -> Self {
            Self {
                conv: Conv2dConfig::new([2, 3], [3, 3]).init(device),
                late: LinearConfig::new(4, 5).init(device),
                unused: LinearConfig::new(3, 2).init(device),
                frozen: LinearConfig::new(4, 4).init(device).no_grad(),
            }
        }

        fn loss(&self, step: usize) -> Tensor<B, 1> {
            let device = &self.conv.weight.device();
            let values = Tensor::arange(0..32, device).float().sin() * (step as f64 + 1.0);
            let mut loss = self
                .conv
                .forward(values.reshape([1, 2, 4, 4]))
                .square()
                .sum();
            if step % 2 == 1 {
                let rows = self.frozen.forward(Tensor::<B, 2>::ones([2, 4], device));
                loss = loss + self.late.forward(rows).sin().sum();
            }
            loss
        }
    }

    type Burns<B> = OptimizerAdaptor<BurnAdam, Net<Autodiff<B>>, Autodiff<B>>;

    /// Through the bytes of a file.
    fn recorded<B: Backend, R: Record<Autodiff<B>>>(from: impl Record<Autodiff<B>>) -> R {
        let recorder = BinBytesRecorder::<FullPrecisionSettings>::default();
        let bytes = Recorder::<Autodiff<B>>::record(&recorder, from, ()).unwrap();
        Recorder::<Autodiff<B>>::load(&recorder, bytes, &Default::default()).unwrap()
    }

    fn values<B: Backend>(net: &Net<Autodiff<B>>) -> Vec<f32> {
        struct Values(Vec<f32>);

        impl<B: Backend> ModuleVisitor<B> for Values {
            fn visit_float<const D: usize>(&mut self, weight: &Param<Tensor<B, D>>) {
                self.0.extend(weight.val().into_data().iter::<f32>());
            }
        }

        let mut values = Values(Vec::new());
        net.visit(&mut values);
        values.0
    }

    /// Weights after some steps by Burn's own optimiser and by this one; after three of them each reads what
    /// the other would have written.
    fn both<B: Backend>() -> [Vec<f32>; 2] {
        let config = AdamConfig {
            beta1: 0.5,
            beta2: 0.99,
            epsilon: 1e-4,
            clip: None,
        };
        let gradients = |net: &Net<Autodiff<B>>, step| {
            GradientsParams::from_grads(net.loss(step).backward(), net)
        };
        B::seed(&Default::default(), 5);
        let start = Net::new(&Default::default());
        // Burn draws weights when they are first wanted, for every copy anew.
        values(&start);
        let [mut burns, mut ours] = [start.clone(), start.clone()];
        let mut adam = Adam::new(config);
        let mut generic: Burns<B> = OptimizerAdaptor::from(adam.generic.clone());
        for step in 0..6 {
            if step == 3 {
                let record =
                    recorded::<B, <Burns<B> as Optimizer<_, _>>::Record>(adam.records.clone());
                adam.records = recorded::<B, _>(generic.to_record());
                generic = generic.load_record(record);
            }
            let given = gradients(&burns, step);
            burns = generic.step(0.01, burns, given);
            let given = gradients(&ours, step);
            ours = adam.step(0.01, ours, given);
        }
        assert_eq!(adam.records.len(), 4, "two layers with biases");
        assert!(ours.late.weight.is_require_grad());
        assert!(!ours.frozen.weight.is_require_grad());
        let moved = |of: fn(&Net<Autodiff<B>>) -> Tensor<Autodiff<B>, 2>| {
            (of(&ours) - of(&start))
                .abs()
                .max()
                .into_data()
                .iter::<f32>()
                .next()
                .unwrap()
        };
        assert!(moved(|net| net.late.weight.val()) > 1e-3);
        assert_eq!(moved(|net| net.unused.weight.val()), 0.0);
        assert_eq!(moved(|net| net.frozen.weight.val()), 0.0);
        [values(&burns), values(&ours)]
    }

    #[test]
    fn a_module_learns_as_by_burns_adam_to_the_last_bit() {
        let [burns, ours] = both::<Flex>();
        assert_eq!(burns, ours);
    }

    #[cfg(feature = "vulkan")]
    #[test]
    fn kernels_learn_as_burns_adam_on_vulkan() {
        let [burns, ours] = both::<burn::backend::Vulkan>();
        for (burns, ours) in burns.iter().zip(&ours) {
            assert!((burns - ours).abs() < 1e-5, "{burns} {ours}");
        }
    }
}
