//! What a runtime's kernels do for the built-in generator.

use cubecl::{prelude::*, server::Handle};

use crate::{NoiseStream, Shape};

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

/// Images, energies, gradients and chains of a generator of one shape on one device.
///
/// Arrays are row by row in float32; `images` is how many chains there are, `d` the latents' dimension.
pub trait GeneratorKernels: Send + Sync + 'static {
    /// Where the kernels run.
    type Runtime: Runtime;
    /// Weights in the kernels' layouts.
    type Packed: Clone + Send + Sync + 'static;

    /// The generator's shape.
    fn shape(&self) -> &Shape;

    /// Packs all weights: for each layer, top first, the projection's linear weight `[d, seeds * size²]` and
    /// bias, its transposed convolution `[seeds, features, 5, 5]`, and its block's two convolutions with
    /// biases; then for each layer but the top one the mean's and the scale's convolution and linear
    /// weight `[channels * (size - 4)², d]`, with biases; the refining blocks' convolutions with
    /// biases; of two doublings the first, `[features, features, 4, 4]` and its bias; the transposed
    /// convolution to the image `[features, channels, 4, 4]` and its bias.
    fn pack(&self, weights: &[Handle]) -> Self::Packed;

    /// The images `[images, channels, height, width]` of latents `[images, d]`.
    fn images(&self, packed: &Self::Packed, latents: Handle, images: usize) -> Handle;

    /// Energies `[images]` at latents `[images, d]`.
    fn energies(
        &self,
        packed: &Self::Packed,
        observed: &Observed,
        latents: Handle,
        images: usize,
    ) -> Handle;

    /// Energies `[images]` and their gradients `[images, d]` in the latents.
    fn gradient(
        &self,
        packed: &Self::Packed,
        observed: &Observed,
        latents: Handle,
        images: usize,
    ) -> (Handle, Handle);

    /// Runs a chain from `start` `[images, d]`: its end `[images, d]`, and the energies before each
    /// step `[steps, images]`. `sizes`: for each step and latent dimension drift `s` and `sqrt(2 s)`.
    fn chain(
        &self,
        packed: &Self::Packed,
        observed: &Observed,
        start: Handle,
        images: usize,
        sizes: &[f32],
        noise: &Noise,
    ) -> (Handle, Handle);

    /// The gradient in each of the weights, which are as [`pack`](Self::pack) takes them, of the sum of the
    /// images' energies at fixed `latents` `[images, d]`, each times its `factor` `[images]`. All are parts
    /// of one array.
    fn weight_gradients(
        &self,
        packed: &Self::Packed,
        observed: &Observed,
        latents: Handle,
        images: usize,
        factors: Handle,
    ) -> Vec<Handle>;
}
