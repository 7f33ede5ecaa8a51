//! A linear generator: everything about its short chain in closed form.

use std::f64::consts::{PI, TAU};

use burn::{prelude::*, tensor::TensorData};
use nalgebra::{DMatrix, DVector};
use shortrun_langevin::Posterior;

use super::Gaussian;

/// `x = W e + b + N(0, σ² I_D)`, `e ~ N(0, I_d)`, and one x.
///
/// ```text
/// U(e) = |e|²/2 + |x - b - W e|²/(2σ²)      H = I + WᵀW/σ²
/// ∇U(e) = H (e - μ)                         μ = H⁻¹ Wᵀ(x - b)/σ²
/// ```
///
/// The posterior is `N(μ, H⁻¹)`. A step is `e ← e - S H (e - μ) + sqrt(2S) n`, so `e_K` is normal.
/// `sizes` are the diagonals of `S_0, …, S_{K-1}`. Everything is float64, from numbers that are
/// the same in float32; as a [`Posterior`] every row has the same x.
#[derive(Clone, Debug)]
pub(crate) struct LinearGaussian {
    w: DMatrix<f64>,
    b: DVector<f64>,
    x: DVector<f64>,
    sigma: f64,
    hessian: DMatrix<f64>,
    mode: DVector<f64>,
}

impl LinearGaussian {
    pub(crate) fn new(w: DMatrix<f64>, b: DVector<f64>, x: DVector<f64>, sigma: f64) -> Self {
        let single = |v: f64| f64::from(v as f32);
        let (w, b, x) = (w.map(single), b.map(single), x.map(single));
        let d = w.ncols();
        let hessian = DMatrix::identity(d, d) + w.transpose() * &w / (sigma * sigma);
        let pull = w.transpose() * (&x - &b) / (sigma * sigma);
        let mode = hessian.clone().cholesky().unwrap().solve(&pull);
        Self {
            w,
            b,
            x,
            sigma,
            hessian,
            mode,
        }
    }

    /// The instance of the tests: d = 6, D = 10, σ = 0.5, eigenvalues of H 1.2, 2.5, 5, 9, 16, 30.
    ///
    /// With K = 10 the best constant step is near 0.0092, well inside (0, 1/30).
    pub(crate) fn example() -> Self {
        let sigma = 0.5;
        let eigenvalues = DVector::from_row_slice(&[1.2, 2.5, 5.0, 9.0, 16.0, 30.0]);
        let scales = eigenvalues.map(|h: f64| sigma * (h - 1.0).sqrt());
        // Orthonormal cosines.
        let cosine = |size: usize, i: usize, j: usize| {
            let norm = if j == 0 { 1.0 } else { 2.0 } / size as f64;
            norm.sqrt() * (PI * (i as f64 + 0.5) * j as f64 / size as f64).cos()
        };
        let left = DMatrix::from_fn(10, 6, |i, j| cosine(10, i, j + 1));
        let right = DMatrix::from_fn(6, 6, |i, j| cosine(6, i, j));
        let w = left * DMatrix::from_diagonal(&scales) * right.transpose();
        let b = DVector::from_fn(10, |i, _| 0.1 * i as f64 - 0.4);
        let e = DVector::from_row_slice(&[0.7, -1.1, 0.4, 1.3, -0.6, 0.2]);
        let off = [0.3, -1.2, 0.8, 0.1, -0.5, 1.4, -0.9, 0.6, -0.2, 0.4];
        let x = &w * e + &b + DVector::from_row_slice(&off) * sigma;
        Self::new(w, b, x, sigma)
    }

    /// d.
    pub(crate) fn dim(&self) -> usize {
        self.w.ncols()
    }

    /// D.
    pub(crate) fn observed(&self) -> usize {
        self.w.nrows()
    }

    pub(crate) fn sigma(&self) -> f64 {
        self.sigma
    }

    /// H.
    pub(crate) fn hessian(&self) -> &DMatrix<f64> {
        &self.hessian
    }

    /// Ascending eigenvalues of H.
    pub(crate) fn eigenvalues(&self) -> Vec<f64> {
        let mut all: Vec<f64> = self
            .hessian
            .symmetric_eigenvalues()
            .iter()
            .copied()
            .collect();
        all.sort_by(f64::total_cmp);
        all
    }

    /// `1 / λ_max(H)`: below it no eigenvalue of `I - s H` is negative.
    pub(crate) fn largest_size(&self) -> f64 {
        1.0 / self.eigenvalues()[self.dim() - 1]
    }

