//! The masked network of a step (Germain, Gregor, Murray and Larochelle, 2015, *MADE: Masked
//! Autoencoder for Distribution Estimation*).

use burn::{module::Module, nn::Linear, prelude::*, tensor::TensorData};
use shortrun_model::{Init, dense, gelu};

use super::IafConfig;

/// A network with outputs m and s for every input, of which those for an input depend on the inputs
/// before it alone, and on the context.
///
/// Inputs are numbered from 1 in their order. A hidden unit has a degree, the number of the last
/// input it may depend on: it takes connections from units of no larger degree, and an output from
/// units whose degree is below its number. (Degrees begin at 0, not at 1 as in the paper: units of
/// degree 0 carry the context to the first output.)
#[derive(Module, Debug)]
pub struct Made<B: Backend> {
    /// From the latents through the hidden layers to m and s, `[d, 2 d]` in all.
    pub layers: Vec<Linear<B>>,
    /// To the first hidden layer.
    pub context: Linear<B>,
    /// 1 where a layer's weight is used, 0 elsewhere, `[in, out]`.
    masks: Vec<Tensor<B, 2>>,
}

impl<B: Backend> Made<B> {
    /// A network on `latent` dimensions, whose order begins at the last one if `reversed`.
    pub fn new(
        latent: usize,
        settings: &IafConfig,
        reversed: bool,
        init: &mut Init<'_, B>,
    ) -> Self {
        let (depth, width) = (settings.depth, settings.width_for(latent));
        let numbers: Vec<usize> = (1..=latent)
            .map(|place| if reversed { latent + 1 - place } else { place })
            .collect();
        // All degrees below d, evenly.
        let degrees: Vec<usize> = (0..width).map(|unit| unit * latent / width).collect();
        let outputs = numbers.repeat(2);

        let (mut layers, mut masks) = (Vec::new(), Vec::new());
        let mut below = &numbers;
        for _ in 0..depth {
            layers.push(init.linear(below.len(), width));
            masks.push(mask(below, &degrees, |from, to| from <= to, init.device()));
            below = &degrees;
        }
        layers.push(init.linear(below.len(), outputs.len()));
        masks.push(mask(below, &outputs, |from, to| from < to, init.device()));
        Self {
            layers,
            context: init.linear(width, width),
            masks,
        }
    }

    /// m and s.
    ///
    /// # Shapes
    /// `[n, d]` and context `[n, width]` to two of `[n, d]`
    pub fn forward(
        &self,
        latents: Tensor<B, 2>,
        context: Tensor<B, 2>,
    ) -> (Tensor<B, 2>, Tensor<B, 2>) {
        let [_, d] = latents.dims();
        let mut context = Some(dense(&self.context, context));
        let last = self.layers.len() - 1;
        let mut units = latents;
        for (i, (layer, mask)) in self.layers.iter().zip(&self.masks).enumerate() {
            let bias = layer.bias.as_ref().map(|bias| bias.val().unsqueeze());
            units = units.matmul(layer.weight.val() * mask.clone());
            for more in [bias, context.take()].into_iter().flatten() {
                units = units + more;
            }
            if i < last {
                units = gelu(units);
            }
        }
        (units.clone().slice_dim(1, ..d), units.slice_dim(1, d..))
    }
}

fn mask<B: Backend>(
    from: &[usize],
    to: &[usize],
    allowed: impl Fn(usize, usize) -> bool,
    device: &B::Device,
) -> Tensor<B, 2> {
    let values: Vec<f32> = from
        .iter()
        .flat_map(|from| to.iter().map(|to| f32::from(u8::from(allowed(*from, *to)))))
        .collect();
    Tensor::from_data(TensorData::new(values, [from.len(), to.len()]), device)
}
