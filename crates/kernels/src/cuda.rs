//! Langevin steps of the built-in generator on NVIDIA GPUs.
//!
//! Operands have 16 bits ([`Operands`]), sums are float32; latents, noise, step and energies stay float32. A cube works on
//! one image and keeps its feature maps in shared memory from convolution to convolution; only what
//! the way back needs (GELU's slopes) and what the heads' linear layers multiply goes through global
//! memory. Maps of more than 64 channels, and those between two doublings, do not fit and go through
//! global memory too. `docs/GPU.md` has the measurements.

// What these lints propose is not known to the language that kernels are written in.
#![allow(
    unstable_name_collisions,
    clippy::approx_constant,
    clippy::collapsible_if,
    clippy::excessive_precision,
    clippy::manual_clamp,
    clippy::manual_div_ceil,
    clippy::manual_is_multiple_of,
    clippy::manual_range_contains,
    clippy::unnecessary_cast
)]

mod conv;
mod gather;
mod lanes;
mod launch;
mod learn;
mod linear;
mod narrow;
mod op;
mod operands;
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

use crate::{GeneratorKernels, Noise, Observed, Shape, copy, layout::Layout, noise, shape};

use self::{
    learn::Learning,
    plan::{Plan, Weights},
};

pub use self::operands::Operands;

type Client = ComputeClient<CudaRuntime>;

/// A generator's shape, ready for its GPU.
pub struct Network {
    client: Client,
    shape: Shape,
    operands: Operands,
    layout: Layout,
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
    several: Handle,
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
    pub fn new(client: Client, shape: Shape, operands: Operands) -> Self {
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
            layout: shape.parameters().layout,
            shape,
            operands,
            weights,
            tables,
            plans: Mutex::default(),
        }
    }

    /// What the operands of products are.
    pub fn operands(&self) -> Operands {
        self.operands
    }

    /// Launches of one step.
    pub fn launches(&self, batch: usize) -> usize {
        self.plan(batch, false).plan.step.len() + 1
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
                    several: self.upload(&learning.several),
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
        let start = copy::copy(&self.client, latents, batch * dim);
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
}

impl GeneratorKernels for Network {
    type Runtime = CudaRuntime;
    type Packed = Packed;

    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn pack(&self, weights: &[Handle]) -> Packed {
        let layout = &self.layout;
        let parameters = copy::put_together(&self.client, weights, layout);
        let gather = |(table, length): &(Handle, usize), kind: StorageType| {
            let to = self.client.empty(length * kind.size());
            // SAFETY: places in the table are the layout's, and `to` has `length` values.
            unsafe {
                gather::gather::launch_unchecked::<CudaRuntime>(
                    &self.client,
                    CubeCount::Static(length.div_ceil(256) as u32, 1, 1),
                    CubeDim::new_1d(256),
                    ArrayArg::from_raw_parts(parameters.clone(), layout.length),
                    ArrayArg::from_raw_parts(table.clone(), *length),
                    ArrayArg::from_raw_parts(to.clone(), *length),
                    *length as u32,
                    kind,
                    crate::SOURCES,
                );
            }
            to
        };
        let operands = self.operands.storage();
        let single = f32::as_type_native_unchecked().storage_type();
        let [ring, direct, bias] = &self.tables;
        Packed {
            ring: gather(ring, operands),
            rows: ring.1 / 256,
            direct: gather(direct, operands),
            direct_vectors: direct.1 / 8,
            bias: gather(bias, single),
            biases: bias.1,
        }
    }

    fn images(&self, packed: &Packed, latents: Handle, batch: usize) -> Handle {
        let values = batch * self.shape.image_values();
        let observed = Observed {
            images: self.client.create_from_slice(&vec![0; values * 4]),
            mask: None,
            precision: 1.0,
        };
        let mode = op::IMAGES;
        let mut bench = self.bench(&observed, latents, batch, &[0.0; 2], &Noise::Off, 1, false);
        bench.gradients = self.client.empty(values * 4);
        self.launch_forward_only(packed, &observed, &bench, mode);
        bench.gradients
    }

    fn energies(
        &self,
        packed: &Packed,
        observed: &Observed,
        latents: Handle,
        batch: usize,
    ) -> Handle {
        let bench = self.bench(observed, latents, batch, &[0.0; 2], &Noise::Off, 1, false);
        self.launch_forward_only(packed, observed, &bench, op::KEEP_GRADIENT);
        bench.energies
    }

    fn gradient(
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

    fn chain(
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

    fn weight_gradients(
        &self,
        packed: &Packed,
        observed: &Observed,
        latents: Handle,
        batch: usize,
        factors: Handle,
    ) -> Vec<Handle> {
        let mode = op::WEIGHTED;
        let noise = Noise::Given(factors);
        let bench = self.bench(observed, latents, batch, &[0.0; 2], &noise, 1, true);
        let plan = &bench.planned.plan;
        self.launch_all(packed, observed, &bench, &plan.start, 0, mode);
        self.launch_all(packed, observed, &bench, &plan.step, 0, mode);
        self.launch_images(packed, observed, &bench, &plan.last, 0, mode);
        match &bench.planned.learning {
            Some(learning) => self.layout.views(&self.launch_weights(&bench, learning)),
            None => unreachable!("a plan that keeps"),
        }
    }
}
