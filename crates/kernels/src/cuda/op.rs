//! The operations of a program: 40 words each.

/// Words of an operation.
pub(super) const WORDS: usize = 40;

// Kinds.
pub(super) const CONV5: u32 = 1;
pub(super) const CONV3: u32 = 2;
pub(super) const HEAD: u32 = 3;
pub(super) const PROJECT: u32 = 4;
pub(super) const PROJECT_BACK: u32 = 5;
pub(super) const OUTPUT: u32 = 6;
/// 64 more channels of what `PROJECT` or `OUTPUT` put into the narrow tile.
pub(super) const WIDEN_SEEDS: u32 = 7;
pub(super) const WIDEN_IMAGE: u32 = 8;

// Places of the words.
pub(super) const KIND: usize = 0;
/// The tile that is read.
pub(super) const FROM_TILE: usize = 1;
pub(super) const ADD_TILE: usize = 2;
pub(super) const TO_TILE: usize = 3;
pub(super) const DUAL_TILE: usize = 4;
/// Row of the ring's weights, or place of packed narrow weights.
pub(super) const WEIGHTS: usize = 5;
pub(super) const BIAS: usize = 6;
pub(super) const FLAGS: usize = 7;
/// Where the slope goes to (with `GELU`) or comes from.
pub(super) const SLOPE: usize = 8;
pub(super) const ADD: usize = 9;
pub(super) const TO: usize = 10;
pub(super) const DUAL: usize = 11;
/// Kernel (0: none) and weights of the next convolution in the launch.
pub(super) const NEXT_KERNEL: usize = 12;
pub(super) const NEXT_WEIGHTS: usize = 13;
/// Of heads: vectors from one image to the next, and the first of four blocks of 16 channels.
pub(super) const STRIDE: usize = 14;
pub(super) const BLOCK: usize = 15;
/// How many times 64 input channels come from global memory, and where from.
pub(super) const CHUNKS: usize = 16;
pub(super) const CHUNKS_AT: usize = 17;
/// Of projections: sizes of the layer, and of it rounded up to 32; its first column.
pub(super) const DIM: usize = 18;
pub(super) const PADDED: usize = 19;
pub(super) const COLUMN: usize = 20;
/// Weights and bias of the linear part.
pub(super) const LINEAR: usize = 21;
pub(super) const LINEAR_BIAS: usize = 22;
/// Places in the state: slopes of the linear part, scale, noise times the scale's slope.
pub(super) const SEED_SLOPE: usize = 23;
pub(super) const SCALE: usize = 24;
pub(super) const BEND: usize = 25;
/// Sums of the heads: where, and in how many parts.
pub(super) const PARTS_AT: usize = 26;
pub(super) const PARTS: usize = 27;
/// Biases of the heads (the scale's follow the mean's, at `PADDED`), and the form of the scale.
pub(super) const HEAD_BIAS: usize = 28;
pub(super) const FORM: usize = 29;
/// Gradients of the heads' results.
pub(super) const PULL: usize = 30;
/// Second place of packed narrow weights.
pub(super) const WEIGHTS2: usize = 31;
/// What learning needs: where the second tile's values, the image's gradient, latents, seeds and
/// their gradients go.
pub(super) const DUAL_TO: usize = 32;
pub(super) const IMAGE_TO: usize = 33;
pub(super) const LATENTS_TO: usize = 34;
pub(super) const SEEDS_TO: usize = 35;
pub(super) const SEED_GRADIENT_TO: usize = 36;
/// A second map to add.
pub(super) const ADD_MORE: usize = 37;

// Flags.
pub(super) const HAS_BIAS: u32 = 1;
pub(super) const GELU: u32 = 2;
pub(super) const TIMES_SLOPE: u32 = 4;
pub(super) const ADDS_TILE: u32 = 8;
pub(super) const ADDS: u32 = 16;
pub(super) const STORES: u32 = 32;
pub(super) const WRITES_TILE: u32 = 64;
pub(super) const DUALS: u32 = 128;
/// The layer's latents are given by heads: all but the top layer's.
pub(super) const GIVEN: u32 = 256;
pub(super) const STORES_DUAL: u32 = 512;
/// Keeps what the gradients of the weights need beside maps.
pub(super) const KEEPS: u32 = 1024;
/// The chunks that are read are whole maps, not a head's.
pub(super) const MAPS: u32 = 2048;
pub(super) const ADDS_MORE: u32 = 4096;
/// With `DUALS`: also to the second tile.
pub(super) const WRITES_DUAL: u32 = 8192;
/// The sums are the image before tanh, in the four by four pixels that each pixel becomes.
pub(super) const IMAGE: u32 = 16384;

/// Vectors of 8 in a stored map: 16 rows, 4 blocks of channels, 32 lanes.
pub(super) const MAP: usize = 2048;

// Places in the control words.
pub(super) const SIZE: usize = 0;
pub(super) const CHANNELS: usize = 1;
pub(super) const LATENTS: usize = 2;
pub(super) const MASKED: usize = 3;
/// Counter and key of the noise, as far as they do not depend on the place.
pub(super) const NOISE: usize = 4;

// Forms of the scale, as in the model.
pub(super) const SOFTPLUS_LOG_VARIANCE: u32 = 0;
pub(super) const LOG_VARIANCE: u32 = 1;

// What a launch does with the gradient.
pub(super) const NO_NOISE: u32 = 0;
pub(super) const KEYED_NOISE: u32 = 1;
pub(super) const GIVEN_NOISE: u32 = 2;
pub(super) const KEEP_GRADIENT: u32 = 3;
/// As [`KEEP_GRADIENT`], with a weight for each image in the place of noise.
pub(super) const WEIGHTED: u32 = 4;
/// Writes the image in the place of gradients, and no more.
pub(super) const IMAGES: u32 = 5;
