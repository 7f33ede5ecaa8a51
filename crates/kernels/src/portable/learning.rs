//! The gradients of all weights, after a way down and up.

use cubecl::prelude::*;

use super::{
    maps::Block,
    packed::doublings,
    passes::Passes,
    values::Values,
    weight_gradient::{Form, Maps, WeightGradient, bias_gradient},
};
use crate::shape::{Affine, Head, Residual};

/// What is made with the weights of a layer, and their place.
struct Learning<'a, R: Runtime> {
    passes: &'a Passes<'a, R>,
    gradient: &'a Values,
    factor: f32,
}

impl<R: Runtime> Passes<'_, R> {
    /// All weights' gradients, laid out as the weights, of what the way up began with, times `factor`.
    pub(super) fn weight_gradients(&self, factor: f32) -> Values {
        let gradient = Values::empty(self.client, self.places.layout.length);
        let learning = Learning {
            passes: self,
            gradient: &gradient,
            factor,
        };
        for i in 0..self.maps.layers.len() {
            learning.project(i);
            let layer = &self.maps.layers[i];
            learning.block(&layer.block, &self.places.layers[i].block, &layer.map);
        }
        for i in 0..self.maps.heads.len() {
            learning.heads(i);
        }
        let mut above = self.maps.layers.last().map(|layer| &layer.block);
        for (block, places) in self.maps.refine.iter().zip(&self.places.refine) {
            if let Some(above) = above {
                learning.block(block, places, &above.features);
            }
            above = Some(block);
        }
        learning.doublings();
        gradient
    }
}

impl<R: Runtime> Learning<'_, R> {
    /// Whole maps of `size` pixels.
    fn maps<'a>(&self, values: &'a Values, channels: usize, size: usize) -> Maps<'a> {
        Maps {
            values,
            at: 0,
            stride: channels * size * size,
            channels,
            group: 0,
        }
    }

    fn weight(&self, form: Form, [left, right]: [Maps<'_>; 2], at: usize) {
        self.weights(form, [left, right], [at, at]);
    }

    /// Of two groups, or of one if both places are the same.
    fn weights(&self, form: Form, [left, right]: [Maps<'_>; 2], at: [usize; 2]) {
        let of = WeightGradient {
            form,
            images: self.passes.images,
            left,
            right,
            groups: if at[0] == at[1] { 1 } else { 2 },
            at: at[0],
            group: at[1] - at[0],
            factor: self.factor,
        };
        of.run(self.passes.client, self.passes.operands, self.gradient);
    }

    fn bias(&self, maps: Maps<'_>, pixels: usize, at: usize) {
        let Passes { client, images, .. } = self.passes;
        bias_gradient(
            client,
            maps,
            pixels,
            *images,
            self.gradient,
            at,
            self.factor,
        );
    }

    fn project(&self, i: usize) {
        let (layer, places) = (&self.passes.maps.layers[i], &self.passes.places.layers[i]);
        let shape = self.passes.shape;
        let size = shape.size;
        let (input, stride) = self.passes.input(i);
        let input = Maps {
            stride,
            ..self.maps(input, layer.columns.size, 1)
        };
        let seeds = self.maps(&layer.pulled_seed, shape.seed_channels * size * size, 1);
        self.weight(LINEAR, [input, seeds], places.linear.weight);
        self.bias(seeds, 1, places.linear.bias);
        let seed = self.maps(&layer.seed, shape.seed_channels, size);
        let map = self.maps(&layer.pulled_map, shape.features, size);
        self.weight(same(5, size), [seed, map], places.deconv);
    }

    fn block(&self, block: &Block, places: &Residual, x: &Values) {
        let (f, size) = (self.passes.shape.features, self.passes.shape.size);
        let conv = |kernel: usize, pulled: &Values, x: &Values, at: &Affine| {
            let pulled = self.maps(pulled, f, size);
            self.weight(
                same(kernel, size),
                [pulled, self.maps(x, f, size)],
                at.weight,
            );
            self.bias(pulled, size * size, at.bias);
        };
        conv(5, &block.pulled_inner, x, &places.conv1);
        conv(3, &block.pulled_outer, &block.inner, &places.conv2);
    }

    fn heads(&self, i: usize) {
        let (heads, places) = (&self.passes.maps.heads[i], &self.passes.places.heads[i]);
        let shape = self.passes.shape;
        let (c, size) = (shape.head_channels[i], shape.size);
        let small = size - 4;
        let both = |of: fn(&Head) -> usize| [of(&places[0]), of(&places[1])];
        // One of the two heads' maps.
        let half = |values, channels: usize, size: usize| {
            let maps = self.maps(values, 2 * channels, size);
            Maps {
                channels,
                group: channels * size * size,
                ..maps
            }
        };
        let pulled = half(&heads.pulled, c, small);
        let above = &self.passes.maps.layers[i].block.features;
        let form = Form {
            kernel: 5,
            left: small,
            right: size,
            padding: 0,
            stride: 1,
        };
        let features = self.maps(above, shape.features, size);
        self.weights(form, [pulled, features], both(|head| head.conv.weight));
        self.bias(pulled, small * small, places[0].conv.bias);
        self.bias(second(pulled), small * small, places[1].conv.bias);

        let maps = half(&heads.maps, c * small * small, 1);
        let pull = half(
            &heads.given.pull,
            self.passes.maps.layers[i + 1].columns.size,
            1,
        );
        self.weights(LINEAR, [maps, pull], both(|head| head.linear.weight));
        self.bias(pull, 1, places[0].linear.bias);
        self.bias(second(pull), 1, places[1].linear.bias);
    }

    fn doublings(&self) {
        let Passes {
            maps,
            shape,
            places,
            ..
        } = self.passes;
        let f = shape.features;
        let mut features = &maps.last().features;
        let mut size = shape.size;
        for (i, (place, outputs)) in doublings(shape, places).enumerate() {
            let form = Form {
                kernel: 4,
                left: size,
                right: 2 * size,
                padding: 1,
                stride: 2,
            };
            let doubled = maps.doubled.as_ref().filter(|_| i == 0);
            let pulled = doubled.map_or(&maps.pulled_image, |doubled| &doubled.pulled);
            let made = self.maps(pulled, outputs, 2 * size);
            self.weight(form, [self.maps(features, f, size), made], place.weight);
            self.bias(made, 4 * size * size, place.bias);
            size *= 2;
            features = doubled.map_or(features, |doubled| &doubled.features);
        }
    }
}

const LINEAR: Form = Form {
    kernel: 1,
    left: 1,
    right: 1,
    padding: 0,
    stride: 1,
};

/// A convolution that keeps the size.
fn same(kernel: usize, size: usize) -> Form {
    Form {
        kernel,
        left: size,
        right: size,
        padding: kernel / 2,
        stride: 1,
    }
}

/// The second of two groups by itself.
fn second(maps: Maps<'_>) -> Maps<'_> {
    Maps {
        at: maps.group,
        ..maps
    }
}
