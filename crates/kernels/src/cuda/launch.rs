//! The launches of a step, and of the gradients of the weights.

use cubecl::{cuda::CudaRuntime, prelude::*, server::Handle};

use super::{
    Bench, Network, Packed, Planned, Uploaded,
    conv::WARPS,
    linear::{self, BACK_WARPS, IMAGES},
    op,
    plan::{Launch, Program},
    program,
    weights::{
        self,
        linear::{LATENTS, MAP_VECTORS, OUTPUTS, SEEDS, head_weights, seed_weights},
    },
};
use crate::Observed;

impl Network {
    /// From the latents to images and energies.
    pub(super) fn launch_forward_only(
        &self,
        packed: &Packed,
        observed: &Observed,
        bench: &Bench,
        mode: u32,
    ) {
        let plan = &bench.planned.plan;
        for launches in [&plan.start, &plan.forward] {
            self.launch_all(packed, observed, bench, launches, 0, mode);
        }
    }

    pub(super) fn launch_all(
        &self,
        packed: &Packed,
        observed: &Observed,
        bench: &Bench,
        launches: &[Launch],
        step: usize,
        mode: u32,
    ) {
        for launch in launches {
            match launch {
                Launch::Images(program) => {
                    self.launch_images(packed, observed, bench, program, step, mode);
                }
                Launch::HeadsForward(layer) => self.launch_forward(packed, bench, *layer),
                Launch::HeadsBack(layer) => self.launch_back(packed, bench, *layer),
            }
        }
    }

    pub(super) fn launch_images(
        &self,
        packed: &Packed,
        observed: &Observed,
        bench: &Bench,
        program: &Program,
        step: usize,
        mode: u32,
    ) {
        let plan = &bench.planned.plan;
        let dim = self.shape.dim();
        let numbers = |handle: &Handle, length: usize| {
            // SAFETY: callers name the length the handle was made with.
            unsafe { ArrayArg::from_raw_parts(handle.clone(), length) }
        };
        let weights = |kernel: usize| {
            // SAFETY: as above.
            let tensor = unsafe {
                TensorArg::from_raw_parts(
                    packed.ring.clone(),
                    [256, 1].into(),
                    [packed.rows, 256].into(),
                )
            };
            TensorMapArg::new(
                TiledArgs {
                    tile_size: [kernel * 4, 256].into(),
                },
                tensor,
                self.operands.storage(),
            )
        };
        let images = bench.batch * self.shape.image_values();
        let latents = bench.batch * dim;
        // SAFETY: the plan was made for this shape and batch; every place in its program lies within
        // the arrays.
        unsafe {
            program::run_program::launch_unchecked::<CudaRuntime>(
                &self.client,
                CubeCount::Static(bench.batch as u32, 1, 1),
                CubeDim::new_1d(32 * WARPS),
                weights(5),
                weights(3),
                numbers(&packed.direct, packed.direct_vectors),
                numbers(&packed.bias, packed.biases),
                numbers(&bench.store, plan.store),
                numbers(&bench.state, plan.state),
                numbers(&bench.latents, latents),
                numbers(&bench.pull, plan.pull),
                numbers(&observed.images, images),
                numbers(observed.mask.as_ref().unwrap_or(&observed.images), images),
                numbers(&bench.noise, latents),
                numbers(&bench.steps, dim * 2),
                numbers(&bench.energies, bench.batch),
                numbers(&bench.gradients, latents),
                numbers(&bench.planned.program, plan.program.len()),
                numbers(&bench.control, 8),
                program.begin,
                program.end,
                program.first[0],
                program.first[1],
                step as u32,
                mode,
                observed.precision,
                program.wide,
                self.operands.storage(),
                crate::SOURCES,
            );
        }
    }

    fn launch_forward(&self, packed: &Packed, bench: &Bench, layer: usize) {
        let plan = &bench.planned.plan;
        let of = &plan.linears[layer];
        let tiles = bench.batch.div_ceil(IMAGES) as u32;
        // SAFETY: as in `launch_images`.
        unsafe {
            linear::heads_forward::launch_unchecked::<CudaRuntime>(
                &self.client,
                CubeCount::Static(tiles, of.outputs / 16, of.parts),
                CubeDim::new_1d(32 * WARPS),
                ArrayArg::from_raw_parts(bench.store.clone(), plan.store),
                ArrayArg::from_raw_parts(packed.direct.clone(), packed.direct_vectors),
                ArrayArg::from_raw_parts(bench.state.clone(), plan.state),
                of.maps_at,
                of.stride,
                of.forward_weights,
                of.parts_at,
                bench.batch as u32,
                of.head_blocks,
                of.outputs,
                self.operands.storage(),
                crate::SOURCES,
            );
        }
    }

