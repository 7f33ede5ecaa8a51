//! The last features, the image, and the gradient there.

use super::{
    super::{op, shape::CHANNELS},
    maps::Planes,
    ops::{A, B, Builder, Op, of_kind},
};

/// What two doublings have.
struct Finer {
    planes: Planes,
    /// Weights of the first, there and back, and its bias.
    doubling: [u32; 2],
    bias: u32,
    /// Stored maps of the four maps between them.
    maps: u32,
}

impl Builder<'_> {
    /// The last features.
    fn last_features(&self) -> Vec<Op> {
        let layers = self.shape.latents.len();
        let mut ops = self.features(layers - 1);
        for (block, weights) in self.weights.refine.iter().enumerate() {
            for op in self.residual(weights, layers + block) {
                ops.extend(self.each_block(op));
            }
        }
        ops
    }

    /// The last features and the image.
    pub(super) fn to_image(&self) -> Vec<Op> {
        let mut ops = self.last_features();
        match self.finer() {
            Some(finer) => ops.extend(self.finer_image(&finer)),
            None => ops.push(self.output()),
        }
        ops
    }

    /// The same, and the way back to the last layer's latents.
    pub(super) fn turn(&self) -> Vec<Op> {
        let layers = self.shape.latents.len();
        let mut ops = self.last_features();
        // From the last block to the first: each one's gradient in tile A; times its outer slope in
        // tile B.
        let mut above = match self.finer() {
            Some(finer) => {
                ops.extend(self.finer_image(&finer));
                ops.extend(self.finer_gradients(&finer));
                self.coarser(&finer)
            }
            None => self.output(),
        };
        for (block, weights) in self.weights.refine.iter().enumerate().rev() {
            self.split(&mut above, layers + block);
            ops.extend(self.each_block(above));
            let [inner, outer] = self.residual_back(weights, layers + block);
            ops.extend(self.each_block(inner));
            above = outer;
        }
        self.split(&mut above, layers - 1);
        // Kept for the layer above.
        if layers > 1 {
            above[op::FLAGS] |= op::STORES;
            above[op::TO] = self.maps.gradient;
        }
        ops.extend(self.each_block(above));
        ops.extend(self.to_latents(layers - 1));
        ops
    }

    /// The last features, in tile A.
    fn read_features(&self, op: &mut Op) {
        let last = self.maps.block.len() - 1;
        self.read(op, A, self.kept(|kept| kept.features[last]));
    }

    /// The image, and the gradient in the last features.
    fn output(&self) -> Op {
        let mut output = of_kind(op::OUTPUT);
        output[op::WEIGHTS] = self.weights.output[0];
        output[op::WEIGHTS2] = self.weights.output[1];
        output[op::BIAS] = self.weights.output_bias;
        self.read_features(&mut output);
        if let (true, Some(kept)) = (self.keep, &self.maps.kept) {
            output[op::FLAGS] |= op::KEEPS;
            output[op::IMAGE_TO] = kept.image;
        }
        output
    }

    /// What two doublings have.
    ///
    /// A map of twice the size is four maps, one for each of the pixels that a pixel becomes, and both
    /// transposed convolutions are convolutions 3x3 between such maps: from one map to four, and from four
    /// to the four by four pixels of the image in up to four channels, which are 64 in all.
    fn finer(&self) -> Option<Finer> {
        let (doubling, bias) = self.weights.doubling?;
        Some(Finer {
            planes: self.maps.planes?,
            doubling,
            bias,
            maps: 4 * self.blocks,
        })
    }

    /// From the last features to the image's gradient, in tile B.
    fn finer_image(&self, of: &Finer) -> Vec<Op> {
        let mut doubled = of_kind(op::CONV3);
        doubled[op::FLAGS] = op::HAS_BIAS | op::GELU | op::STORES;
        doubled[op::WEIGHTS] = of.doubling[0];
        doubled[op::SLOPE] = of.planes.slopes;
        doubled[op::TO] = of.planes.values;
        self.read_features(&mut doubled);
        let mut ops: Vec<Op> = (0..of.maps)
            .map(|number| {
                let mut own = self.block(doubled, number);
                own[op::BIAS] = of.bias + number % self.blocks * CHANNELS as u32;
                own
            })
            .collect();
        let mut image = of_kind(op::CONV3);
        image[op::FLAGS] = op::IMAGE | op::MAPS | op::HAS_BIAS | op::WRITES_TILE;
        image[op::WEIGHTS] = self.weights.output[0];
        image[op::BIAS] = self.weights.output_bias;
        image[op::CHUNKS] = of.maps;
        image[op::CHUNKS_AT] = of.planes.values;
        image[op::TO_TILE] = B;
        if let (true, Some(kept)) = (self.keep, &self.maps.kept) {
            image[op::FLAGS] |= op::STORES;
            image[op::TO] = kept.image;
        }
        ops.push(image);
        ops
    }

    /// To the gradients of the four maps.
    fn finer_gradients(&self, of: &Finer) -> Vec<Op> {
        let mut back = of_kind(op::CONV3);
        back[op::FLAGS] = op::TIMES_SLOPE | op::STORES;
        back[op::FROM_TILE] = B;
        back[op::WEIGHTS] = self.weights.output[1];
        back[op::SLOPE] = of.planes.slopes;
        back[op::TO] = of.planes.gradients;
        (0..of.maps)
            .map(|number| self.block(back, number))
            .collect()
    }

    /// To the gradient in the last features.
    fn coarser(&self, of: &Finer) -> Op {
        let mut coarser = of_kind(op::CONV3);
        coarser[op::FLAGS] = op::MAPS;
        coarser[op::WEIGHTS] = of.doubling[1];
        coarser[op::CHUNKS] = of.maps;
        coarser[op::CHUNKS_AT] = of.planes.gradients;
        coarser
    }
}
