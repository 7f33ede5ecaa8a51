//! Where a shape's packed weights lie.

use super::super::{
    pack::Packing,
    shape::{Head, Residual, Shape},
};

/// Where the packed weights of a part lie.
#[derive(Debug)]
pub(super) struct LayerWeights {
    pub(super) linear: [u32; 2],
    pub(super) linear_bias: u32,
    pub(super) deconv: [u32; 2],
    pub(super) block: BlockWeights,
}

#[derive(Debug)]
pub(super) struct BlockWeights {
    pub(super) conv1: [u32; 2],
    pub(super) conv2: [u32; 2],
    pub(super) bias1: u32,
    pub(super) bias2: u32,
}

#[derive(Debug)]
pub(super) struct HeadWeights {
    pub(super) convs: [u32; 2],
    pub(super) conv_bias: u32,
    pub(super) linears: [u32; 2],
    pub(super) bias: u32,
}

/// The packed weights of a shape: where each comes from, and where it lies.
#[derive(Debug)]
pub(in super::super) struct Weights {
    pub(super) layers: Vec<LayerWeights>,
    pub(super) heads: Vec<HeadWeights>,
    pub(super) refine: Vec<BlockWeights>,
    /// Of two doublings the first, with its bias.
    pub(super) doubling: Option<([u32; 2], u32)>,
    pub(super) output: [u32; 2],
    pub(super) output_bias: u32,
}

impl Weights {
    pub(in super::super) fn pack<'a>(shape: &'a Shape) -> (Self, Packing<'a>) {
        let parameters = shape.parameters();
        let mut packing = Packing::new(shape);
        let block = |packing: &mut Packing<'_>, of: &Residual| BlockWeights {
            conv1: packing.convolution(of.conv1.weight, 5),
            conv2: packing.convolution(of.conv2.weight, 3),
            bias1: packing.feature_biases(of.conv1.bias),
            bias2: packing.feature_biases(of.conv2.bias),
        };
        let layers = parameters
            .layers
            .iter()
            .zip(&shape.latents)
            .map(|(layer, d)| {
                let (linear, linear_bias) =
                    packing.projection_linear(layer.linear.weight, layer.linear.bias, *d);
                LayerWeights {
                    linear,
                    linear_bias,
                    deconv: packing.projection(layer.deconv),
                    block: block(&mut packing, &layer.block),
                }
            })
            .collect();
        let heads = parameters
            .heads
            .iter()
            .zip(shape.latents[1..].iter().zip(&shape.head_channels))
            .map(|(heads, (d, channels))| {
                let both = |of: fn(&Head) -> usize| [of(&heads[0]), of(&heads[1])];
                let outputs = d.next_multiple_of(32);
                let [mean, scale] = both(|head| head.linear.bias);
                let bias = packing.biases(mean, *d, outputs);
                packing.biases(scale, *d, outputs);
                HeadWeights {
                    convs: packing.head_convolutions(both(|head| head.conv.weight), *channels),
                    conv_bias: packing.head_biases(both(|head| head.conv.bias), *channels),
                    linears: packing.head_linears(both(|head| head.linear.weight), *channels, *d),
                    bias,
                }
            })
            .collect();
        let refine = parameters
            .refine
            .iter()
            .map(|of| block(&mut packing, of))
            .collect();
        let doubling = parameters
            .doubling
            .as_ref()
            .map(|of| (packing.doubling(of.weight), packing.feature_biases(of.bias)));
        let (output, output_bias) = (parameters.output.weight, parameters.output.bias);
        let (output, output_bias) = match doubling {
            Some(_) => (packing.image(output), packing.image_biases(output_bias)),
            None => (
                packing.output(output),
                packing.biases(output_bias, shape.image_channels, 4),
            ),
        };
        let weights = Self {
            layers,
            heads,
            refine,
            doubling,
            output,
            output_bias,
        };
        (weights, packing)
    }
}
