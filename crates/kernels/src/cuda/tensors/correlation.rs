//! Gradients of convolutions' weights: sums over maps and places of one map times another.

use cubecl::{cuda::CudaRuntime, prelude::*, server::Handle};

use super::{Client, Matrices, multiply, sums::add_parts};

const THREADS: usize = 256;

/// Which values meet: place p of one map with place `stride p + tap - padding` of the other.
#[derive(Clone, Copy, Debug)]
pub struct Correlation {
    /// Maps of each, one after the other.
    pub maps: usize,
    /// Channels of the one.
    pub rows: usize,
    /// Channels of the other.
    pub channels: usize,
    /// Height and width of the one.
    pub places: [usize; 2],
    /// Height and width of the other.
    pub size: [usize; 2],
    /// Side of the square of taps.
    pub kernel: usize,
    /// Places of the other from one place to the next.
    pub stride: usize,
    /// Zeros around the other.
    pub padding: usize,
}

impl Correlation {
    /// Values beside those of the maps that [`correlate`] needs for each map.
    pub fn room(&self) -> usize {
        self.channels * self.kernel * self.kernel * self.places.iter().product::<usize>()
    }
}

/// `[rows, channels, kernel, kernel]`, the sums over maps and places of a `[maps, rows, places]` times x
/// `[maps, channels, size]`. `None` if there are none, or places are no multiple of four.
pub fn correlate(client: &Client, a: Handle, x: Handle, of: &Correlation) -> Option<Handle> {
    let [maps, rows] = [of.maps, of.rows];
    let columns = of.channels * of.kernel * of.kernel;
    let places: usize = of.places.iter().product();
    if maps * columns * places == 0 {
        return None;
    }
    // What each place meets, so that the sums are products of matrices.
    let met = client.empty(maps * columns * places * 4);
    // SAFETY: places outside the map are not read, and those beyond `places` not made.
    unsafe {
        unfold::launch_unchecked::<CudaRuntime>(
            client,
            CubeCount::Static(places.div_ceil(THREADS) as u32, columns as u32, maps as u32),
            CubeDim::new_1d(THREADS as u32),
            ArrayArg::from_raw_parts(x, maps * of.channels * of.size[0] * of.size[1]),
            ArrayArg::from_raw_parts(met.clone(), maps * columns * places),
            places as u32,
            of.places[1] as u32,
            of.size[0] as u32,
            of.size[1] as u32,
            of.stride as u32,
            of.padding as u32,
            of.kernel,
            crate::SOURCES,
        );
    }
    let a = Matrices {
        handle: a,
        shape: [maps, rows, places],
        strides: [rows * places, places, 1],
    };
    let met = Matrices {
        handle: met,
        shape: [maps, places, columns],
        strides: [columns * places, 1, places],
    };
    let of_maps = multiply(client, &a, &met)?;
    Some(add_parts(client, of_maps, maps, rows * columns))
}

/// `[map][channel, tap][place]`
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn unfold(
    from: &Array<f32>,
    to: &mut Array<f32>,
    places: u32,
    width: u32,
    of_height: u32,
    of_width: u32,
    stride: u32,
    padding: u32,
    #[comptime] ks: usize,
    #[comptime] _sources: u64,
) {
    let place = ABSOLUTE_POS_X as usize;
    let places = places as usize;
    if place < places {
        let (of_height, of_width) = (of_height as usize, of_width as usize);
        let tap = CUBE_POS_Y as usize % comptime!(ks * ks);
        let channels = CUBE_COUNT_Y as usize / comptime!(ks * ks);
        let channel = CUBE_POS_Z as usize * channels + CUBE_POS_Y as usize / comptime!(ks * ks);
        // Below 0 wraps around.
        let y = place / width as usize * stride as usize + tap / ks - padding as usize;
        let x = place % width as usize * stride as usize + tap % ks - padding as usize;
        let known = y < of_height && x < of_width;
        let at = select(known, (channel * of_height + y) * of_width + x, 0usize);
        let row = CUBE_POS_Z as usize * CUBE_COUNT_Y as usize + CUBE_POS_Y as usize;
        to[row * places + place] = select(known, from[at], 0.0f32);
    }
}
