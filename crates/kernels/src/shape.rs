//! Which generators the kernels run, and where their weights lie.

use std::{cell::RefCell, ops::Range};

use crate::layout::Layout;

/// The shape of a built-in generator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Sizes of the latent layers, top first.
    pub latents: Vec<usize>,
    /// Channels of the heads' convolutions in each layer but the top one.
    pub head_channels: Vec<usize>,
    /// Height and width of the feature maps, at most 16.
    pub size: usize,
    /// Channels of the images.
    pub image_channels: usize,
    /// Transposed convolutions that end the generator, each of which doubles the maps: 1 or 2.
    pub doublings: usize,
    /// Channels of the feature maps.
    pub features: usize,
    /// Channels of the projections' small maps.
    pub seed_channels: usize,
    /// Further residual blocks before the output.
    pub refine_blocks: usize,
    /// How a scale head's output becomes a standard deviation.
    pub scale: Scale,
}

/// How a scale head's output `v` becomes a standard deviation, as in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scale {
    /// `exp(clamp(softplus(v), 0, 10) / 2)`
    SoftplusLogVariance,
    /// `exp(clamp(v, -10, 10) / 2)`
    LogVariance,
    /// `softplus(v) + 1e-3`
    Softplus,
}

/// Channels that a stored map has; fewer are filled up with zeros, and for more there are several.
#[cfg(feature = "cuda")]
pub(super) const CHANNELS: usize = 64;
/// Most channels of a feature map.
const FEATURES: usize = 256;
/// Most dimensions of a latent layer.
const LATENTS: usize = 1024;

/// The place of a layer's weights in the parameters, each row by row.
#[derive(Clone, Debug)]
pub(super) struct Affine {
    pub(super) weight: usize,
    pub(super) bias: usize,
}

/// A projection and its residual block.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    /// `[d, seed_channels * size * size]`
    pub(super) linear: Affine,
    /// `[seed_channels, features, 5, 5]`
    pub(super) deconv: usize,
    pub(super) block: Residual,
}

/// Convolutions 5x5 and 3x3, `[features, features, k, k]`.
#[derive(Clone, Debug)]
pub(super) struct Residual {
    pub(super) conv1: Affine,
    pub(super) conv2: Affine,
}

/// `[channels, features, 5, 5]` and `[channels * (size - 4)², d]`.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) conv: Affine,
    pub(super) linear: Affine,
}

/// Where every parameter lies when all are put together: layers (top first), the heads of each layer but
/// the top one (mean, then scale), refining blocks, the doublings.
#[derive(Clone, Debug)]
pub(super) struct Parameters {
    pub(super) layers: Vec<Layer>,
    pub(super) heads: Vec<[Head; 2]>,
    pub(super) refine: Vec<Residual>,
    /// Of two doublings the first: `[features, features, 4, 4]`.
    pub(super) doubling: Option<Affine>,
    /// `[features, image channels, 4, 4]`
    pub(super) output: Affine,
    /// Of the tensors in this order.
    pub(super) layout: Layout,
}

impl Shape {
    /// Whether the kernels can run it; the error says why not.
    ///
    /// # Errors
    /// Names the first size that does not fit.
    pub fn check(&self) -> Result<(), String> {
        let most = |name: &str, found: usize, most: usize| {
            (found <= most)
                .then_some(())
                .ok_or_else(|| format!("{name} {found} is above {most}"))
        };
        most("feature map size", self.size, 16)?;
        most("features", self.features, FEATURES)?;
        most("seed channels", self.seed_channels, 4)?;
        most("image channels", self.image_channels, 4)?;
        for d in &self.latents {
            most("latent layer size", *d, LATENTS)?;
        }
        most("doublings", self.doublings, 2)?;
        if self.doublings * self.features == 0 {
            return Err("there must be at least one feature and one doubling".to_owned());
        }
        if self.size < 6 {
            return Err(format!("feature map size {} is below 6", self.size));
        }
        Ok(())
    }

    /// The number of latent dimensions, d.
    pub fn dim(&self) -> usize {
        self.latents.iter().sum()
    }

    /// Values of an image.
    pub(super) fn image_values(&self) -> usize {
        let side = self.size << self.doublings;
        self.image_channels * side * side
    }

    /// Stored maps that a feature map takes.
    #[cfg(feature = "cuda")]
    pub(super) fn blocks(&self) -> usize {
        self.features.div_ceil(CHANNELS)
    }

    /// The columns of a layer in the flat latent vector.
    pub(super) fn columns(&self, layer: usize) -> Range<usize> {
        let begin = self.latents[..layer].iter().sum();
        begin..begin + self.latents[layer]
    }

    /// The number of weights.
    pub fn parameter_count(&self) -> usize {
        self.parameters().layout.count()
    }

    pub(super) fn parameters(&self) -> Parameters {
        let layout = RefCell::new(Layout::default());
        let take = |count: usize| layout.borrow_mut().take(count);
        let f = self.features;
        let affine = |weight: usize, bias: usize| Affine {
            weight: take(weight),
            bias: take(bias),
        };
        let seeds = self.seed_channels * self.size * self.size;
        let layers = self
            .latents
            .iter()
            .map(|d| {
                let linear = affine(d * seeds, seeds);
                let deconv = take(self.seed_channels * f * 25);
                let block = Residual {
                    conv1: affine(f * f * 25, f),
                    conv2: affine(f * f * 9, f),
                };
                Layer {
                    linear,
                    deconv,
                    block,
                }
            })
            .collect();
        let pixels = (self.size - 4) * (self.size - 4);
        let heads = self.latents[1..]
            .iter()
            .zip(&self.head_channels)
            .map(|(d, channels)| {
                [(); 2].map(|()| Head {
                    conv: affine(channels * f * 25, *channels),
                    linear: affine(channels * pixels * d, *d),
                })
            })
            .collect();
        let refine = (0..self.refine_blocks)
            .map(|_| Residual {
                conv1: affine(f * f * 25, f),
                conv2: affine(f * f * 9, f),
            })
            .collect();
        let doubling = (self.doublings == 2).then(|| affine(f * f * 16, f));
        let output = affine(f * self.image_channels * 16, self.image_channels);
        Parameters {
            layers,
            heads,
            refine,
            doubling,
            output,
            layout: layout.into_inner(),
        }
    }
}
