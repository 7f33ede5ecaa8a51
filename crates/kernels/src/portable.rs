//! Langevin steps and weight gradients of the built-in generator on any GPU that CubeCL reaches:
//! through Vulkan, WebGPU, Metal.
//!
//! Every convolution and linear layer is one launch over the batch, with what follows it (bias, GELU
//! and its slope, sums, products) at its end; maps go through global memory in float32. Products run
//! by cooperative matrices of 16 bits with float32 sums where the driver has them, else in float32 (see
//! [`Operands`]). `docs/VULKAN.md` has the measurements.

mod conv;
mod cubes;
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
use crate::{GeneratorKernels, Noise, Observed, Shape, copy, shape::Parameters};

pub use self::{packed::Packed, tile::Operands};

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

    /// What the operands of products are.
    pub fn operands(&self) -> Operands {
        self.operands
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
            stream: [0; 4],
            sizes: passes.latents,
        });
        (energies, gradients)
    }
}

impl<R: Runtime> GeneratorKernels for Network<R> {
    type Runtime = R;
    type Packed = Packed;

    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn pack(&self, weights: &[Handle]) -> Packed {
        let layout = &self.places.layout;
        let joined = copy::put_together(&self.client, weights, layout);
        let parameters = Values::new(joined, layout.length);
        Packed::new(&self.client, &self.shape, &self.places, parameters)
    }

    fn images(&self, packed: &Packed, latents: Handle, images: usize) -> Handle {
        let latents = Values::new(latents, images * self.shape.dim());
        let passes = self.passes(packed, &latents, images);
        passes.down();
        image::tanh(&self.client, &passes.maps.image);
        passes.maps.image.handle
    }

    fn energies(
        &self,
        packed: &Packed,
        observed: &Observed,
        latents: Handle,
        images: usize,
    ) -> Handle {
        let latents = Values::new(latents, images * self.shape.dim());
        let passes = self.passes(packed, &latents, images);
        let energies = Values::empty(&self.client, images);
        passes.down();
        self.compare(&passes, observed, &energies, 0, None);
        energies.handle
    }

    fn gradient(
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

    fn chain(
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
        let start = copy::copy(&self.client, start, images * d);
        let latents = Values::new(start, images * d);
        let energies = Values::empty(&self.client, steps * images);
        let sizes = Values::new(
            self.client.create_from_slice(bytemuck::cast_slice(sizes)),
            sizes.len(),
        );
        let (then, noise, stream) = match noise {
            Noise::Off => (Then::Descend, latents.clone(), [0; 4]),
            Noise::Keyed(keyed) => (Then::Draw, latents.clone(), keyed.header()),
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
                stream,
                sizes: &sizes,
            });
        }
        (latents.handle, energies.handle)
    }

    fn weight_gradients(
        &self,
        packed: &Packed,
        observed: &Observed,
        latents: Handle,
        images: usize,
        factors: Handle,
    ) -> Vec<Handle> {
        let latents = Values::new(latents, images * self.shape.dim());
        let passes = self.passes(packed, &latents, images);
        let factors = Values::new(factors, images);
        // Of a mean, the factors are 1 / images: operands of 16 bits would lose digits.
        let scale = images as f32;
        self.once(&passes, observed, Some((&factors, scale)));
        let gradients = passes.weight_gradients(observed.precision / scale);
        self.places.layout.views(&gradients.handle)
    }
}
