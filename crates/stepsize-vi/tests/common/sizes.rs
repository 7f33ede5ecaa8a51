//! Step sizes as the oracles take them: the diagonal of `S_k` for each step.

use nalgebra::DVector;
use shortrun_langevin::StepSizes;

/// The diagonals of `S_0, …, S_{K-1}`, each of d sizes.
pub(crate) type Sizes = Vec<DVector<f64>>;

/// The same size everywhere.
pub(crate) fn constant(steps: usize, d: usize, s: f64) -> Sizes {
    vec![DVector::from_element(d, s); steps]
}

/// One size for each step.
pub(crate) fn per_step(d: usize, sizes: &[f64]) -> Sizes {
    let sizes = sizes.iter();
    sizes.map(|s| DVector::from_element(d, *s)).collect()
}

/// One size for each layer, of `layers[i]` dimensions, the same in every step.
pub(crate) fn per_layer(steps: usize, layers: &[usize], sizes: &[f64]) -> Sizes {
    assert_eq!(layers.len(), sizes.len());
    let pairs = layers.iter().zip(sizes);
    let all: Vec<f64> = pairs.flat_map(|(&width, &s)| vec![s; width]).collect();
    vec![DVector::from_vec(all); steps]
}

/// What the library's step sizes mean.
pub(crate) fn by_step_sizes(steps: usize, d: usize, sizes: &StepSizes) -> Sizes {
    let step = |k| {
        let sizes = sizes.by_dimension(k, d);
        DVector::from_iterator(d, sizes.iter().map(|size| size.drift()))
    };
    (0..steps).map(step).collect()
}
