//! Langevin steps and weight gradients of the built-in generator on any GPU that CubeCL reaches:
//! through Vulkan, WebGPU, Metal.
//!
//! Every convolution and linear layer is one launch over the batch, with what follows it (bias, GELU
//! and its slope, sums, products) at its end; maps go through global memory in float32. Products run
//! by cooperative matrices of 16 bits with float32 sums where the driver has them, else in float32 (see
//! [`Operands`]). `docs/VULKAN.md` has the measurements.

mod conv;
mod gelu;
mod image;
mod latents;
mod learning;
mod maps;
mod packed;
mod passes;
mod repack;
mod sum;
mod tile;
mod values;
mod weight_gradient;

use cubecl::{prelude::*, server::Handle};

use self::{
    image::Ending,
    latents::{Leave, Then},
    maps::Maps,
    passes::Passes,
    values::Values,
};
use crate::{NoiseStream, Shape, shape::Parameters};

pub use self::{packed::Packed, tile::Operands};

/// Where the noise of a chain comes from.
#[derive(Clone, Debug)]
pub enum Noise {
    /// None: gradient descent.
    Off,
    /// Drawn on the GPU, step k from the stream's step k.
    Keyed(NoiseStream),
    /// As given, `[steps, images, d]`.
    Given(Handle),
}

/// What the generator has to explain; all row by row in float32.
#[derive(Clone, Debug)]
pub struct Observed {
    /// `[images, channels, height, width]`
    pub images: Handle,
    /// 1 where a pixel was seen, 0 elsewhere; of the images' shape.
    pub mask: Option<Handle>,
    /// `1 / σ²`
    pub precision: f32,
}

/// A generator's shape, ready for its GPU.
pub struct Network<R: Runtime> {
    client: ComputeClient<R>,
    operands: Operands,
    shape: Shape,
    places: Parameters,
}

impl<R: Runtime> Network<R> {
    /// A generator of any sizes, with the given operands of its products.
    pub fn new(client: ComputeClient<R>, shape: Shape, operands: Operands) -> Self {
        Self {
            client,
            operands,
            places: shape.parameters(),
            shape,
        }
    }

    /// The shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// What the operands of products are.
    pub fn operands(&self) -> Operands {
        self.operands
    }

    /// Packs `parameters`, all weights end to end in float32 (see [`Shape::parameter_count`]): for
    /// each layer, top first, the projection's linear weight `[d, seeds * size²]` and bias, its
    /// transposed convolution `[seeds, features, 5, 5]`, and its block's two convolutions with
    /// biases; then for each layer but the top one the mean's and the scale's convolution and linear
    /// weight `[channels * (size - 4)², d]`, with biases; the refining blocks' convolutions with
    /// biases; of two doublings the first, `[features, features, 4, 4]` and its bias; the transposed
    /// convolution to the image `[features, channels, 4, 4]` and its bias.
    pub fn pack(&self, parameters: Handle) -> Packed {
        let parameters = Values::new(parameters, self.places.count);
        Packed::new(&self.client, &self.shape, &self.places, parameters)
    }

    /// Runs a chain from `start` `[images, d]`: its end `[images, d]`, and the energies before each
    /// step `[steps, images]`. `sizes`: for each step and latent dimension drift `s` and `sqrt(2 s)`.
    pub fn chain(
        &self,
        packed: &Packed,
        observed: &Observed,
        start: Handle,
        images: usize,
        sizes: &[f32],
        noise: &Noise,
    ) -> (Handle, Handle) {
        let d = self.shape.dim();
        let steps = sizes.len() / (2 * d);
        let latents = image::copy(&self.client, &Values::new(start, images * d));
        let energies = Values::empty(&self.client, steps * images);
        let sizes = Values::new(
            self.client.create_from_slice(bytemuck::cast_slice(sizes)),
            sizes.len(),
        );
        let (then, noise, key) = match noise {
            Noise::Off => (Then::Descend, latents.clone(), [0; 4]),
            Noise::Keyed(stream) => (Then::Draw, latents.clone(), stream.header()),
            Noise::Given(noise) => (
                Then::Take,
                Values::new(noise.clone(), steps * images * d),
                [0; 4],
            ),
        };
        let passes = self.passes(packed, &latents, images);
        for step in 0..steps {
            passes.down();
            self.compare(&passes, observed, &energies, step, None);
            passes.up(&Leave {
                then,
                step,
                precision: observed.precision,
                latents: &latents,
                gradients: &latents,
                noise: &noise,
                key,
                sizes: &sizes,
            });
        }
        (latents.handle, energies.handle)
    }

