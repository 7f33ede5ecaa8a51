//! Products, convolutions and sums of float32 tensors on the tensor cores, nearly in float32.
//!
//! A float32 is the sum of two bf16 and a rest of 2^-17 of it; of the four products of a pair the
//! three that count are summed in float32. So the operands lose no more than 1e-5, where bf16 alone
//! would lose 4e-3, and derivatives of the energy keep their digits.

mod conv;
mod correlation;
mod elementwise;
mod matmul;
mod sums;

use cubecl::{cmma::MmaDefinition, cuda::CudaRuntime, ir::MatrixIdent, prelude::*};

pub use self::{
    conv::{Convolution, Form, convolve},
    correlation::{Correlation, correlate},
    elementwise::{combine, gelu_bends, gelu_with_slope},
    matmul::{Matrices, multiply},
    sums::column_products,
};

use super::lanes::{V2, V8};

type Client = ComputeClient<CudaRuntime>;
type V4 = Vector<f32, Const<4>>;

/// 16 rows and 16 columns of bf16 from shared memory; `at`: this lane's row and half of the columns.
#[cube]
fn fragment<E: Float>(
    def: &MmaDefinition<E, E, f32>,
    tile: &SharedMemory<V8<E>>,
    at: usize,
) -> Array<V2<E>> {
    def.load_matrix::<_, Const<2>>(&tile.slice(at, at + 1), MatrixIdent::A, 4usize, false)
}

/// Adds the product of two operands, each in its high and low part.
#[cube]
fn add_product<E: Float>(
    def: &MmaDefinition<E, E, f32>,
    high: &Array<V2<E>>,
    low: &Array<V2<E>>,
    other_high: &Array<V2<E>>,
    other_low: &Array<V2<E>>,
    acc: &mut Array<V2<f32>>,
) {
    def.execute_inplace(low, other_high, acc);
    def.execute_inplace(high, other_low, acc);
    def.execute_inplace(high, other_high, acc);
}