    /// `U(e)`.
    pub(crate) fn energy_at(&self, e: &DVector<f64>) -> f64 {
        let residual = &self.x - &self.b - &self.w * e;
        e.norm_squared() / 2.0 + residual.norm_squared() / (2.0 * self.sigma * self.sigma)
    }

    /// `∇U(e)`.
    pub(crate) fn gradient_at(&self, e: &DVector<f64>) -> DVector<f64> {
        &self.hessian * (e - &self.mode)
    }

    /// `(D/2) log(2πσ²)`.
    pub(crate) fn constant(&self) -> f64 {
        self.observed() as f64 / 2.0 * (TAU * self.sigma * self.sigma).ln()
    }

    /// `p(e | x) = N(μ, H⁻¹)`.
    pub(crate) fn posterior(&self) -> Gaussian {
        Gaussian {
            mean: self.mode.clone(),
            covariance: self.hessian.clone().cholesky().unwrap().inverse(),
        }
    }

    /// `log p(x)`, by `p(x) = N(b, W Wᵀ + σ² I)`.
    pub(crate) fn log_evidence(&self) -> f64 {
        let noise = DMatrix::identity(self.observed(), self.observed()) * self.sigma.powi(2);
        let marginal = Gaussian {
            mean: self.b.clone(),
            covariance: &self.w * self.w.transpose() + noise,
        };
        marginal.log_density(&self.x)
    }

    /// `I - S H`.
    pub(crate) fn factor(&self, size: &DVector<f64>) -> DMatrix<f64> {
        DMatrix::identity(self.dim(), self.dim()) - DMatrix::from_diagonal(size) * &self.hessian
    }

    /// `log|det(I - S_k H)|` for each k.
    pub(crate) fn log_dets(&self, sizes: &[DVector<f64>]) -> Vec<f64> {
        let log_det = |size| self.factor(size).determinant().abs().ln();
        sizes.iter().map(log_det).collect()
    }

    /// The law of `e_0, …, e_K`, each by itself, from `N(0, I)`: with `A = I - S_k H`,
    /// `m ← m - S_k ∇U(m)` and `C ← A C Aᵀ + 2 S_k`.
    pub(crate) fn laws(&self, sizes: &[DVector<f64>]) -> Vec<Gaussian> {
        let mut laws = vec![Gaussian::standard(self.dim())];
        for size in sizes {
            let Gaussian { mean, covariance } = laws.last().unwrap();
            let a = self.factor(size);
            laws.push(Gaussian {
                mean: mean - size.component_mul(&self.gradient_at(mean)),
                covariance: &a * covariance * a.transpose() + DMatrix::from_diagonal(size) * 2.0,
            });
        }
        laws
    }

    /// The law `q_s` of `e_K`.
    pub(crate) fn law(&self, sizes: &[DVector<f64>]) -> Gaussian {
        self.laws(sizes).pop().unwrap()
    }

    /// `E[U(e)] = U(m) + tr(H C)/2`.
    fn expected_energy(&self, law: &Gaussian) -> f64 {
        self.energy_at(&law.mean) + (&self.hessian * &law.covariance).trace() / 2.0
    }

    /// `KL(q_s || p(e | x))`.
    pub(crate) fn kl(&self, sizes: &[DVector<f64>]) -> f64 {
        self.law(sizes).kl(&self.posterior())
    }

    /// `I(e_K; n) = h(e_K) - h(e_K | n)`.
    ///
    /// Given the noise, `e_K` has covariance `A Aᵀ`, `A = (I - S_{K-1} H) … (I - S_0 H)`; its
    /// determinant is taken factor by factor, which stays exact where `A` is nearly singular.
    pub(crate) fn mutual_information(&self, sizes: &[DVector<f64>]) -> f64 {
        self.law(sizes).log_det() / 2.0 - self.log_dets(sizes).iter().sum::<f64>()
    }

    /// The expectation over `e_0` and all noise of the objective
    ///
    /// ```text
    /// F = -|e_0|²/2 - Σ_k log|det(I - S_k H)| + U(e_K) + (D/2) log(2πσ²)
    /// ```
    ///
    /// It is `KL(q_s || p(e | x)) - log p(x) + I(e_K; n)`.
    pub(crate) fn expected_objective(&self, sizes: &[DVector<f64>]) -> f64 {
        let log_det: f64 = self.log_dets(sizes).iter().sum();
        let energy = self.expected_energy(&self.law(sizes));
        -(self.dim() as f64) / 2.0 - log_det + energy + self.constant()
    }

