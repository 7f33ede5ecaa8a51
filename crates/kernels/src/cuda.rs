//! Langevin steps of the built-in generator on NVIDIA GPUs.
//!
//! Operands are bf16, sums float32; latents, noise, step and energies stay float32. A cube works on
//! one image and keeps its feature maps in shared memory from convolution to convolution; only what
//! the way back needs (GELU's slopes) and what the heads' linear layers multiply goes through global
//! memory. `docs/GPU.md` has the measurements.

mod conv;
mod gather;
mod learn;
mod linear;
mod narrow;
mod op;
mod pack;
mod plan;
mod program;
pub mod tensors;
mod weights;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use cubecl::{cuda::CudaRuntime, prelude::*, server::Handle};
use half::bf16;

use crate::{noise, shape};

use self::{
    conv::WARPS,
    learn::Learning,
    linear::IMAGES,
    plan::{Launch, Plan, Program, Weights},
};

pub use crate::{AdamStep, NoiseStream, Scale, Shape, adam, gradient_sums};

type Client = ComputeClient<CudaRuntime>;

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
pub struct Network {
    client: Client,
    shape: Shape,
    weights: Weights,
    /// Sources of the packed weights: for the ring, for direct reads, and biases.
    tables: [(Handle, usize); 3],
    /// By batch size, and whether for the gradients of the weights.
    plans: Mutex<HashMap<(usize, bool), Arc<Planned>>>,
}

/// A plan and what the GPU has of it.
struct Planned {
    plan: Plan,
    program: Handle,
    learning: Option<Uploaded>,
}

/// The gradients of the weights.
struct Uploaded {
    learning: Learning,
    jobs5: Handle,
    jobs3: Handle,
    places: Handle,
    kinds: Handle,
    parts: Handle,
}

/// A generator's weights in the kernels' layouts.
#[derive(Clone, Debug)]
pub struct Packed {
    ring: Handle,
    rows: usize,
    direct: Handle,
    direct_vectors: usize,
    bias: Handle,
    biases: usize,
}

/// Memory for a batch, and what does not change along a chain.
struct Bench {
    batch: usize,
    planned: Arc<Planned>,
    store: Handle,
    state: Handle,
    pull: Handle,
    latents: Handle,
    noise: Handle,
    steps: Handle,
    energies: Handle,
    gradients: Handle,
    control: Handle,
}

impl Network {
    /// The tables for a shape that has passed [`Shape::check`].
    pub fn new(client: Client, shape: Shape) -> Self {
        let (weights, tables) = {
            let (weights, packing) = Weights::pack(&shape);
            let upload = |table: Vec<u32>| {
                let length = table.len();
                (
                    client.create_from_slice(bytemuck::cast_slice(&table)),
                    length,
                )
            };
            let tables = [packing.ring, packing.direct, packing.bias].map(upload);
            (weights, tables)
        };
        Self {
            client,
            shape,
            weights,
            tables,
            plans: Mutex::default(),
        }
    }

    /// The shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Packs `parameters`, all weights end to end in float32 (see [`Shape::parameter_count`]): for
    /// each layer, top first, the projection's linear weight `[d, seeds * size²]` and bias, its
    /// transposed convolution `[seeds, features, 5, 5]`, and its block's two convolutions with
    /// biases; then for each layer but the top one the mean's and the scale's convolution and linear
    /// weight `[channels * (size - 4)², d]`, with biases; the refining blocks' convolutions with
    /// biases; the transposed convolution to the image `[features, channels, 4, 4]` and its bias.
    pub fn pack(&self, parameters: Handle) -> Packed {
        let count = self.shape.parameter_count();
        let gather = |(table, length): &(Handle, usize), bytes: usize| {
            let to = self.client.empty(length * bytes);
            // SAFETY: places in the table are below `count`, and `to` has `length` values.
            unsafe {
                let arguments = (
                    ArrayArg::from_raw_parts(parameters.clone(), count),
                    ArrayArg::from_raw_parts(table.clone(), *length),
                    ArrayArg::from_raw_parts(to.clone(), *length),
                );
                let cubes = CubeCount::Static(length.div_ceil(256) as u32, 1, 1);
                let threads = CubeDim::new_1d(256);
                let (a, b, c) = arguments;
                if bytes == 4 {
                    gather::gather::launch_unchecked::<f32, CudaRuntime>(
                        &self.client,
                        cubes,
                        threads,
                        a,
                        b,
                        c,
                        *length as u32,
                    );
                } else {
                    gather::gather::launch_unchecked::<bf16, CudaRuntime>(
                        &self.client,
                        cubes,
                        threads,
                        a,
                        b,
                        c,
                        *length as u32,
                    );
                }
            }
            to
        };
        let [ring, direct, bias] = &self.tables;
        Packed {
            ring: gather(ring, 2),
            rows: ring.1 / 256,
            direct: gather(direct, 2),
            direct_vectors: direct.1 / 8,
            bias: gather(bias, 4),
            biases: bias.1,
        }
    }

