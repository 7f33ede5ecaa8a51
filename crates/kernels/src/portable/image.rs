//! The end of the way down: the image, what it leaves unexplained, and the energy.

use cubecl::prelude::*;

use super::{cubes::cubes, sum::over_cube, tile::THREADS, values::Values};
use crate::Observed;

/// A batch of images at the end of the way down.
pub(super) struct Ending<'a> {
    pub(super) images: usize,
    /// Values of an image.
    pub(super) pixels: usize,
    /// Latent dimensions.
    pub(super) all: usize,
    pub(super) latents: &'a Values,
    /// The images before tanh.
    pub(super) before: &'a Values,
    /// The gradient there, without `1 / σ²`.
    pub(super) gradient: &'a Values,
    /// `[steps, images]`
    pub(super) energies: &'a Values,
    pub(super) step: usize,
    /// `[images]`: what each image's gradient counts for, times `factor`.
    pub(super) weights: Option<(&'a Values, f32)>,
}

impl Ending<'_> {
    /// Energies and the gradient before tanh.
    pub(super) fn run<R: Runtime>(&self, client: &ComputeClient<R>, observed: &Observed) {
        let values = |handle: &cubecl::server::Handle| {
            Values::new(handle.clone(), self.images * self.pixels)
        };
        let images = values(&observed.images);
        let mask = observed.mask.as_ref().map_or(images.clone(), values);
        let (weights, factor) = self.weights.unwrap_or((self.latents, 1.0));
        // SAFETY: all arrays have the sizes that the fields tell.
        unsafe {
            compare::launch_unchecked::<R>(
                client,
                CubeCount::Static(self.images as u32, 1, 1),
                CubeDim::new_1d(THREADS as u32),
                self.before.argument(),
                images.argument(),
                mask.argument(),
                self.latents.argument(),
                weights.argument(),
                self.gradient.argument(),
                self.energies.argument(),
                self.pixels,
                self.all,
                self.step * self.images,
                observed.precision,
                factor,
                observed.mask.is_some(),
                self.weights.is_some(),
                crate::SOURCES,
            );
        }
    }
}

#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn compare(
    before: &Array<f32>,
    images: &Array<f32>,
    mask: &Array<f32>,
    latents: &Array<f32>,
    weights: &Array<f32>,
    gradient: &mut Array<f32>,
    energies: &mut Array<f32>,
    pixels: usize,
    all: usize,
    to: usize,
    precision: f32,
    factor: f32,
    #[comptime] masked: bool,
    #[comptime] weighted: bool,
    #[comptime] _sources: u64,
) {
    let image = CUBE_POS_X as usize;
    let mut weight = 1.0f32;
    if comptime!(weighted) {
        weight = weights[image] * factor;
    }
    let mut squares = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < pixels {
        let place = image * pixels + i;
        let made = tanh_of(before[place]);
        let mut off = made - images[place];
        if comptime!(masked) {
            off *= mask[place];
        }
        squares += off * off;
        gradient[place] = off * (1.0f32 - made * made) * weight;
        i += THREADS;
    }
    squares *= precision;
    let mut i = UNIT_POS as usize;
    while i < all {
        let e = latents[image * all + i];
        squares += e * e;
        i += THREADS;
    }
    let energy = over_cube(squares);
    if UNIT_POS == 0 {
        energies[to + image] = 0.5f32 * energy;
    }
}

/// `tanh` of every value, in place.
pub(super) fn tanh<R: Runtime>(client: &ComputeClient<R>, values: &Values) {
    // SAFETY: threads beyond the length do nothing.
    unsafe {
        tanh_all::launch_unchecked::<R>(
            client,
            cubes(values.length, THREADS),
            CubeDim::new_1d(THREADS as u32),
            values.argument(),
            values.length,
            crate::SOURCES,
        );
    }
}

#[cube(launch_unchecked)]
fn tanh_all(values: &mut Array<f32>, count: usize, #[comptime] _sources: u64) {
    let i = ABSOLUTE_POS;
    if i < count {
        values[i] = tanh_of(values[i]);
    }
}

/// Some drivers' own tanh overflows for large values; and what is not a number must stay so.
#[cube]
fn tanh_of(x: f32) -> f32 {
    1.0f32 - 2.0f32 / (f32::exp(2.0f32 * x) + 1.0f32)
}
