//! The way down, from latents to images, and the way back up, to the gradient in the latents.
//!
//! The way up leaves out `1 / σ²`, so that operands of 16 bits keep their digits: it is linear in the
//! gradient at the image, and the factor comes in at its end.

use cubecl::prelude::*;

use super::{
    conv::{Convolution, Form, Times},
    latents::Leave,
    maps::{Block, Maps},
    packed::{self, Packed, doublings},
    tile::Operands,
    values::Values,
};
use crate::shape::{Parameters, Residual, Shape};

/// A batch under way.
pub(super) struct Passes<'a, R: Runtime> {
    pub(super) client: &'a ComputeClient<R>,
    pub(super) operands: Operands,
    pub(super) shape: &'a Shape,
    pub(super) places: &'a Parameters,
    pub(super) packed: &'a Packed,
    pub(super) images: usize,
    pub(super) maps: Maps,
    /// `[images, d]`
    pub(super) latents: &'a Values,
}

impl<R: Runtime> Passes<'_, R> {
    /// A convolution of whole maps of so many channels.
    fn conv<'a>(
        &'a self,
        form: Form,
        [channels, outputs]: [usize; 2],
        x: &'a Values,
        weights: &'a Values,
        y: &'a Values,
    ) -> Convolution<'a> {
        Convolution {
            form,
            images: self.images,
            x,
            x_at: 0,
            x_stride: channels * form.from * form.from,
            weights,
            weights_at: 0,
            outputs,
            inner: form.kernel * form.kernel * channels,
            parameters: &self.packed.parameters,
            bias_at: 0,
            bias_group: 0,
            groups: 1,
            x_group: 0,
            weights_group: 0,
            parts: None,
            add: [None; 2],
            by: None,
            y,
            beside: None,
        }
    }

    fn run(&self, convolution: &Convolution<'_>) -> usize {
        convolution.run(self.client, self.operands)
    }

    /// From latents to the image before tanh.
    pub(super) fn down(&self) {
        let mut above: Option<&Block> = None;
        for (i, layer) in self.maps.layers.iter().enumerate() {
            if let Some(above) = above {
                self.heads_down(i - 1, above);
            }
            self.project(i);
            let (weights, places) = (&self.packed.blocks[i], &self.places.layers[i].block);
            self.block_down(&layer.block, weights, places, &layer.map, above);
            above = Some(&layer.block);
        }
        for (i, block) in self.maps.refine.iter().enumerate() {
            let (weights, places) = (&self.packed.refine[i], &self.places.refine[i]);
            if let Some(above) = above {
                self.block_down(block, weights, places, &above.features, None);
            }
            above = Some(block);
        }
        let f = self.shape.features;
        let (mut features, mut size) = (&self.maps.last().features, self.shape.size);
        for (i, (place, outputs)) in doublings(self.shape, self.places).enumerate() {
            let form = Form {
                quarters: true,
                ..Form::conv(3, f, size, 1).biased()
            };
            let weights = &self.packed.doublings[i].down;
            let doubled = self.maps.doubled.as_ref().filter(|_| i == 0);
            let (form, y) = match doubled {
                Some(doubled) => (form.with_gelu(), &doubled.features),
                None => (form, &self.maps.image),
            };
            self.run(&Convolution {
                bias_at: place.bias,
                beside: doubled.map(|doubled| &doubled.slope),
                ..self.conv(form, [f, 4 * outputs], features, weights, y)
            });
            (features, size) = (y, 2 * size);
        }
    }

    /// `p_l`: a layer's input becomes a map.
    fn project(&self, i: usize) {
        let (layer, places) = (&self.maps.layers[i], &self.places.layers[i]);
        let size = self.shape.size;
        let [s, f] = [self.shape.seed_channels, self.shape.features];
        let columns = layer.columns;
        let (input, stride) = self.input(i);
        let form = Form::linear().biased().with_gelu();
        let seeds = s * size * size;
        let parameters = &self.packed.parameters;
        self.run(&Convolution {
            x_stride: stride,
            weights_at: places.linear.weight,
            bias_at: places.linear.bias,
            beside: Some(&layer.seed_slope),
            ..self.conv(form, [columns.size, seeds], input, parameters, &layer.seed)
        });
        let form = Form::conv(5, s, size, 2).with_gelu();
        let weights = &self.packed.deconvs[i].down;
        self.run(&Convolution {
            beside: Some(&layer.map_slope),
            ..self.conv(form, [s, f], &layer.seed, weights, &layer.map)
        });
    }

    /// What a layer projects, and how far its images are apart: the top layer's are columns of the
    /// latents, and the first of them.
    pub(super) fn input(&self, i: usize) -> (&Values, usize) {
        match i.checked_sub(1) {
            None => (self.latents, self.shape.dim()),
            Some(above) => (
                &self.maps.heads[above].given.latent,
                self.maps.layers[i].columns.size,
            ),
        }
    }

    /// `GELU(conv2(GELU(conv1(x)))) + x + above`
    fn block_down(
        &self,
        block: &Block,
        weights: &packed::Block,
        places: &Residual,
        x: &Values,
        above: Option<&Block>,
    ) {
        let (f, size) = (self.shape.features, self.shape.size);
        let form = Form::conv(5, f, size, 2).biased().with_gelu();
        self.run(&Convolution {
            bias_at: places.conv1.bias,
            beside: Some(&block.inner_slope),
            ..self.conv(form, [f, f], x, &weights.conv1.down, &block.inner)
        });
        let form = Form {
            adds: 1 + usize::from(above.is_some()),
            ..Form::conv(3, f, size, 1).biased().with_gelu()
        };
        let down = &weights.conv2.down;
        self.run(&Convolution {
            bias_at: places.conv2.bias,
            beside: Some(&block.outer_slope),
            add: [Some(x), above.map(|above| &above.features)],
            ..self.conv(form, [f, f], &block.inner, down, &block.features)
        });
    }

    /// Latents of the layer below the block: `mu + sigma e`.
    fn heads_down(&self, i: usize, above: &Block) {
        let (heads, places) = (&self.maps.heads[i], &self.places.heads[i]);
        let [mean, scale] = places;
        let (f, c, size) = (
            self.shape.features,
            self.shape.head_channels[i],
            self.shape.size,
        );
        let form = Form::conv(5, f, size, 0).biased().with_gelu();
        let weights = &self.packed.heads[i].down;
        self.run(&Convolution {
            groups: 2,
            weights_group: 25 * f * c,
            bias_at: mean.conv.bias,
            bias_group: scale.conv.bias - mean.conv.bias,
            beside: Some(&heads.slope),
            ..self.conv(form, [f, c], &above.features, weights, &heads.maps)
        });
        let columns = self.maps.layers[i + 1].columns;
        let length = c * (size - 4) * (size - 4);
        let parameters = &self.packed.parameters;
        let form = Form::linear();
        let parts = self.run(&Convolution {
            groups: 2,
            x_stride: 2 * length,
            x_group: length,
            weights_at: mean.linear.weight,
            weights_group: scale.linear.weight - mean.linear.weight,
            parts: Some(heads.parts),
            ..self.conv(
                form,
                [length, columns.size],
                &heads.maps,
                parameters,
                &heads.sums,
            )
        });
        heads.given.down(
            self.client,
            columns,
            &heads.sums,
            parts,
            parameters,
            [mean.linear.bias, scale.linear.bias],
            self.latents,
            self.shape.scale,
        );
    }

    /// From the gradient before tanh to that in the latents, each layer's to `leave`.
    pub(super) fn up(&self, leave: &Leave<'_>) {
        let [f, c] = [self.shape.features, self.shape.image_channels];
        let halving = |inputs: usize, to: usize| Form {
            to,
            stride: 2,
            ..Form::conv(4, inputs, 2 * to, 1)
        };
        let size = self.shape.size;
        let (mut channels, mut pulled) = (c, &self.maps.pulled_image);
        if let (Some(doubled), [_, last]) = (&self.maps.doubled, &*self.packed.doublings) {
            let form = Form {
                times: Times::Only,
                ..halving(c, 2 * size)
            };
            self.run(&Convolution {
                by: Some(&doubled.slope),
                ..self.conv(form, [c, f], pulled, &last.up, &doubled.pulled)
            });
            (channels, pulled) = (f, &doubled.pulled);
        }
        if let Some(first) = self.packed.doublings.first() {
            let form = halving(channels, size);
            self.pull(
                form,
                [channels, f],
                pulled,
                &first.up,
                None,
                self.maps.last(),
            );
        }

        let last_layer = self.maps.layers.len() - 1;
        for (i, block) in self.maps.refine.iter().enumerate().rev() {
            let above = match i.checked_sub(1) {
                Some(above) => &self.maps.refine[above],
                None => &self.maps.layers[last_layer].block,
            };
            let weights = &self.packed.refine[i];
            self.inner_up(block, weights);
            let form = Form::conv(5, f, self.shape.size, 2);
            let (x, weights) = (&block.pulled_inner, &weights.conv1.up);
            self.pull(form, [f, f], x, weights, Some(&block.pulled), above);
        }
        for (i, layer) in self.maps.layers.iter().enumerate().rev() {
            let parts = self.layer_up(i);
            let heads = i.checked_sub(1).map(|above| &self.maps.heads[above]);
            let given = heads.map(|heads| &heads.given);
            leave.run(
                self.client,
                layer.columns,
                &layer.pulled_latent,
                parts,
                given,
            );
            if i > 0 {
                self.heads_up(i - 1);
            }
        }
    }

    /// The gradient in a block's features, and its product with the outer slope.
    fn pull(
        &self,
        form: Form,
        channels: [usize; 2],
        x: &Values,
        weights: &Values,
        add: Option<&Values>,
        to: &Block,
    ) {
        let form = Form {
            adds: usize::from(add.is_some()),
            times: Times::Beside,
            ..form
        };
        self.run(&Convolution {
            add: [add, None],
            by: Some(&to.outer_slope),
            beside: Some(&to.pulled_outer),
            ..self.conv(form, channels, x, weights, &to.pulled)
        });
    }

    /// From a block's features to what its first convolution gave.
    fn inner_up(&self, block: &Block, weights: &packed::Block) {
        let f = self.shape.features;
        let form = Form {
            times: Times::Only,
            ..Form::conv(3, f, self.shape.size, 1)
        };
        let up = &weights.conv2.up;
        self.run(&Convolution {
            by: Some(&block.inner_slope),
            ..self.conv(form, [f, f], &block.pulled_outer, up, &block.pulled_inner)
        });
    }

    /// From the features of a layer to its input; of how many parts that is.
    fn layer_up(&self, i: usize) -> usize {
        let (layer, weights) = (&self.maps.layers[i], &self.packed.blocks[i]);
        let [s, f] = [self.shape.seed_channels, self.shape.features];
        let size = self.shape.size;
        self.inner_up(&layer.block, weights);
        let form = Form {
            adds: 1,
            times: Times::Only,
            ..Form::conv(5, f, size, 2)
        };
        let (x, up) = (&layer.block.pulled_inner, &weights.conv1.up);
        self.run(&Convolution {
            add: [Some(&layer.block.pulled), None],
            by: Some(&layer.map_slope),
            ..self.conv(form, [f, f], x, up, &layer.pulled_map)
        });
        let form = Form {
            times: Times::Only,
            ..Form::conv(5, f, size, 2)
        };
        let (x, up) = (&layer.pulled_map, &self.packed.deconvs[i].up);
        self.run(&Convolution {
            by: Some(&layer.seed_slope),
            ..self.conv(form, [f, s], x, up, &layer.pulled_seed)
        });
        let form = Form {
            transposed: true,
            ..Form::linear()
        };
        let channels = [s * size * size, layer.columns.size];
        let (x, y) = (&layer.pulled_seed, &layer.pulled_latent);
        self.run(&Convolution {
            weights_at: self.places.layers[i].linear.weight,
            parts: Some(layer.latent_parts),
            ..self.conv(form, channels, x, &self.packed.parameters, y)
        })
    }

    /// From the heads' results to the features of the block above them.
    fn heads_up(&self, i: usize) {
        let (heads, [mean, scale]) = (&self.maps.heads[i], &self.places.heads[i]);
        let (f, c, size) = (
            self.shape.features,
            self.shape.head_channels[i],
            self.shape.size,
        );
        let d = self.maps.layers[i + 1].columns.size;
        let length = c * (size - 4) * (size - 4);
        let form = Form {
            transposed: true,
            times: Times::Only,
            ..Form::linear()
        };
        let (x, parameters) = (&heads.given.pull, &self.packed.parameters);
        self.run(&Convolution {
            groups: 2,
            x_stride: 2 * d,
            x_group: d,
            weights_at: mean.linear.weight,
            weights_group: scale.linear.weight - mean.linear.weight,
            by: Some(&heads.slope),
            ..self.conv(form, [d, length], x, parameters, &heads.pulled)
        });
        let form = Form::conv(5, 2 * c, size - 4, 4);
        let weights = &self.packed.heads[i].up;
        let (above, below) = (&self.maps.layers[i].block, &self.maps.layers[i + 1].block);
        let add = Some(&below.pulled);
        self.pull(form, [2 * c, f], &heads.pulled, weights, add, above);
    }
}
