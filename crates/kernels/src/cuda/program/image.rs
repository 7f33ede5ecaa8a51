//! The image: how far it is from the observed one, its gradient, and the energy.

use cubecl::{cmma::MmaDefinition, ir::MatrixIdent, prelude::*};

use super::super::{
    conv::SIDE,
    lanes::{Accumulators, V8, pairs, whole},
    narrow::NARROW_PITCH,
    op,
};

/// From a value of the image before tanh to its gradient there; adds to the squared residuals. `o`: its
/// place in the images.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn pixel(
    before: f32,
    o: usize,
    images: &Array<f32>,
    mask: &Array<f32>,
    gradients: &mut Array<f32>,
    squares: &mut Array<f32>,
    masked: u32,
    mode: u32,
    weight: f32,
) -> f32 {
    let value = 1.0f32 - 2.0f32 / (f32::exp(2.0f32 * before) + 1.0f32);
    if mode == op::IMAGES {
        gradients[o] = value;
    }
    let mut residual = value - images[o];
    if masked != 0 {
        residual *= mask[o];
    }
    squares[0] += residual * residual;
    residual * weight * (1.0f32 - value * value)
}

/// From a warp's two rows of sums (columns: the two by two pixels that a pixel becomes, of up to four
/// channels) to the gradient there, in the narrow tile.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn image_gradient<E: Float>(
    def: &MmaDefinition<E, E, f32>,
    to_image: &Accumulators,
    narrow: &mut SharedMemory<V8<E>>,
    bias: &Array<f32>,
    store: &mut Array<V8<E>>,
    images: &Array<f32>,
    mask: &Array<f32>,
    gradients: &mut Array<f32>,
    squares: &mut Array<f32>,
    program: &SharedMemory<u32>,
    control: &Array<u32>,
    at: usize,
    image: usize,
    mode: u32,
    weight: f32,
    warp: usize,
    lane: usize,
) {
    let size = control[op::SIZE] as usize;
    let channels = control[op::CHANNELS] as usize;
    let masked = control[op::MASKED];
    let bias_at = program[at + op::BIAS] as usize;
    #[unroll]
    for i in 0..2usize {
        let y = warp * 2 + i;
        let mut v = Array::<f32>::new(8usize);
        #[unroll]
        for h in 0..2usize {
            let a = to_image.index(comptime!(i * 2 + h));
            #[unroll]
            for q in 0..2usize {
                let pair = a[q];
                let x = lane / 4 + comptime!(q * 8);
                #[unroll]
                for e in 0..2usize {
                    // Column 8 a + 4 b + c: channel c of pixel (2 y + a, 2 x + b).
                    let c = (lane % 2) * 2 + e;
                    let b = (lane % 4) / 2;
                    let mut gradient = 0.0f32;
                    if c < channels && x < size && y < size {
                        let o =
                            ((image * channels + c) * size * 2 + y * 2 + h) * size * 2 + x * 2 + b;
                        gradient = pixel(
                            pair[e] + bias[bias_at + c],
                            o,
                            images,
                            mask,
                            gradients,
                            squares,
                            masked,
                            mode,
                            weight,
                        );
                    }
                    v[comptime!(h * 4 + q * 2 + e)] = gradient;
                }
            }
        }
        if program[at + op::FLAGS] & op::KEEPS != 0 {
            let to = program[at + op::IMAGE_TO] as usize + image * comptime!(16 * 32);
            store[to + y * 32 + lane] = whole::<E>(&v, 0usize);
        }
        let out = pairs::<E>(&v, 0usize);
        let o = ((y + 1) * SIDE + lane % 16 + 1) * NARROW_PITCH + lane / 16;
        def.store_matrix(
            &mut narrow.slice_mut(o, o + 1),
            &out,
            MatrixIdent::Accumulator,
            4usize,
            false,
        );
    }
}

/// The energy from every thread's squared residuals and from the latents. Passes a barrier.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn write_energy(
    squares: f32,
    latents: &Array<f32>,
    energies: &mut Array<f32>,
    sums: &mut SharedMemory<f32>,
    dim: usize,
    image: usize,
    step: u32,
    precision: f32,
    #[comptime] threads: usize,
) {
    let mut local = squares * precision;
    let mut j = UNIT_POS as usize;
    while j < dim {
        let e = latents[image * dim + j];
        local += e * e;
        j += threads;
    }
    let total = plane_sum(local);
    if UNIT_POS_PLANE == 0 {
        sums[UNIT_POS as usize / 32] = total;
    }
    sync_cube();
    if UNIT_POS == 0 {
        let mut energy = 0.0f32;
        #[unroll]
        for w in 0..8usize {
            energy += sums[w];
        }
        energies[step as usize * CUBE_COUNT + image] = energy * 0.5f32;
    }
}