    /// Energies `[images]` and their gradients `[images, d]` in the latents.
    pub fn gradient(
        &self,
        packed: &Packed,
        observed: &Observed,
        latents: Handle,
        images: usize,
    ) -> (Handle, Handle) {
        let latents = Values::new(latents, images * self.shape.dim());
        let passes = self.passes(packed, &latents, images);
        let (energies, gradients) = self.once(&passes, observed, None);
        (energies.handle, gradients.handle)
    }

    /// The images `[images, channels, height, width]` of latents `[images, d]`.
    pub fn images(&self, packed: &Packed, latents: Handle, images: usize) -> Handle {
        let latents = Values::new(latents, images * self.shape.dim());
        let passes = self.passes(packed, &latents, images);
        passes.down();
        image::tanh(&self.client, &passes.maps.image);
        passes.maps.image.handle
    }

    /// The gradient in all weights, end to end as [`pack`](Self::pack) takes them, of the sum of the
    /// images' energies at fixed `latents` `[images, d]`, each times its part of `weights` `[images]`.
    pub fn weight_gradient(
        &self,
        packed: &Packed,
        observed: &Observed,
        latents: Handle,
        images: usize,
        weights: Handle,
    ) -> Handle {
        let latents = Values::new(latents, images * self.shape.dim());
        let passes = self.passes(packed, &latents, images);
        let weights = Values::new(weights, images);
        // Of a mean, the weights are 1 / images: operands of 16 bits would lose digits.
        let scale = images as f32;
        self.once(&passes, observed, Some((&weights, scale)));
        passes.weight_gradients(observed.precision / scale).handle
    }

    fn passes<'a>(
        &'a self,
        packed: &'a Packed,
        latents: &'a Values,
        images: usize,
    ) -> Passes<'a, R> {
        Passes {
            client: &self.client,
            operands: self.operands,
            shape: &self.shape,
            places: &self.places,
            packed,
            images,
            maps: Maps::empty(&self.client, &self.shape, images),
            latents,
        }
    }

    fn compare(
        &self,
        passes: &Passes<'_, R>,
        observed: &Observed,
        energies: &Values,
        step: usize,
        weights: Option<(&Values, f32)>,
    ) {
        let ending = Ending {
            images: passes.images,
            pixels: self.shape.image_values(),
            all: self.shape.dim(),
            latents: passes.latents,
            before: &passes.maps.image,
            gradient: &passes.maps.pulled_image,
            energies,
            step,
            weights,
        };
        ending.run(&self.client, observed);
    }

    /// Down and up: energies and gradients.
    fn once(
        &self,
        passes: &Passes<'_, R>,
        observed: &Observed,
        weights: Option<(&Values, f32)>,
    ) -> (Values, Values) {
        let energies = Values::empty(&self.client, passes.images);
        let gradients = Values::empty(&self.client, passes.latents.length);
        passes.down();
        self.compare(passes, observed, &energies, 0, weights);
        passes.up(&Leave {
            then: Then::Keep,
            step: 0,
            precision: observed.precision,
            latents: passes.latents,
            gradients: &gradients,
            noise: passes.latents,
            key: [0; 4],
            sizes: passes.latents,
        });
        (energies, gradients)
    }
}
