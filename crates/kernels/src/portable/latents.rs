//! What happens to the latents of a layer: they become the layer's input on the way down, and take
//! their Langevin step at the end of the way back.

use cubecl::prelude::*;

use super::{cubes::cubes, values::Values};
use crate::{noise::normal, shape::Scale};

const THREADS: usize = 256;

/// The columns of a layer in the flat latents.
#[derive(Clone, Copy)]
pub(super) struct Columns {
    pub(super) images: usize,
    /// d of all layers, of this one, and where it begins.
    pub(super) all: usize,
    pub(super) size: usize,
    pub(super) begin: usize,
}

impl Columns {
    fn count(self) -> usize {
        self.images * self.size
    }
}

/// The latents of a layer given the layers above, `z = mu + sigma e`; all `[images, size]`.
pub(super) struct Given {
    pub(super) latent: Values,
    pub(super) scale: Values,
    /// `e` times the slope of sigma in what the scale head gave.
    pub(super) bend: Values,
    /// Gradients in the results of both heads, `[images, 2, size]`.
    pub(super) pull: Values,
}

impl Given {
    pub(super) fn empty<R: Runtime>(client: &ComputeClient<R>, columns: Columns) -> Self {
        let empty = || Values::empty(client, columns.count());
        Self {
            latent: empty(),
            scale: empty(),
            bend: empty(),
            pull: Values::empty(client, 2 * columns.count()),
        }
    }

    /// From the heads' sums `[part][2][images][size]` and their biases.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn down<R: Runtime>(
        &self,
        client: &ComputeClient<R>,
        columns: Columns,
        sums: &Values,
        parts: usize,
        parameters: &Values,
        biases: [usize; 2],
        latents: &Values,
        scale: Scale,
    ) {
        // SAFETY: all arrays have the sizes that the columns and parts tell.
        unsafe {
            draw::launch_unchecked::<R>(
                client,
                cubes(columns.count(), THREADS),
                CubeDim::new_1d(THREADS as u32),
                sums.argument(),
                parameters.argument(),
                latents.argument(),
                self.latent.argument(),
                self.scale.argument(),
                self.bend.argument(),
                columns.count(),
                columns.size,
                columns.all,
                columns.begin,
                parts,
                biases[0],
                biases[1],
                scale,
                crate::SOURCES,
            );
        }
    }
}

#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn draw(
    sums: &Array<f32>,
    parameters: &Array<f32>,
    latents: &Array<f32>,
    latent: &mut Array<f32>,
    scale: &mut Array<f32>,
    bend: &mut Array<f32>,
    count: usize,
    size: usize,
    all: usize,
    begin: usize,
    parts: usize,
    mean_bias: usize,
    scale_bias: usize,
    #[comptime] form: Scale,
    #[comptime] _sources: u64,
) {
    let i = ABSOLUTE_POS;
    if i < count {
        let column = i % size;
        let mut mean = parameters[mean_bias + column];
        let mut raw = parameters[scale_bias + column];
        for part in 0..parts {
            mean += sums[part * 2 * count + i];
            raw += sums[(part * 2 + 1) * count + i];
        }
        let noise = latents[i / size * all + begin + column];
        let (sigma, slope) = scale_with_slope(raw, form);
        latent[i] = mean + sigma * noise;
        scale[i] = sigma;
        bend[i] = noise * slope;
    }
}

/// The scale head's output as a standard deviation, and its slope.
#[cube]
fn scale_with_slope(raw: f32, #[comptime] form: Scale) -> (f32, f32) {
    // softplus, without overflow
    let soft = f32::max(raw, 0.0f32) + f32::ln(1.0f32 + f32::exp(-f32::abs(raw)));
    let logistic = 1.0f32 / (1.0f32 + f32::exp(-raw));
    let mut scale = soft + 1e-3f32;
    let mut slope = logistic;
    if comptime!(form == Scale::SoftplusLogVariance) {
        scale = f32::exp(f32::min(soft, 10.0f32) * 0.5f32);
        slope = scale * logistic * 0.5f32;
        if soft >= 10.0f32 {
            slope = 0.0f32;
        }
    }
    if comptime!(form == Scale::LogVariance) {
        scale = f32::exp(raw.clamp(-10.0f32, 10.0f32) * 0.5f32);
        slope = scale * 0.5f32;
        if f32::abs(raw) >= 10.0f32 {
            slope = 0.0f32;
        }
    }
    (scale, slope)
}

