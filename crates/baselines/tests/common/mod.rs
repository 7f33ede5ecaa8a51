//! What the tests of the rivals share.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub)]

use burn::{
    backend::{Autodiff, Flex},
    module::{Module, ModuleMapper, Param},
    prelude::*,
};
use shortrun_langevin::{NoiseKey, Purpose};

pub type AB = Autodiff<Flex>;

/// Standard normal numbers.
pub fn normal<B: Backend, const D: usize>(shape: [usize; D], seed: u64) -> Tensor<B, D> {
    let purpose = Purpose::Samples;
    let key = NoiseKey {
        seed,
        iteration: 0,
        purpose,
    };
    key.normal(shape, 0, &Default::default())
}

/// The module with normal noise added to all that it learns: no weight is left at a round number.
pub fn shaken<M: Module<AB>>(module: M, deviation: f64) -> M {
    struct Shake {
        deviation: f64,
        count: u64,
    }

    impl ModuleMapper<AB> for Shake {
        fn map_float<const D: usize>(
            &mut self,
            weight: Param<Tensor<AB, D>>,
        ) -> Param<Tensor<AB, D>> {
            self.count += 1;
            let noise = normal(weight.dims(), self.count) * self.deviation;
            weight.map(|weight| (weight + noise).detach().require_grad())
        }
    }

    module.map(&mut Shake {
        deviation,
        count: 0,
    })
}

/// The values of a tensor.
pub fn host<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f64> {
    tensor.into_data().convert::<f64>().iter().collect()
}

/// The largest difference of two tensors.
pub fn difference<B: Backend, const D: usize>(a: Tensor<B, D>, b: Tensor<B, D>) -> f64 {
    let pairs = host(a).into_iter().zip(host(b));
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}
