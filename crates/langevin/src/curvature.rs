//! Second and third derivatives of the energy: what the step-size objectives need beyond the
//! gradient.

use burn::{backend::Autodiff, prelude::*};

use crate::{EnergyGradient, Posterior};

/// Hessian `H(e) = ∇²U(e)` of each example's energy, and the derivative of its traces.
///
/// [`ByNestedAutodiff`] gives it for every [`Posterior`]; a model that knows a faster way
/// implements it directly. `rows` bounds the memory: how many pairs of an example and a direction
/// may be worked on at a time (never fewer than one direction for all examples).
pub trait Curvature<B: Backend>: EnergyGradient<B> {
    /// `H(e) v` for m vectors of each example.
    ///
    /// # Shapes
    /// latents `[n, d]`, vectors `[n, m, d]`, result `[n, m, d]`
    fn hessian_products(
        &self,
        latents: Tensor<B, 2>,
        vectors: Tensor<B, 3>,
        rows: usize,
    ) -> Tensor<B, 3>;

    /// The gradient in `e` of `tr(W H(e))` with symmetric W held fixed: a third derivative.
    ///
    /// # Shapes
    /// latents `[n, d]`, weights `[n, d, d]`, result `[n, d]`
    fn trace_gradient(
        &self,
        latents: Tensor<B, 2>,
        weights: Tensor<B, 3>,
        rows: usize,
    ) -> Tensor<B, 2>;

    /// `H(e)`, from products with the standard basis unless the model knows better.
    ///
    /// # Shapes
    /// latents `[n, d]`, result `[n, d, d]`
    fn hessian(&self, latents: Tensor<B, 2>, rows: usize) -> Tensor<B, 3> {
        let [n, d] = latents.dims();
        let basis = Tensor::<B, 2>::eye(d, &latents.device()).unsqueeze_dim::<3>(0);
        self.hessian_products(latents, basis.expand([n, d, d]), rows)
    }

    /// An estimate of the bytes that one of `rows` takes.
    fn bytes_per_row(&self) -> usize;
}

impl<B: Backend, C: Curvature<B> + ?Sized> Curvature<B> for Box<C> {
    fn hessian_products(
        &self,
        latents: Tensor<B, 2>,
        vectors: Tensor<B, 3>,
        rows: usize,
    ) -> Tensor<B, 3> {
        (**self).hessian_products(latents, vectors, rows)
    }

    fn trace_gradient(
        &self,
        latents: Tensor<B, 2>,
        weights: Tensor<B, 3>,
        rows: usize,
    ) -> Tensor<B, 2> {
        (**self).trace_gradient(latents, weights, rows)
    }

    fn hessian(&self, latents: Tensor<B, 2>, rows: usize) -> Tensor<B, 3> {
        (**self).hessian(latents, rows)
    }

    fn bytes_per_row(&self) -> usize {
        (**self).bytes_per_row()
    }
}

/// Two levels of autodiff over `B`.
pub type Autodiff2<B> = Autodiff<Autodiff<B>>;

/// Three levels of autodiff over `B`: one for the gradient, one for Hessian-vector products, one
/// for their derivative.
pub type Autodiff3<B> = Autodiff<Autodiff<Autodiff<B>>>;

/// All derivatives of any [`Posterior`], by nested reverse-mode automatic differentiation.
///
/// Freeze the weights of a network (`Module::no_grad`) before wrapping it. Burn 0.21's `nn::Linear`
/// cannot be differentiated more than once: write such layers as a product and a sum.
#[derive(Clone, Debug)]
pub struct ByNestedAutodiff<P> {
    posterior: P,
    bytes_per_row: usize,
}

/// Assumed of a posterior that does not say what a row takes: 1 MiB.
const BYTES_PER_ROW: usize = 1 << 20;

impl<P> ByNestedAutodiff<P> {
    /// The derivatives of `posterior`.
    pub fn new(posterior: P) -> Self {
        Self {
            posterior,
            bytes_per_row: BYTES_PER_ROW,
        }
    }

    /// Says how many bytes the tapes of one example take; 1 MiB is assumed otherwise; a network
    /// of 64 channels takes 10.
    pub fn with_bytes_per_row(mut self, bytes: usize) -> Self {
        self.bytes_per_row = bytes.max(1);
        self
    }
}

impl<B: Backend, P: Posterior<Autodiff3<B>>> EnergyGradient<B> for ByNestedAutodiff<P> {
    fn energy_and_gradient(&self, latents: Tensor<B, 2>) -> (Tensor<B, 1>, Tensor<B, 2>) {
        let constant = Tensor::<Autodiff2<B>, 2>::from_inner(Tensor::from_inner(latents));
        let (energy, gradient) = tracked_gradient(&self.posterior, constant);
        (energy.inner().inner(), gradient.inner().inner())
    }
}

