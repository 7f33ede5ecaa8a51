//! The Laplacian pyramid, and losses between images.

use burn::{prelude::*, tensor::TensorData};
use shortrun_model::product;

use super::{GloConfig, GloLoss};

/// The binomial filter of Burt and Adelson (1983), times 16.
const TAPS: [f64; 5] = [1.0, 4.0, 6.0, 4.0, 1.0];

/// A Laplacian pyramid of images of one size.
///
/// `G_0` is the image, `G_{j+1}` every second pixel of the blurred `G_j`, and the bands are
/// `L_j = G_j - expand(G_{j+1})`; the last is the smallest G itself. At the border the filter is cut
/// off and what is left of it scaled up, so that an even image stays even. Sides may be odd.
///
/// Both blurs are linear in rows and in columns, so each is a product with a matrix for either.
#[derive(Clone, Debug)]
pub struct Pyramid<B: Backend> {
    rungs: Vec<Rung<B>>,
}

/// From one size to the next and back.
#[derive(Clone, Debug)]
struct Rung<B: Backend> {
    /// For rows `[h, h']` and columns `[w, w']`.
    reduce: [Tensor<B, 2>; 2],
    /// For rows `[h', h]` and columns `[w', w]`.
    expand: [Tensor<B, 2>; 2],
}

impl<B: Backend> Pyramid<B> {
    /// A pyramid of `bands` bands and the smallest image; fewer if a side comes down to 1 pixel.
    pub fn new(height: usize, width: usize, bands: usize, device: &B::Device) -> Self {
        let (mut h, mut w) = (height, width);
        let mut rungs = Vec::new();
        while rungs.len() < bands && h.min(w) > 1 {
            rungs.push(Rung {
                reduce: [h, w].map(|size| reduce(size, device).transpose()),
                expand: [h, w].map(|size| expand(size, device).transpose()),
            });
            (h, w) = (h.div_ceil(2), w.div_ceil(2));
        }
        Self { rungs }
    }

    /// The bands of images `[n, c, h, w]`, finest first, and the smallest images.
    pub fn bands(&self, images: Tensor<B, 4>) -> Vec<Tensor<B, 4>> {
        let mut image = images;
        let mut bands = Vec::with_capacity(self.rungs.len() + 1);
        for rung in &self.rungs {
            let small = apply(&rung.reduce, image.clone());
            bands.push(image - apply(&rung.expand, small.clone()));
            image = small;
        }
        bands.push(image);
        bands
    }

    /// `sum_j 4^j |L_j(a) - L_j(b)|_1 / D` of each pair of images of D values: `[n]`. Each band
    /// counts about as much as the next, which has a quarter of its pixels.
    pub fn distance(&self, a: Tensor<B, 4>, b: Tensor<B, 4>) -> Tensor<B, 1> {
        let [n, c, h, w] = a.dims();
        let values = (c * h * w) as f64;
        let zero = Tensor::zeros([n], &a.device());
        // The pyramid is linear.
        let bands = self.bands(a - b).into_iter().enumerate();
        bands.fold(zero, |sum, (j, band)| {
            sum + sums(band.abs()) * (4_f64.powi(j as i32) / values)
        })
    }
}

/// A loss between images, as set.
#[derive(Clone, Debug)]
pub(super) enum ImageLoss<B: Backend> {
    Laplacian(Pyramid<B>),
    Squares,
}

impl<B: Backend> ImageLoss<B> {
    pub(super) fn new(settings: &GloConfig, [_, h, w]: [usize; 3], device: &B::Device) -> Self {
        match settings.loss {
            GloLoss::Laplacian => Self::Laplacian(Pyramid::new(h, w, settings.bands, device)),
            GloLoss::Squares => Self::Squares,
        }
    }

    /// The loss of each image per value, `[n]`.
    pub(super) fn of(&self, generated: Tensor<B, 4>, images: Tensor<B, 4>) -> Tensor<B, 1> {
        match self {
            Self::Laplacian(pyramid) => pyramid.distance(generated, images),
            Self::Squares => {
                let values = images.dims()[1..].iter().product::<usize>() as f64;
                sums((generated - images).square()) / values
            }
        }
    }
}

/// `[n, c, h, w]` to `[n]`
fn sums<B: Backend>(x: Tensor<B, 4>) -> Tensor<B, 1> {
    let x: Tensor<B, 2> = x.flatten(1, 3);
    x.sum_dim(1).squeeze_dim(1)
}

fn apply<B: Backend>([rows, columns]: &[Tensor<B, 2>; 2], x: Tensor<B, 4>) -> Tensor<B, 4> {
    let half = along_rows(x, columns).swap_dims(2, 3);
    along_rows(half, rows).swap_dims(2, 3)
}

/// Each row of each image times a matrix.
fn along_rows<B: Backend>(x: Tensor<B, 4>, by: &Tensor<B, 2>) -> Tensor<B, 4> {
    let [n, c, h, w] = x.dims();
    let [_, width] = by.dims();
    product(x.reshape([n * c * h, w]), by.clone()).reshape([n, c, h, width])
}

/// Blurs a row of `size` pixels and takes every second: `[size / 2, size]`, rounded up.
fn reduce<B: Backend>(size: usize, device: &B::Device) -> Tensor<B, 2> {
    weights(
        size.div_ceil(2),
        size,
        |small, large| (small, large),
        device,
    )
}

/// Spreads half as many pixels over a row of `size` and blurs: `[size, size / 2]`.
fn expand<B: Backend>(size: usize, device: &B::Device) -> Tensor<B, 2> {
    weights(
        size,
        size.div_ceil(2),
        |large, small| (small, large),
        device,
    )
}

/// The filter's weight between each pixel of the small row and of the large, every row scaled to
/// add up to 1; `order` says which of row and column is of the small.
fn weights<B: Backend>(
    rows: usize,
    columns: usize,
    order: impl Fn(usize, usize) -> (usize, usize),
    device: &B::Device,
) -> Tensor<B, 2> {
    let mut values = Vec::with_capacity(rows * columns);
    for row in 0..rows {
        let taps: Vec<f64> = (0..columns)
            .map(|column| {
                let (small, large) = order(row, column);
                TAPS.get((large + 2).wrapping_sub(2 * small))
                    .map_or(0.0, |tap| *tap)
            })
            .collect();
        let sum: f64 = taps.iter().sum();
        values.extend(taps.into_iter().map(|tap| (tap / sum) as f32));
    }
    Tensor::from_data(TensorData::new(values, [rows, columns]), device)
}