/// What the end of the way back does with the gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Then {
    /// Keeps it.
    Keep,
    /// A step down, without noise.
    Descend,
    /// A Langevin step with noise drawn here.
    Draw,
    /// The same with noise that is given.
    Take,
}

/// The end of the way back.
pub(super) struct Leave<'a> {
    pub(super) then: Then,
    pub(super) step: usize,
    /// `1 / σ²`, which the way back leaves out until here.
    pub(super) precision: f32,
    /// `[images, d]`
    pub(super) latents: &'a Values,
    pub(super) gradients: &'a Values,
    /// `[steps, images, d]`
    pub(super) noise: &'a Values,
    /// Counter and key of the noise, as far as they do not depend on the place.
    pub(super) stream: [u32; 4],
    /// `[steps, d, 2]`: drift and noise of each step and dimension.
    pub(super) sizes: &'a Values,
}

impl Leave<'_> {
    /// From the gradient in the layer's input, in sums `[part][images][size]`.
    pub(super) fn run<R: Runtime>(
        &self,
        client: &ComputeClient<R>,
        columns: Columns,
        sums: &Values,
        parts: usize,
        given: Option<&Given>,
    ) {
        let or = |values: Option<&Values>| values.unwrap_or(sums).argument();
        // SAFETY: as in `down`; arrays that stand in for others are not touched.
        unsafe {
            leave::launch_unchecked::<R>(
                client,
                cubes(columns.count(), THREADS),
                CubeDim::new_1d(THREADS as u32),
                sums.argument(),
                or(given.map(|given| &given.scale)),
                or(given.map(|given| &given.bend)),
                or(given.map(|given| &given.pull)),
                self.latents.argument(),
                self.gradients.argument(),
                self.noise.argument(),
                self.sizes.argument(),
                columns.count(),
                columns.size,
                columns.all,
                columns.begin,
                parts,
                columns.images * columns.all,
                self.step as u32,
                self.stream[0],
                self.stream[1],
                self.stream[2],
                self.stream[3],
                self.precision,
                given.is_some(),
                self.then,
                crate::SOURCES,
            );
        }
    }
}

#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn leave(
    sums: &Array<f32>,
    scale: &Array<f32>,
    bend: &Array<f32>,
    pull: &mut Array<f32>,
    latents: &mut Array<f32>,
    gradients: &mut Array<f32>,
    noise: &Array<f32>,
    sizes: &Array<f32>,
    count: usize,
    size: usize,
    all: usize,
    begin: usize,
    parts: usize,
    of_step: usize,
    step: u32,
    counter2: u32,
    counter3: u32,
    key0: u32,
    key1: u32,
    precision: f32,
    #[comptime] given: bool,
    #[comptime] then: Then,
    #[comptime] _sources: u64,
) {
    let i = ABSOLUTE_POS;
    if i < count {
        let image = i / size;
        let column = begin + i % size;
        let place = image * all + column;
        let mut pulled = 0.0f32;
        for part in 0..parts {
            pulled += sums[part * count + i];
        }
        let e = latents[place];
        let mut of_noise = pulled;
        if comptime!(given) {
            of_noise = pulled * scale[i];
            let to = image * 2 * size + i % size;
            pull[to] = pulled;
            pull[to + size] = pulled * bend[i];
        }
        let gradient = precision * of_noise + e;
        if comptime!(then == Then::Keep) {
            gradients[place] = gradient;
        } else {
            let of_size = (step as usize * all + column) * 2;
            let mut moved = e - sizes[of_size] * gradient;
            if comptime!(then == Then::Draw) {
                let n = normal(place as u32, step, counter2, counter3, key0, key1);
                moved += sizes[of_size + 1] * n;
            }
            if comptime!(then == Then::Take) {
                moved += sizes[of_size + 1] * noise[step as usize * of_step + place];
            }
            latents[place] = moved;
        }
    }
}