    /// The expectation over `e_0` and all noise of the augmented bound
    ///
    /// ```text
    /// F_aug = -|e_0|²/2 + Σ_k (|v_k|² - |n_k|²)/2 + U(e_K) + (D/2) log(2πσ²)
    /// v_k = sqrt(S_k/2) (∇U(e_k) + ∇U(e_{k+1})) - n_k
    ///     = sqrt(S_k/2) H (I + A_k) (e_k - μ) + (sqrt(S_k/2) H sqrt(2S_k) - I) n_k
    /// ```
    pub(crate) fn expected_augmented(&self, sizes: &[DVector<f64>]) -> f64 {
        let d = self.dim();
        let identity = DMatrix::identity(d, d);
        let laws = self.laws(sizes);
        let mut total = self.constant() + self.expected_energy(&laws[sizes.len()]);
        total -= d as f64 / 2.0;
        for (size, law) in sizes.iter().zip(&laws) {
            let half = DMatrix::from_diagonal(&size.map(|s| (s / 2.0).sqrt())) * &self.hessian;
            let eta = DMatrix::from_diagonal(&size.map(|s| (2.0 * s).sqrt()));
            let of_position = &half * (&identity + self.factor(size));
            let of_noise = &half * eta - &identity;
            let mean = &of_position * (&law.mean - &self.mode);
            let spread = &of_position * &law.covariance * of_position.transpose();
            let square = mean.norm_squared() + spread.trace() + of_noise.norm_squared();
            total += (square - d as f64) / 2.0;
        }
        total
    }

    /// `e_0, …, e_K` of one chain.
    pub(crate) fn chain(
        &self,
        start: &DVector<f64>,
        noise: &[DVector<f64>],
        sizes: &[DVector<f64>],
    ) -> Vec<DVector<f64>> {
        let mut positions = vec![start.clone()];
        for (size, noise) in sizes.iter().zip(noise) {
            let e = positions.last().unwrap();
            let eta = size.map(|s| (2.0 * s).sqrt());
            let drift = size.component_mul(&self.gradient_at(e));
            positions.push(e - drift + eta.component_mul(noise));
        }
        positions
    }

    /// `F` of one chain.
    pub(crate) fn objective(
        &self,
        start: &DVector<f64>,
        noise: &[DVector<f64>],
        sizes: &[DVector<f64>],
    ) -> f64 {
        let positions = self.chain(start, noise, sizes);
        let log_det: f64 = self.log_dets(sizes).iter().sum();
        let energy = self.energy_at(&positions[sizes.len()]);
        -start.norm_squared() / 2.0 - log_det + energy + self.constant()
    }

    /// `F_aug` of one chain.
    pub(crate) fn augmented(
        &self,
        start: &DVector<f64>,
        noise: &[DVector<f64>],
        sizes: &[DVector<f64>],
    ) -> f64 {
        let positions = self.chain(start, noise, sizes);
        let energy = self.energy_at(&positions[sizes.len()]);
        let mut total = -start.norm_squared() / 2.0 + energy + self.constant();
        for (k, (size, noise)) in sizes.iter().zip(noise).enumerate() {
            let both = self.gradient_at(&positions[k]) + self.gradient_at(&positions[k + 1]);
            let v = size.map(|s| (s / 2.0).sqrt()).component_mul(&both) - noise;
            total += (v.norm_squared() - noise.norm_squared()) / 2.0;
        }
        total
    }
}

impl<B: Backend> Posterior<B> for LinearGaussian {
    fn energy(&self, latents: Tensor<B, 2>) -> Tensor<B, 1> {
        let device = latents.device();
        let matrix = |m: &DMatrix<f64>| {
            // nalgebra's matrices lie column by column.
            let values: Vec<f32> = m.iter().map(|v| *v as f32).collect();
            let data = TensorData::new(values, [m.ncols(), m.nrows()]);
            Tensor::<B, 2>::from_data(data, &device)
        };
        let row = |v: &DVector<f64>| matrix(&DMatrix::from_column_slice(v.len(), 1, v.as_slice()));
        let generated = latents.clone().matmul(matrix(&self.w)) + row(&self.b);
        let residual = row(&self.x) - generated;
        let energy = latents.square().sum_dim(1) / 2.0
            + residual.square().sum_dim(1) / (2.0 * self.sigma * self.sigma);
        energy.squeeze_dim(1)
    }

    fn repeated(&self, _times: usize) -> Option<Self> {
        Some(self.clone())
    }
}