impl<B: Backend, P: Posterior<Autodiff3<B>>> Curvature<B> for ByNestedAutodiff<P> {
    fn hessian_products(
        &self,
        latents: Tensor<B, 2>,
        vectors: Tensor<B, 3>,
        rows: usize,
    ) -> Tensor<B, 3> {
        let [n, m, d] = vectors.dims();
        let mut products = Vec::new();
        self.in_chunks(n, m, rows, |posterior, from, many| {
            let leaf = Tensor::<Autodiff<B>, 2>::from_inner(repeat_rows(latents.clone(), many));
            let some = vectors.clone().slice_dim(1, from..from + many);
            let product = tracked_product(posterior, leaf, some.reshape([n * many, d]));
            products.push(product.inner().reshape([n, many, d]));
        });
        Tensor::cat(products, 1)
    }

    fn trace_gradient(
        &self,
        latents: Tensor<B, 2>,
        weights: Tensor<B, 3>,
        rows: usize,
    ) -> Tensor<B, 2> {
        let [n, d] = latents.dims();
        let basis = Tensor::<B, 2>::eye(d, &latents.device()).unsqueeze_dim::<3>(0);
        let mut total = latents.zeros_like();
        self.in_chunks(n, d, rows, |posterior, from, many| {
            let columns = |all: Tensor<B, 3>| {
                all.slice_dim(1, from..from + many)
                    .expand([n, many, d])
                    .reshape([n * many, d])
            };
            let leaf = Tensor::<Autodiff<B>, 2>::from_inner(repeat_rows(latents.clone(), many))
                .require_grad();
            let product = tracked_product(posterior, leaf.clone(), columns(basis.clone()));
            // tr(W H) is the sum over j of (W b_j) . (H b_j).
            let trace = product * Tensor::from_inner(columns(weights.clone()));
            let gradient = gradient_in(&leaf, trace);
            total = total.clone() + gradient.reshape([n, many, d]).sum_dim(1).squeeze_dim(1);
        });
        total
    }

    fn bytes_per_row(&self) -> usize {
        self.bytes_per_row
    }
}

impl<P> ByNestedAutodiff<P> {
    /// Calls `work(posterior, from, many)` for chunks of `m` directions, with the posterior of
    /// each example's row repeated `many` times.
    fn in_chunks<B: Backend>(
        &self,
        n: usize,
        m: usize,
        rows: usize,
        mut work: impl FnMut(&P, usize, usize),
    ) where
        P: Posterior<Autodiff3<B>>,
    {
        let many = (rows / n.max(1)).clamp(1, m.max(1));
        let mut from = 0;
        while from < m {
            let wanted = many.min(m - from);
            let repeated = (wanted > 1)
                .then(|| self.posterior.repeated(wanted))
                .flatten();
            match &repeated {
                Some(posterior) => work(posterior, from, wanted),
                // One at a time: the rows are tied to their examples.
                None => (from..from + wanted).for_each(|at| work(&self.posterior, at, 1)),
            }
            from += wanted;
        }
    }
}

/// `[n, d]` to `[n * times, d]`, the copies of a row one after the other.
fn repeat_rows<B: Backend>(rows: Tensor<B, 2>, times: usize) -> Tensor<B, 2> {
    let [n, d] = rows.dims();
    rows.unsqueeze_dim::<3>(1)
        .expand([n, times, d])
        .reshape([n * times, d])
}

/// Energy and gradient, still on the tapes of the two inner levels.
fn tracked_gradient<B: Backend>(
    posterior: &impl Posterior<Autodiff3<B>>,
    latents: Tensor<Autodiff2<B>, 2>,
) -> (Tensor<Autodiff2<B>, 1>, Tensor<Autodiff2<B>, 2>) {
    crate::gradient_by_autodiff::<Autodiff3<B>>(latents, |latents| posterior.energy(latents))
}

/// `H v` for each row, still on the innermost tape.
fn tracked_product<B: Backend>(
    posterior: &impl Posterior<Autodiff3<B>>,
    latents: Tensor<Autodiff<B>, 2>,
    vectors: Tensor<B, 2>,
) -> Tensor<Autodiff<B>, 2> {
    let leaf = Tensor::<Autodiff2<B>, 2>::from_inner(latents).require_grad();
    let (_, gradient) = tracked_gradient(posterior, leaf.clone());
    let vectors = Tensor::<Autodiff2<B>, 2>::from_inner(Tensor::from_inner(vectors));
    gradient_in(&leaf, gradient * vectors)
}

/// The gradient of the sum of `values` in `leaf`.
fn gradient_in<B: Backend>(
    leaf: &Tensor<Autodiff<B>, 2>,
    values: Tensor<Autodiff<B>, 2>,
) -> Tensor<B, 2> {
    // The added zero keeps a sum that does not depend on the leaf on its tape.
    let sum = values.sum() + (leaf.clone() * 0.0).sum();
    let gradients = sum.backward();
    leaf.grad(&gradients)
        .unwrap_or_else(|| leaf.clone().inner().zeros_like())
}
