//! The product of two matrices, tile by tile: two inner loops behind one interface.
//!
//! A cube of 256 threads makes 64 x 64 values of the product. Both operands come through shared
//! memory, `[depth][64]` each, and leave it as float32 sums: by cooperative matrices 16x16x16 where
//! the device has them, else by 4 x 4 sums in the registers of each thread.

use cubecl::{
    cmma::{self, MatrixIdent, MatrixLayout},
    ir::features::MmaConfig,
    prelude::*,
};
use half::{bf16, f16};

/// Rows and columns of a cube's tile.
pub(super) const TILE: usize = 64;
/// Threads of a cube.
pub(super) const THREADS: usize = 256;
/// Values from one row of a tile in shared memory to the next: 16 bytes more than 64 of 16 bits.
pub(super) const PITCH: usize = 72;
/// As [`PITCH`], of the sums.
const SUM_PITCH: usize = 68;

/// Bytes of shared memory that cooperative matrices need.
const SHARED: usize = 2 * 2 * 32 * PITCH + 4 * TILE * SUM_PITCH;

/// What the operands of products are, and so which inner loop runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operands {
    /// float32 in plain registers.
    Single,
    /// float16 in cooperative matrices; sums are float32.
    Half,
    /// bfloat16 likewise.
    Brain,
}

impl Operands {
    /// The fastest that the device has: its cooperative matrices, float16 before bfloat16 for three
    /// more bits, if planes are 32 threads wide and the tiles fit.
    pub fn best<R: Runtime>(client: &ComputeClient<R>) -> Self {
        let hardware = &client.properties().hardware;
        let planes = [hardware.plane_size_min, hardware.plane_size_max];
        if planes != [32, 32] || hardware.max_shared_memory_size < SHARED {
            return Self::Single;
        }
        let has = |operand: StorageType| {
            client.properties().features.matmul.cmma.contains(&MmaConfig {
                a_type: operand,
                b_type: operand,
                cd_type: f32::as_type_native_unchecked().storage_type(),
                m: 16,
                n: 16,
                k: 16,
            })
        };
        if has(f16::as_type_native_unchecked().storage_type()) {
            Self::Half
        } else if has(bf16::as_type_native_unchecked().storage_type()) {
            Self::Brain
        } else {
            Self::Single
        }
    }

    /// Whether the inner loop is that of cooperative matrices.
    pub(super) fn cooperative(self) -> bool {
        self != Self::Single
    }
}

/// Inner values of a tile.
pub(super) fn depth(cooperative: bool) -> usize {
    if cooperative { 32 } else { 16 }
}

/// The sums of a cube's tile, spread over its threads.
#[derive(CubeType)]
pub(super) struct Sums {
    /// Of row `x + 16 i` and column `y + 16 j` at `4 i + j`, where `x + 16 y` is the thread.
    pub(super) values: Array<f32>,
    /// Until [`finish`], of cooperative matrices.
    matrices: Sequence<cmma::Matrix<f32>>,
}

/// Sums of 0.
#[cube]
pub(super) fn begin(#[comptime] cooperative: bool) -> Sums {
    let mut values = Array::<f32>::new(16usize);
    #[unroll]
    for i in 0..16usize {
        values[i] = 0.0f32;
    }
    let mut matrices = Sequence::<cmma::Matrix<f32>>::new();
    if comptime!(cooperative) {
        #[unroll]
        for _i in 0..2usize {
            matrices.push(cmma::Matrix::<f32>::from_value(
                MatrixIdent::Accumulator,
                16usize,
                16usize,
                16usize,
                MatrixLayout::Undefined,
                0.0f32,
            ));
        }
    }
    Sums { values, matrices }
}

/// Adds the product of `left` transposed, `[64][depth]`, and `right`, `[depth][64]`.
#[cube]
pub(super) fn multiply<E: Float>(
    left: &SharedMemory<E>,
    right: &SharedMemory<E>,
    sums: &mut Sums,
    #[comptime] cooperative: bool,
) {
    if comptime!(cooperative) {
        let plane = UNIT_POS as usize / 32;
        let row = plane % 4 * 16;
        let column = plane / 4 * 32;
        #[unroll]
        for k in 0..comptime!(depth(true) / 16) {
            // SAFETY: loaded at once.
            let a = unsafe {
                cmma::Matrix::<E>::uninitialized(
                    MatrixIdent::A,
                    16usize,
                    16usize,
                    16usize,
                    MatrixLayout::ColMajor,
                )
            };
            let at = comptime!(k * 16 * PITCH) + row;
            cmma::load(&a, &left.slice(at, at + 16), comptime!(PITCH as u32));
            #[unroll]
            for j in 0..2usize {
                // SAFETY: loaded at once.
                let b = unsafe {
                    cmma::Matrix::<E>::uninitialized(
                        MatrixIdent::B,
                        16usize,
                        16usize,
                        16usize,
                        MatrixLayout::RowMajor,
                    )
                };
                let at = comptime!(k * 16 * PITCH + j * 16) + column;
                cmma::load(&b, &right.slice(at, at + 16), comptime!(PITCH as u32));
                let sum = sums.matrices.index(j);
                cmma::execute::<E, E, f32, f32>(&a, &b, sum, sum);
            }
        }
    } else {
        let x = UNIT_POS as usize % 16;
        let y = UNIT_POS as usize / 16;
        for k in 0..comptime!(depth(false)) {
            let mut a = Array::<f32>::new(4usize);
            let mut b = Array::<f32>::new(4usize);
            #[unroll]
            for i in 0..4usize {
                a[i] = f32::cast_from(left[k * PITCH + x + comptime!(16 * i)]);
                b[i] = f32::cast_from(right[k * PITCH + y + comptime!(16 * i)]);
            }
            #[unroll]
            for i in 0..4usize {
                #[unroll]
                for j in 0..4usize {
                    sums.values[comptime!(4 * i + j)] += a[i] * b[j];
                }
            }
        }
    }
}

/// Makes all values of the sums known to their threads.
#[cube]
pub(super) fn finish(sums: &mut Sums, #[comptime] cooperative: bool) {
    if comptime!(cooperative) {
        let plane = UNIT_POS as usize / 32;
        let row = plane % 4 * 16;
        let column = plane / 4 * 32;
        let mut all = SharedMemory::<f32>::new_aligned(comptime!(TILE * SUM_PITCH), 16usize);
        #[unroll]
        for j in 0..2usize {
            let at = (column + comptime!(16 * j)) * SUM_PITCH + row;
            cmma::store(
                &mut all.slice_mut(at, at + 16),
                sums.matrices.index(j),
                comptime!(SUM_PITCH as u32),
                MatrixLayout::ColMajor,
            );
        }
        sync_cube();
        let x = UNIT_POS as usize % 16;
        let y = UNIT_POS as usize / 16;
        #[unroll]
        for i in 0..4usize {
            #[unroll]
            for j in 0..4usize {
                let at = (y + comptime!(16 * j)) * SUM_PITCH + x + comptime!(16 * i);
                sums.values[comptime!(4 * i + j)] = all[at];
            }
        }
    }
}
