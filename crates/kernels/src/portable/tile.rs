//! The product of two matrices, tile by tile: two inner loops behind one interface.
//!
//! A cube of 256 threads makes 64 x 64 values of the product, or 256 x 16 where it has few columns.
//! Both operands come through shared memory, inner dimension first, and leave it as float32 sums: by
//! cooperative matrices 16x16x16 where the device has them, else by 4 x 4 sums in the registers of each
//! thread.

use cubecl::{
    cmma::{self, MatrixIdent, MatrixLayout},
    ir::features::MmaConfig,
    prelude::*,
};
use half::{bf16, f16};

/// Threads of a cube.
pub(super) const THREADS: usize = 256;
/// Bytes of shared memory that the largest tile needs.
const SHARED: usize = 32 << 10;

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
            client
                .properties()
                .features
                .matmul
                .cmma
                .contains(&MmaConfig {
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

    /// The tile for a product of so many columns.
    pub(super) fn tile(self, columns: usize) -> Tile {
        Tile {
            cooperative: self != Self::Single,
            narrow: columns <= 16,
        }
    }
}

/// The shape of a cube's tile, and how it is multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tile {
    cooperative: bool,
    narrow: bool,
}

impl Tile {
    pub(super) fn rows(self) -> usize {
        if self.narrow { 256 } else { 64 }
    }

    pub(super) fn columns(self) -> usize {
        if self.narrow { 16 } else { 64 }
    }

    /// Inner values.
    pub(super) fn depth(self) -> usize {
        if self.cooperative && !self.narrow {
            32
        } else {
            16
        }
    }

    /// Values from one inner value to the next in shared memory: 16 bytes of padding at 16 bits.
    pub(super) fn left_pitch(self) -> usize {
        self.rows() + 8
    }

    /// As [`left_pitch`](Self::left_pitch).
    pub(super) fn right_pitch(self) -> usize {
        self.columns() + 8
    }

    /// Threads that share a column of the sums: neighbours in it are so many rows apart.
    pub(super) fn row_threads(self) -> usize {
        self.rows() / 4
    }

    /// As [`row_threads`](Self::row_threads), of a row.
    pub(super) fn column_threads(self) -> usize {
        self.columns() / 4
    }

    /// Cooperative matrices of the sums below one another in a plane, and beside one another.
    fn matrices(self) -> [usize; 2] {
        if self.narrow { [2, 1] } else { [1, 2] }
    }

    /// Values from one column of the sums to the next in shared memory.
    fn sum_pitch(self) -> usize {
        self.rows() + 4
    }
}

/// The sums of a cube's tile, spread over its threads.
#[derive(CubeType)]
pub(super) struct Sums {
    /// At `4 i + j`, of thread `x + row_threads y`: that of row `x + row_threads i` and column
    /// `y + column_threads j`.
    pub(super) values: Array<f32>,
    /// Until [`finish`], of cooperative matrices.
    matrices: Sequence<cmma::Matrix<f32>>,
}

/// Sums of 0.
#[cube]
pub(super) fn begin(#[comptime] tile: Tile) -> Sums {
    let mut values = Array::<f32>::new(16usize);
    #[unroll]
    for i in 0..16usize {
        values[i] = 0.0f32;
    }
    let mut matrices = Sequence::<cmma::Matrix<f32>>::new();
    if comptime!(tile.cooperative) {
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

/// Row and column of a plane's first cooperative matrix.
#[cube]
fn corner(#[comptime] tile: Tile) -> (usize, usize) {
    let plane = UNIT_POS as usize / 32;
    let mut row = plane % 4 * 16;
    let mut column = plane / 4 * 32;
    if comptime!(tile.narrow) {
        row = plane * 32;
        column = 0usize;
    }
    (row, column)
}

/// Adds the product of `left` transposed, `[rows][depth]`, and `right`, `[depth][columns]`.
#[cube]
pub(super) fn multiply<E: Float>(
    left: &SharedMemory<E>,
    right: &SharedMemory<E>,
    sums: &mut Sums,
    #[comptime] tile: Tile,
) {
    let left_pitch = comptime!(tile.left_pitch());
    let right_pitch = comptime!(tile.right_pitch());
    if comptime!(tile.cooperative) {
        let (row, column) = corner(tile);
        let below = comptime!(tile.matrices()[0]);
        let beside = comptime!(tile.matrices()[1]);
        #[unroll]
        for k in 0..comptime!(tile.depth() / 16) {
            #[unroll]
            for i in 0..below {
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
                let at = comptime!(k * 16 * left_pitch + i * 16) + row;
                cmma::load(&a, &left.slice(at, at + 16), comptime!(left_pitch as u32));
                #[unroll]
                for j in 0..beside {
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
                    let at = comptime!(k * 16 * right_pitch + j * 16) + column;
                    cmma::load(&b, &right.slice(at, at + 16), comptime!(right_pitch as u32));
                    let sum = sums.matrices.index(comptime!(i + j));
                    cmma::execute::<E, E, f32, f32>(&a, &b, sum, sum);
                }
            }
        }
    } else {
        let apart = comptime!([tile.row_threads(), tile.column_threads()]);
        let x = UNIT_POS as usize % comptime!(apart[0]);
        let y = UNIT_POS as usize / comptime!(apart[0]);
        for k in 0..comptime!(tile.depth()) {
            let mut a = Array::<f32>::new(4usize);
            let mut b = Array::<f32>::new(4usize);
            #[unroll]
            for i in 0..4usize {
                a[i] = f32::cast_from(left[k * left_pitch + x + comptime!(apart[0] * i)]);
                b[i] = f32::cast_from(right[k * right_pitch + y + comptime!(apart[1] * i)]);
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
pub(super) fn finish(sums: &mut Sums, #[comptime] tile: Tile) {
    if comptime!(tile.cooperative) {
        let pitch = comptime!(tile.sum_pitch());
        let (row, column) = corner(tile);
        let mut all = SharedMemory::<f32>::new_aligned(comptime!(tile.columns() * pitch), 16usize);
        #[unroll]
        for i in 0..comptime!(tile.matrices()[0]) {
            #[unroll]
            for j in 0..comptime!(tile.matrices()[1]) {
                let at = (column + comptime!(16 * j)) * pitch + row + comptime!(16 * i);
                cmma::store(
                    &mut all.slice_mut(at, at + 16),
                    sums.matrices.index(comptime!(i + j)),
                    comptime!(pitch as u32),
                    MatrixLayout::ColMajor,
                );
            }
        }
        sync_cube();
        let apart = comptime!([tile.row_threads(), tile.column_threads()]);
        let x = UNIT_POS as usize % comptime!(apart[0]);
        let y = UNIT_POS as usize / comptime!(apart[0]);
        #[unroll]
        for i in 0..4usize {
            #[unroll]
            for j in 0..4usize {
                let at = (y + comptime!(apart[1] * j)) * pitch + x + comptime!(apart[0] * i);
                sums.values[comptime!(4 * i + j)] = all[at];
            }
        }
    }
}
