//! The last part: features become an image.

use burn::{nn::conv::ConvTranspose2d, prelude::*};

use crate::{GeneratorConfig, gelu, init::Init};

/// The transposed convolutions 4x4, stride 2, that end the generator; each doubles the size.
pub(crate) fn layers<B: Backend>(
    config: &GeneratorConfig,
    init: &mut Init<'_, B>,
) -> Vec<ConvTranspose2d<B>> {
    let count = config.output_layers();
    (1..=count)
        .map(|layer| {
            let outputs = if layer == count {
                config.image_channels
            } else {
                config.features
            };
            init.deconv([config.features, outputs], 4, 2, 1, true)
        })
        .collect()
}

/// GELU between the layers, tanh at the end.
///
/// # Shapes
/// `[n, n_f, size, size]` to `[n, c, h, w]`, values in [-1, 1]
pub(crate) fn forward<B: Backend>(
    layers: &[ConvTranspose2d<B>],
    features: Tensor<B, 4>,
) -> Tensor<B, 4> {
    let mut image = features;
    for (j, layer) in layers.iter().enumerate() {
        image = doubled(layer, image);
        if j + 1 < layers.len() {
            image = gelu(image);
        }
    }
    image.tanh()
}

fn doubled<B: Backend>(layer: &ConvTranspose2d<B>, x: Tensor<B, 4>) -> Tensor<B, 4> {
    #[cfg(feature = "cuda")]
    if let Some(done) = crate::cuda::products::doubling(&x, &layer.weight.val()) {
        let bias = layer.bias.as_ref().map(|bias| bias.val());
        return crate::explicit::with_bias(done, bias.as_ref());
    }
    layer.forward(x)
}
