//! What the number is mounted on: paint, grain, siding or brick, and sometimes a plate.

use super::glyph::{Point, direction};
use super::random::Draws;

/// Reflectance, red green blue, 0 to 1.
pub(super) type Colour = [f32; 3];

/// Wall or plate behind the digits.
pub(super) struct Surface {
    pub(super) colour: Colour,
    grain: Grain,
    boards: Option<Boards>,
    plate: Option<Plate>,
    wall: Colour,
}

/// Smooth patches: values on a coarse lattice, read between by smooth interpolation.
struct Grain {
    depth: f32,
    lattice: [[f32; Self::SIDE]; Self::SIDE],
    cells: Point,
}

/// Dark parallel joints, as between boards or bricks.
struct Boards {
    along: Point,
    pitch: f32,
    phase: f32,
    depth: f32,
}

/// A plate that ends within the crop, or nearly; the wall shows beyond it.
struct Plate {
    centre: Point,
    half: Point,
    oval: bool,
    rim: Option<Colour>,
}

impl Surface {
    pub(super) fn draw(draws: &mut Draws) -> Self {
        let colour = paint(draws);
        Self {
            colour,
            grain: Grain::draw(draws),
            boards: draws.chance(0.14).then(|| Boards::draw(draws)),
            plate: draws.chance(0.22).then(|| Plate::draw(draws)),
            wall: paint(draws),
        }
    }

    /// Reflectance at a point of the crop (0..1 both ways); `pixel` is a pixel's width there.
    pub(super) fn at(&self, point: Point, pixel: f32) -> Colour {
        let mut colour = self.colour;
        if let Some(plate) = &self.plate {
            let outside = plate.outside(point);
            let beyond = ramp(outside, pixel);
            if let Some(rim) = plate.rim {
                let on_rim = ramp(outside + 0.07, pixel) * (1.0 - ramp(outside + 0.025, pixel));
                colour = mix(colour, rim, on_rim);
            }
            colour = mix(colour, self.wall, beyond);
        }
        let mut shade = 1.0 + self.grain.at(point);
        if let Some(boards) = &self.boards {
            shade *= boards.at(point, pixel);
        }
        colour.map(|c| c * shade)
    }
}

/// A paint or material one meets behind house numbers.
fn paint(draws: &mut Draws) -> Colour {
    let base = match draws.below(100) {
        0..=38 => [draws.range(0.62, 0.95); 3],
        39..=57 => [draws.range(0.3, 0.62); 3],
        58..=76 => [draws.range(0.03, 0.2); 3],
        // Wood, brick, stone.
        77..=79 => [0.42, 0.28, 0.2],
        80..=82 => [0.6, 0.33, 0.22],
        83..=87 => [0.72, 0.62, 0.46],
        // Enamel plates.
        88..=92 => [0.08, 0.14, 0.42],
        93..=95 => [0.1, 0.36, 0.55],
        96..=97 => [0.1, 0.3, 0.17],
        _ => [0.5, 0.08, 0.09],
    };
    tinted(draws, base, 0.04)
}

/// `colour` with each channel scaled by 1 plus about `spread`.
pub(super) fn tinted(draws: &mut Draws, colour: Colour, spread: f32) -> Colour {
    let all = draws.middling(0.8, 1.2);
    colour.map(|c| (c * (all + spread * draws.bell())).clamp(0.015, 1.0))
}

/// `weight` = 0 gives `a`, 1 gives `b`.
pub(super) fn mix(a: Colour, b: Colour, weight: f32) -> Colour {
    [0, 1, 2].map(|i| a[i] + (b[i] - a[i]) * weight)
}

/// 0 below, 1 above zero, with a one-pixel edge.
fn ramp(x: f32, pixel: f32) -> f32 {
    (x / pixel + 0.5).clamp(0.0, 1.0)
}

impl Grain {
    const SIDE: usize = 14;

    fn draw(draws: &mut Draws) -> Self {
        let u = draws.unit();
        // At most SIDE - 2 cells, so that every corner exists.
        let cells = draws.range(2.0, 12.0);
        let stretch = draws.range(0.4, 1.0);
        Self {
            depth: 0.01 + 0.09 * u * u,
            lattice: std::array::from_fn(|_| std::array::from_fn(|_| draws.bell())),
            cells: if draws.chance(0.5) {
                [cells, cells * stretch]
            } else {
                [cells * stretch, cells]
            },
        }
    }

    fn at(&self, point: Point) -> f32 {
        let axis = |i: usize| {
            let x = point[i] * self.cells[i];
            let whole = x.floor();
            let t = x - whole;
            (whole as usize, t * t * (3.0 - 2.0 * t))
        };
        let ((x, u), (y, v)) = (axis(0), axis(1));
        let row = |y: usize| self.lattice[y][x] + (self.lattice[y][x + 1] - self.lattice[y][x]) * u;
        self.depth * (row(y) + (row(y + 1) - row(y)) * v)
    }
}

impl Boards {
    fn draw(draws: &mut Draws) -> Self {
        // Mostly level, some upright.
        let upright = if draws.chance(0.25) { 0.0 } else { 1.0 };
        Self {
            along: direction(upright + draws.middling(-0.06, 0.06)),
            pitch: draws.range(0.18, 0.6),
            phase: draws.unit(),
            depth: draws.range(0.1, 0.45),
        }
    }

    fn at(&self, point: Point, pixel: f32) -> f32 {
        let x = (point[0] * self.along[0] + point[1] * self.along[1]) / self.pitch + self.phase;
        let from_joint = (x - x.floor() - 0.5).abs() * self.pitch;
        let half_joint = 0.02;
        1.0 - self.depth * (1.0 - ramp(from_joint - half_joint, pixel.max(0.02)))
    }
}

impl Plate {
    fn draw(draws: &mut Draws) -> Self {
        let oval = draws.chance(0.35);
        let centre = [draws.middling(0.1, 0.9), draws.middling(0.42, 0.58)];
        // Wide, as for several digits; ovals need more room for the same number.
        let half = if oval {
            [draws.range(0.5, 0.95), draws.range(0.5, 0.75)]
        } else {
            [draws.range(0.45, 1.0), draws.range(0.4, 0.6)]
        };
        let rim = draws.chance(0.4).then(|| {
            let grey = if draws.chance(0.5) { 0.85 } else { 0.1 };
            tinted(draws, [grey; 3], 0.05)
        });
        Self {
            centre,
            half,
            oval,
            rim,
        }
    }

    /// About the distance outside the edge, in crop units; negative inside.
    fn outside(&self, point: Point) -> f32 {
        let d = [0, 1].map(|i| (point[i] - self.centre[i]).abs());
        if self.oval {
            let r = [0, 1].map(|i| d[i] / self.half[i]);
            ((r[0] * r[0] + r[1] * r[1]).sqrt() - 1.0) * self.half[0].min(self.half[1])
        } else {
            (d[0] - self.half[0]).max(d[1] - self.half[1])
        }
    }
}
