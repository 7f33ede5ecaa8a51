//! Convolution weights `[a][b][k][k]` as the matrices that products want, `[tap][in][out]`.

use cubecl::prelude::*;

use super::{cubes::cubes, values::Values};

const THREADS: usize = 256;

/// How the weights are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reading {
    /// `a` is the output, `b` the input: a convolution, and the way back of a transposed one.
    Straight,
    /// `a` is the input, and the kernel is turned around: the way back of a convolution, and a
    /// transposed convolution.
    Turned,
    /// A transposed convolution 4x4 of stride 2 as a convolution 3x3 whose outputs are the four
    /// quarters of each channel.
    Quarters,
}

/// Weights to be repacked.
pub(super) struct Repacking {
    pub(super) reading: Reading,
    /// Where in the parameters they lie, and their shape.
    pub(super) at: usize,
    pub(super) a: usize,
    pub(super) b: usize,
    pub(super) kernel: usize,
    /// Inputs of the whole matrix, and which of them is these weights' first.
    pub(super) inputs: [usize; 2],
    /// Outputs of the matrix.
    pub(super) outputs: usize,
    /// Where the matrix begins.
    pub(super) to: usize,
}

impl Repacking {
    /// Of a matrix by itself.
    pub(super) fn new(reading: Reading, at: usize, [a, b, kernel]: [usize; 3]) -> Self {
        let [inputs, outputs] = match reading {
            Reading::Straight => [b, a],
            Reading::Turned => [a, b],
            Reading::Quarters => [a, 4 * b],
        };
        Self {
            reading,
            at,
            a,
            b,
            kernel,
            inputs: [inputs, 0],
            outputs,
            to: 0,
        }
    }

    /// Taps of the matrix.
    fn taps(&self) -> usize {
        match self.reading {
            Reading::Quarters => 9,
            Reading::Straight | Reading::Turned => self.kernel * self.kernel,
        }
    }

    /// Values of the whole matrix.
    pub(super) fn length(&self) -> usize {
        self.taps() * self.inputs[0] * self.outputs
    }

    pub(super) fn run<R: Runtime>(
        &self,
        client: &ComputeClient<R>,
        parameters: &Values,
        to: &Values,
    ) {
        let quarters = if self.reading == Reading::Quarters {
            4
        } else {
            1
        };
        let count = self.taps() * self.a * self.b * quarters;
        // SAFETY: the weights lie in the parameters, and the matrix holds all that is written.
        unsafe {
            repack::launch_unchecked::<R>(
                client,
                cubes(count, THREADS),
                CubeDim::new_1d(THREADS as u32),
                parameters.argument(),
                to.argument(),
                count,
                self.at,
                self.a,
                self.b,
                self.inputs[0],
                self.inputs[1],
                self.outputs,
                self.to,
                self.kernel,
                self.reading,
                crate::SOURCES,
            );
        }
    }
}

#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn repack(
    parameters: &Array<f32>,
    to: &mut Array<f32>,
    count: usize,
    at: usize,
    a: usize,
    b: usize,
    inputs: usize,
    first_input: usize,
    outputs: usize,
    first: usize,
    #[comptime] kernel: usize,
    #[comptime] reading: Reading,
    #[comptime] _sources: u64,
) {
    let i = ABSOLUTE_POS;
    if i < count {
        if comptime!(reading == Reading::Quarters) {
            let output = i % (4 * b);
            let rest = i / (4 * b);
            let input = rest % a;
            let tap = rest / a;
            // The row of the kernel is (output % 4) / 2 + 1 - 2 (tap / 3 - 1), the column likewise.
            let row = output % 4 / 2 + 3 - 2 * (tap / 3);
            let column = output % 2 + 3 - 2 * (tap % 3);
            let mut value = 0.0f32;
            // Below 0 is far above.
            if row < 4 && column < 4 {
                value = parameters[at + ((input * b + output / 4) * 4 + row) * 4 + column];
            }
            to[first + (tap * inputs + input) * outputs + output] = value;
        } else {
            let taps = comptime!(kernel * kernel);
            let tap = i % taps;
            let of_b = i / taps % b;
            let of_a = i / taps / b;
            let value = parameters[at + i];
            let mut place = (tap * inputs + first_input + of_b) * outputs + of_a;
            if comptime!(reading == Reading::Turned) {
                let turned = comptime!(taps - 1) - tap;
                place = (turned * inputs + first_input + of_a) * outputs + of_b;
            }
            to[first + place] = value;
        }
    }
}