    fn launch_back(&self, packed: &Packed, bench: &Bench, layer: usize) {
        let plan = &bench.planned.plan;
        let of = &plan.linears[layer];
        let tiles = bench.batch.div_ceil(IMAGES) as u32;
        // SAFETY: as in `launch_images`.
        unsafe {
            linear::heads_back::launch_unchecked::<CudaRuntime>(
                &self.client,
                CubeCount::Static(tiles, of.map_blocks / BACK_WARPS, 1),
                CubeDim::new_1d(32 * BACK_WARPS),
                ArrayArg::from_raw_parts(bench.pull.clone(), plan.pull / 8),
                ArrayArg::from_raw_parts(packed.direct.clone(), packed.direct_vectors),
                ArrayArg::from_raw_parts(bench.store.clone(), plan.store),
                of.pull_at / 8,
                of.slopes_at,
                of.gradients_at,
                of.stride,
                of.back_weights,
                bench.batch as u32,
                of.outputs / 32,
                of.head_blocks,
                self.operands.storage(),
                crate::SOURCES,
            );
        }
    }

    /// After a step that kept what it needs: all gradients, laid out as the weights.
    pub(super) fn launch_weights(&self, bench: &Bench, uploaded: &Uploaded) -> Handle {
        let Planned { plan, .. } = &*bench.planned;
        let Uploaded { learning, .. } = uploaded;
        let (Some(kept), client) = (&plan.kept, &self.client) else {
            unreachable!("a plan that keeps")
        };
        let images = bench.batch as u32;
        let threads = CubeDim::new_1d(32 * WARPS);
        let sums = client.empty(learning.sums * 4);
        let count = self.layout.length;
        let result = client.empty(count * 4);
        let words = |handle: &Handle, length: usize| {
            // SAFETY: callers name the length the handle was made with.
            unsafe { ArrayArg::from_raw_parts(handle.clone(), length) }
        };
        let store = || words(&bench.store, plan.store);
        let state = || words(&bench.state, plan.state);
        let pull = || words(&bench.pull, plan.pull / 8);
        let sum = || words(&sums, learning.sums);
        let cubes = |x: usize, y: usize, z: usize| CubeCount::Static(x as u32, y as u32, z as u32);
        let (blocks, stride) = (self.shape.blocks() as u32, images * op::MAP as u32);
        let [up_sums, output_sums] = learning.block_sums();
        let narrow = |wide_at: u32, narrow_at: u32, [to, bias_to]: [u32; 2], seeds: bool| {
            // SAFETY: the places were made for this plan, and lie within its arrays.
            unsafe {
                weights::narrow_weights::launch_unchecked::<CudaRuntime>(
                    client,
                    cubes(learning.narrow_groups, 1, 1),
                    threads,
                    store(),
                    state(),
                    sum(),
                    wide_at,
                    narrow_at,
                    to,
                    bias_to,
                    images,
                    seeds,
                    self.operands.storage(),
                    crate::SOURCES,
                );
            }
        };
        // SAFETY: as above.
        unsafe {
            for (conv, jobs, ks) in [
                (&learning.conv5, &uploaded.jobs5, 5),
                (&learning.conv3, &uploaded.jobs3, 3),
            ] {
                weights::convolution_weights::launch_unchecked::<CudaRuntime>(
                    client,
                    cubes(ks, conv.count(), conv.groups),
                    threads,
                    store(),
                    words(jobs, conv.jobs.len()),
                    sum(),
                    conv.to,
                    conv.bias_to,
                    images,
                    ks,
                    self.operands.storage(),
                    crate::SOURCES,
                );
            }
            for (layer, [deconv, linear, bias]) in learning.projections.iter().enumerate() {
                let padded = self.shape.latents[layer].next_multiple_of(32);
                for block in 0..blocks {
                    narrow(
                        kept.projection[layer] + block * stride,
                        kept.seeds[layer],
                        [*deconv + block * up_sums as u32, 0],
                        true,
                    );
                }
                seed_weights::launch_unchecked::<CudaRuntime>(
                    client,
                    cubes(1024 / SEEDS, padded / LATENTS, 1),
                    threads,
                    state(),
                    sum(),
                    kept.latents[layer],
                    padded as u32,
                    kept.seed_gradients[layer],
                    *linear,
                    *bias,
                    images,
                    crate::SOURCES,
                );
            }
            if let (None, Some(features)) = (&kept.planes, kept.features.last()) {
                let [to, bias_to] = learning.output;
                for block in 0..blocks {
                    let sums = [
                        to + block * output_sums as u32,
                        bias_to + block * learning.narrow_groups as u32 * 16,
                    ];
                    narrow(*features + block * stride, kept.image, sums, false);
                }
            }
            for (of, [linear, bias]) in plan.linears.iter().zip(&learning.heads) {
                head_weights::launch_unchecked::<CudaRuntime>(
                    client,
                    cubes(
                        of.stride as usize / MAP_VECTORS,
                        of.outputs as usize / OUTPUTS,
                        1,
                    ),
                    threads,
                    store(),
                    pull(),
                    sum(),
                    of.maps_at,
                    of.stride,
                    of.head_blocks * 4,
                    of.pull_at,
                    of.outputs,
                    *linear,
                    *bias,
                    images,
                    self.operands.storage(),
                    crate::SOURCES,
                );
            }
            weights::collect::launch_unchecked::<CudaRuntime>(
                client,
                cubes(count.div_ceil(256), 1, 1),
                threads,
                sum(),
                words(&uploaded.places, count),
                words(&uploaded.kinds, count),
                words(&uploaded.parts, learning.parts.len()),
                words(&uploaded.several, learning.several.len()),
                words(&result, count),
                count as u32,
                crate::SOURCES,
            );
        }
        result
    }
}