    /// As [`pack`](Self::pack), from the weights one tensor after the other, each with its number of
    /// values.
    pub fn pack_parts(&self, parts: &[(Handle, usize)]) -> Packed {
        self.pack(gather::join(&self.client, parts))
    }

    /// Runs a chain from `start` `[images, d]`: its end `[images, d]`, and the energies before each
    /// step `[steps, images]`. `sizes`: for each step and latent dimension drift `s` and `sqrt(2 s)`.
    pub fn chain(
        &self,
        packed: &Packed,
        observed: &Observed,
        start: Handle,
        batch: usize,
        sizes: &[f32],
        noise: &Noise,
    ) -> (Handle, Handle) {
        let steps = sizes.len() / (2 * self.shape.dim());
        let bench = self.bench(observed, start, batch, sizes, noise, steps, false);
        let mode = match noise {
            Noise::Off => op::NO_NOISE,
            Noise::Keyed(_) => op::KEYED_NOISE,
            Noise::Given(_) => op::GIVEN_NOISE,
        };
        let plan = &bench.planned.plan;
        self.launch_all(packed, observed, &bench, &plan.start, 0, mode);
        for step in 0..steps {
            self.launch_all(packed, observed, &bench, &plan.step, step, mode);
            let end = if step + 1 < steps {
                &plan.last_and_first
            } else {
                &plan.last
            };
            self.launch_images(packed, observed, &bench, end, step, mode);
        }
        (bench.latents, bench.energies)
    }

    /// Energies `[images]` and their gradients `[images, d]` in the latents.
    pub fn gradient(
        &self,
        packed: &Packed,
        observed: &Observed,
        latents: Handle,
        batch: usize,
    ) -> (Handle, Handle) {
        let mode = op::KEEP_GRADIENT;
        let bench = self.bench(observed, latents, batch, &[0.0; 2], &Noise::Off, 1, false);
        let plan = &bench.planned.plan;
        self.launch_all(packed, observed, &bench, &plan.start, 0, mode);
        self.launch_all(packed, observed, &bench, &plan.step, 0, mode);
        self.launch_images(packed, observed, &bench, &plan.last, 0, mode);
        (bench.energies, bench.gradients)
    }

    /// The images `[images, channels, height, width]` of latents `[images, d]`.
    pub fn images(&self, packed: &Packed, latents: Handle, batch: usize) -> Handle {
        let pixels = self.shape.image_channels * self.shape.size * self.shape.size * 4;
        let observed = Observed {
            images: self.client.create_from_slice(&vec![0; batch * pixels * 4]),
            mask: None,
            precision: 1.0,
        };
        let mode = op::IMAGES;
        let mut bench = self.bench(&observed, latents, batch, &[0.0; 2], &Noise::Off, 1, false);
        bench.gradients = self.client.empty(batch * pixels * 4);
        let plan = &bench.planned.plan;
        self.launch_all(packed, &observed, &bench, &plan.start, 0, mode);
        // What comes after the image is the way back.
        let forward = plan.step.iter().take_while(|launch| match launch {
            Launch::HeadsBack(_) => false,
            Launch::Images(_) | Launch::HeadsForward(_) => true,
        });
        for launch in forward {
            self.launch_all(
                packed,
                &observed,
                &bench,
                std::slice::from_ref(launch),
                0,
                mode,
            );
        }
        if plan.step.is_empty() {
            self.launch_images(packed, &observed, &bench, &plan.last, 0, mode);
        }
        bench.gradients
    }

    /// Launches of one step.
    pub fn launches(&self, batch: usize) -> usize {
        self.plan(batch, false).plan.step.len() + 1
    }

    /// The gradient in all weights, end to end as [`pack`](Self::pack) takes them, of the sum of the
    /// images' energies at fixed `latents` `[images, d]`, each times its part of `weights` `[images]`.
    pub fn weight_gradient(
        &self,
        packed: &Packed,
        observed: &Observed,
        latents: Handle,
        batch: usize,
        weights: Handle,
    ) -> Handle {
        let mode = op::WEIGHTED;
        let noise = Noise::Given(weights);
        let bench = self.bench(observed, latents, batch, &[0.0; 2], &noise, 1, true);
        let plan = &bench.planned.plan;
        self.launch_all(packed, observed, &bench, &plan.start, 0, mode);
        self.launch_all(packed, observed, &bench, &plan.step, 0, mode);
        self.launch_images(packed, observed, &bench, &plan.last, 0, mode);
        match &bench.planned.learning {
            Some(learning) => self.launch_weights(&bench, learning),
            None => unreachable!("a plan that keeps"),
        }
    }

    fn plan(&self, batch: usize, keep: bool) -> Arc<Planned> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let hardware = &self.client.properties().hardware;
            let multiprocessors = hardware.num_streaming_multiprocessors.unwrap_or(1) as usize;
            let plan = Plan::new(&self.shape, &self.weights, batch, multiprocessors, keep);
            let learning = Learning::new(&self.shape, &plan, batch, multiprocessors);
            Arc::new(Planned {
                program: self.upload(&plan.program),
                learning: learning.map(|learning| Uploaded {
                    jobs5: self.upload(&learning.conv5.jobs),
                    jobs3: self.upload(&learning.conv3.jobs),
                    places: self.upload(&learning.places),
                    kinds: self.upload(&learning.kinds),
                    parts: self.upload(&learning.parts),
                    learning,
                }),
                plan,
            })
        };
        plans.entry((batch, keep)).or_insert_with(make).clone()
    }

    fn upload<T: bytemuck::Pod>(&self, values: &[T]) -> Handle {
        self.client.create_from_slice(bytemuck::cast_slice(values))
    }

    #[allow(clippy::too_many_arguments)]
    fn bench(
        &self,
        observed: &Observed,
        latents: Handle,
        batch: usize,
        sizes: &[f32],
        noise: &Noise,
        steps: usize,
        keep: bool,
    ) -> Bench {
        let planned = self.plan(batch, keep);
        let plan = &planned.plan;
        let dim = self.shape.dim();
        let header = match noise {
            Noise::Keyed(stream) => stream.header(),
            _ => [0; 4],
        };
        let mut control = vec![
            self.shape.size as u32,
            self.shape.image_channels as u32,
            dim as u32,
            u32::from(observed.mask.is_some()),
        ];
        control.extend(header);
        let start = self.client.empty(batch * dim * 4);
        let count = batch * dim;
        // SAFETY: both hold `count` values.
        unsafe {
            copy::launch_unchecked::<CudaRuntime>(
                &self.client,
                CubeCount::Static(count.div_ceil(256) as u32, 1, 1),
                CubeDim::new_1d(256),
                ArrayArg::from_raw_parts(latents, count),
                ArrayArg::from_raw_parts(start.clone(), count),
                count as u32,
            );
        }
        Bench {
            batch,
            store: self.client.empty(plan.store * 16),
            state: self.client.empty(plan.state * 4),
            pull: self.client.empty(plan.pull * 2),
            noise: match noise {
                Noise::Given(noise) => noise.clone(),
                _ => start.clone(),
            },
            latents: start,
            steps: self.upload(sizes),
            energies: self.client.empty(steps * batch * 4),
            gradients: self.client.empty(batch * dim * 4),
            control: self.upload(&control),
            planned,
        }
    }

    fn launch_all(
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

    fn launch_images(
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
        let pixels = self.shape.image_channels * self.shape.size * self.shape.size * 4;
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
                bf16::as_type_native_unchecked(),
            )
        };
        let images = bench.batch * pixels;
        let latents = bench.batch * dim;
        // SAFETY: the plan was made for this shape and batch; every place in its program lies within
        // the arrays.
        unsafe {
            program::run_program::launch_unchecked::<bf16, CudaRuntime>(
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
            );
        }
    }

    fn launch_forward(&self, packed: &Packed, bench: &Bench, layer: usize) {
        let plan = &bench.planned.plan;
        let of = &plan.linears[layer];
        let tiles = bench.batch.div_ceil(IMAGES) as u32;
        // SAFETY: as in `launch_images`.
        unsafe {
            linear::heads_forward::launch_unchecked::<bf16, CudaRuntime>(
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
            );
        }
    }

    fn launch_back(&self, packed: &Packed, bench: &Bench, layer: usize) {
        let plan = &bench.planned.plan;
        let of = &plan.linears[layer];
        let tiles = bench.batch.div_ceil(IMAGES) as u32;
        // SAFETY: as in `launch_images`.
        unsafe {
            linear::heads_back::launch_unchecked::<bf16, CudaRuntime>(
                &self.client,
                CubeCount::Static(tiles, of.map_blocks / WARPS, 1),
                CubeDim::new_1d(32 * WARPS),
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
            );
        }
    }
    /// After a step that kept what it needs.
    fn launch_weights(&self, bench: &Bench, uploaded: &Uploaded) -> Handle {
        let Planned { plan, .. } = &*bench.planned;
        let Uploaded { learning, .. } = uploaded;
        let (Some(kept), client) = (&plan.kept, &self.client) else {
            unreachable!("a plan that keeps")
        };
        let images = bench.batch as u32;
        let threads = CubeDim::new_1d(32 * WARPS);
        let sums = client.empty(learning.sums * 4);
        let count = self.shape.parameter_count();
        let result = client.empty(count * 4);
        let words = |handle: &Handle, length: usize| {
            // SAFETY: callers name the length the handle was made with.
            unsafe { ArrayArg::from_raw_parts(handle.clone(), length) }
        };
        let store = || words(&bench.store, plan.store);
        let state = || words(&bench.state, plan.state);
        let pull = || words(&bench.pull, plan.pull);
        let sum = || words(&sums, learning.sums);
        let cubes = |x: usize, y: usize, z: usize| CubeCount::Static(x as u32, y as u32, z as u32);
        // SAFETY: the places were made for this plan, and lie within its arrays.
        unsafe {
            for (conv, jobs, ks) in [
                (&learning.conv5, &uploaded.jobs5, 5),
                (&learning.conv3, &uploaded.jobs3, 3),
            ] {
                weights::convolution_weights::launch_unchecked::<bf16, CudaRuntime>(
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
                );
            }
            for (layer, [deconv, linear, bias]) in learning.projections.iter().enumerate() {
                let padded = self.shape.latents[layer].next_multiple_of(32);
                weights::narrow_weights::launch_unchecked::<bf16, CudaRuntime>(
                    client,
                    cubes(learning.narrow_groups, 1, 1),
                    threads,
                    store(),
                    state(),
                    sum(),
                    kept.projection[layer],
                    kept.seeds[layer],
                    *deconv,
                    0,
                    images,
                    true,
                );
                weights::seed_weights::launch_unchecked::<CudaRuntime>(
                    client,
                    cubes(4, padded / 8, 1),
                    threads,
                    state(),
                    sum(),
                    kept.latents[layer],
                    padded as u32,
                    kept.seed_gradients[layer],
                    *linear,
                    *bias,
                    images,
                );
            }
            if let Some(features) = kept.features.last() {
                weights::narrow_weights::launch_unchecked::<bf16, CudaRuntime>(
                    client,
                    cubes(learning.narrow_groups, 1, 1),
                    threads,
                    store(),
                    state(),
                    sum(),
                    *features,
                    kept.image,
                    learning.output[0],
                    learning.output[1],
                    images,
                    false,
                );
            }
            for (of, [linear, bias]) in plan.linears.iter().zip(&learning.heads) {
                weights::head_weights::launch_unchecked::<bf16, CudaRuntime>(
                    client,
                    cubes(
                        (of.stride as usize).div_ceil(256),
                        of.outputs as usize / 8,
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
                    images,
                );
                weights::head_bias::launch_unchecked::<bf16, CudaRuntime>(
                    client,
                    cubes(1, 1, 1),
                    threads,
                    pull(),
                    sum(),
                    of.pull_at,
                    of.outputs * 2,
                    *bias,
                    images,
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
                words(&result, count),
                count as u32,
            );
        }
        result
    }
}

#[cube(launch_unchecked)]
fn copy(from: &Array<f32>, to: &mut Array<f32>, count: u32) {
    if ABSOLUTE_POS < count as usize {
        to[ABSOLUTE_POS] = from[ABSOLUTE_POS];
    }
}
