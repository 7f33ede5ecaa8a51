//! One house number as it hangs on the wall: which digits, where, how coloured, in what light.

use super::glyph::{Glyph, Point, Style, direction, glyph};
use super::random::Draws;
use super::raster::{self, Pen, Placement, blur};
use super::surface::{Colour, Surface, mix, tinted};

/// All that is decided before any pixel is drawn, so that every image size shows the same scene.
pub(super) struct Scene {
    digits: Vec<Sign>,
    pen: Pen,
    ink: Colour,
    surface: Surface,
    shadow: Option<Shadow>,
    outline: Option<Colour>,
    light: Light,
}

/// One digit in its place.
struct Sign {
    glyph: Glyph,
    half_box: Point,
    at: Placement,
}

/// Raised numerals throw a shadow.
struct Shadow {
    offset: Point,
    softness: f32,
    depth: f32,
}

/// Brightness over the crop, and haze.
struct Light {
    level: Colour,
    slope: Point,
    /// The edge of a large soft shadow: a line through a point, and how dark the far side is.
    edge: Option<(Point, Point, f32)>,
    haze: Colour,
    haze_depth: f32,
    /// How much colour the camera keeps, 0 to 1.
    saturation: f32,
}

impl Scene {
    /// A number with `label` at the centre of the crop.
    pub(super) fn draw(label: u8, draws: &mut Draws) -> Self {
        let row = Row::draw(draws);
        let digits = row.write(label, draws);
        let pen = row.pen;
        let surface = Surface::draw(draws);
        let ink = ink_colour(surface.colour, draws);
        let outline = draws.chance(0.06).then(|| {
            let dark = luminance(ink) > 0.4;
            tinted(draws, [if dark { 0.08 } else { 0.85 }; 3], 0.05)
        });
        let shadow = draws.chance(0.25).then(|| Shadow {
            offset: [draws.middling(-0.07, 0.07), draws.range(0.0, 0.06)],
            softness: draws.range(0.0, 0.03),
            depth: draws.range(0.2, 0.65),
        });
        Self {
            digits,
            pen,
            ink,
            surface,
            shadow,
            outline,
            light: Light::draw(draws),
        }
    }

    /// The scene's light, 0 (black) to 1 (white): three planes of `size` x `size`, red green blue.
    pub(super) fn render(&self, size: usize) -> [Vec<f32>; 3] {
        let ink = self.coverage(size, self.pen, [0.0; 2]);
        let outline = self.outline.map(|colour| {
            let half = self.pen.half.map(|h| h + 0.035);
            (
                self.coverage(size, Pen { half, ..self.pen }, [0.0; 2]),
                colour,
            )
        });
        let shadow = self.shadow.as_ref().map(|shadow| {
            let mut plane = self.coverage(size, self.pen, shadow.offset);
            blur(&mut plane, size, [shadow.softness * size as f32; 2]);
            (plane, shadow.depth)
        });

        let pixel = 1.0 / size as f32;
        let mut planes = [0; 3].map(|_| vec![0.0; size * size]);
        for k in 0..size * size {
            let point = [(k % size) as f32 + 0.5, (k / size) as f32 + 0.5].map(|x| x * pixel);
            let mut colour = self.surface.at(point, pixel);
            if let Some((plane, depth)) = &shadow {
                colour = colour.map(|c| c * (1.0 - depth * plane[k]));
            }
            if let Some((plane, edge)) = &outline {
                colour = mix(colour, *edge, plane[k]);
            }
            let lit = self.light.on(mix(colour, self.ink, ink[k]), point);
            for (plane, value) in planes.iter_mut().zip(lit) {
                plane[k] = value;
            }
        }
        planes
    }

    fn coverage(&self, size: usize, pen: Pen, offset: Point) -> Vec<f32> {
        let mut plane = vec![0.0; size * size];
        for sign in &self.digits {
            let at = sign.at.moved(offset);
            raster::draw(
                &mut plane,
                size,
                &sign.glyph.strokes,
                sign.half_box,
                &at,
                pen,
            );
        }
        plane
    }
}

/// How one number is written and hung: what its digits have in common.
struct Row {
    style: Style,
    pen: Pen,
    /// Half the width of a full-width digit, and the gap between two, in digit heights.
    half_width: f32,
    gap: f32,
    /// The middle of the labelled digit in the crop, and the row's axes, one digit height long.
    centre: Point,
    x_axis: Point,
    y_axis: Point,
}

impl Row {
    fn draw(draws: &mut Draws) -> Self {
        let style = Style::draw(draws);
        let half_width = draws.range(0.2, 0.34);
        // Heavy pens need wide digits, or the counters fill up.
        let thick = 0.036 + draws.unit() * (0.2 * half_width - 0.004);
        let thin = if draws.chance(0.3) {
            draws.range(0.45, 0.9)
        } else {
            draws.range(0.85, 1.0)
        };
        let height = draws.middling(0.52, 0.94);
        let right = direction(draws.middling(-0.11, 0.11));
        let slant = if draws.chance(0.25) {
            draws.range(0.05, 0.3)
        } else {
            draws.middling(-0.06, 0.06)
        };
        // Down the page, leaning: the top of the digit goes right.
        let down = [-right[1] - slant * right[0], right[0] - slant * right[1]];
        Self {
            style,
            pen: Pen {
                half: [thick, thick * thin],
                square_ends: draws.chance(0.55),
            },
            half_width,
            gap: draws.range(0.03, 0.2),
            centre: [draws.middling(0.44, 0.56), draws.middling(0.45, 0.55)],
            x_axis: right.map(|x| x * height),
            y_axis: down.map(|y| y * height),
        }
    }

    /// Half the inked width of a digit, in digit heights.
    fn reach(&self, glyph: &Glyph) -> f32 {
        (self.half_width - self.pen.half[0]) * glyph.width + self.pen.half[0]
    }

    /// The digit hung `shift` digit heights to the right of the labelled one.
    fn hang(&self, glyph: Glyph, shift: f32, draws: &mut Draws) -> Sign {
        // By hand: never quite in line.
        let (dx, dy) = (
            shift + draws.middling(-0.03, 0.03),
            draws.middling(-0.04, 0.04),
        );
        let half_box = [
            self.reach(&glyph) - self.pen.half[0],
            0.5 - self.pen.half[1],
        ];
        let centre = [0, 1].map(|i| self.centre[i] + self.x_axis[i] * dx + self.y_axis[i] * dy);
        Sign {
            glyph,
            half_box,
            at: Placement {
                centre,
                x_axis: self.x_axis,
                y_axis: self.y_axis,
            },
        }
    }

    /// The labelled digit and the neighbours that reach into the crop.
    fn write(&self, label: u8, draws: &mut Draws) -> Vec<Sign> {
        let middle = glyph(label, &self.style);
        let edge = self.reach(&middle);
        let mut digits = vec![self.hang(middle, 0.0, draws)];
        // How many digits stand left and right; more than two cannot be seen.
        let length = 1 + [0, 0, 1, 1, 1, 2, 2, 2, 2, 3][draws.below(10) as usize];
        let left = draws.below(length);
        for (side, count) in [(-1.0, left), (1.0, length - 1 - left)] {
            let mut edge = edge;
            for _ in 0..count.min(2) {
                let glyph = glyph(draws.below(10) as u8, &self.style);
                let reach = self.reach(&glyph);
                digits.push(self.hang(glyph, side * (edge + self.gap + reach), draws));
                edge += self.gap + 2.0 * reach;
            }
        }
        digits
    }
}

/// The least difference of luminance at which a number is still painted so.
const MIN_CONTRAST: f32 = 0.22;

/// A colour of paint or metal that stands out, more or less, from what is behind it.
fn ink_colour(behind: Colour, draws: &mut Draws) -> Colour {
    let light = luminance(behind);
    // Grounds in the middle take either polarity.
    let darker = light > draws.range(0.28, 0.58);
    let base = if darker {
        match draws.below(20) {
            0..=13 => [draws.range(0.01, 0.12); 3],
            14..=16 => [0.05, 0.08, 0.3],
            17 => [0.5, 0.05, 0.06],
            18 => [0.25, 0.13, 0.08],
            _ => [0.06, 0.22, 0.12],
        }
    } else {
        match draws.below(20) {
            0..=12 => [draws.range(0.75, 1.05); 3],
            13..=15 => [0.85, 0.7, 0.42],
            16..=17 => [0.9, 0.85, 0.7],
            18 => [0.6, 0.45, 0.2],
            _ => [0.75, 0.9, 0.6],
        }
    };
    let full = tinted(draws, base, 0.05);
    // Weathered paint fades towards its ground.
    let fade = draws.unit();
    let ink = mix(behind, full, 1.0 - 0.5 * fade * fade);
    if (luminance(ink) - light).abs() >= MIN_CONTRAST {
        ink
    } else if darker {
        [0.03; 3]
    } else {
        [0.95; 3]
    }
}

fn luminance(colour: Colour) -> f32 {
    0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]
}

impl Light {
    fn draw(draws: &mut Draws) -> Self {
        // Daylight between shade and sun, from bluish to warm.
        let level = draws.range(0.5, 1.32);
        // A little bluish in the mean, as street photographs are.
        let warmth = 0.05 * draws.bell() - 0.02;
        let green = 0.012 * draws.bell();
        let steep = 0.35 * draws.unit();
        let towards = direction(draws.range(0.0, 4.0));
        let edge = draws.chance(0.07).then(|| {
            let through = [draws.range(0.2, 0.8), draws.range(0.2, 0.8)];
            (
                through,
                direction(draws.range(0.0, 4.0)),
                draws.range(0.15, 0.5),
            )
        });
        let haze = draws.range(0.4, 0.8);
        Self {
            level: [
                level * (1.0 + warmth),
                level * (1.0 + green),
                level * (1.0 - warmth),
            ],
            slope: towards.map(|x| x * steep),
            edge,
            haze: [haze * 0.97, haze * 0.96, haze * 1.07],
            haze_depth: draws.range(0.0, 0.2),
            saturation: draws.range(0.4, 1.0),
        }
    }

    /// What the camera sees of `colour` at a point of the crop.
    fn on(&self, colour: Colour, point: Point) -> Colour {
        let from_middle = [point[0] - 0.5, point[1] - 0.5];
        let mut shade = 1.0 + self.slope[0] * from_middle[0] + self.slope[1] * from_middle[1];
        if let Some((through, normal, depth)) = self.edge {
            let beyond = (point[0] - through[0]) * normal[0] + (point[1] - through[1]) * normal[1];
            shade *= 1.0 - depth * (beyond / 0.15 + 0.5).clamp(0.0, 1.0);
        }
        let grey = luminance(colour);
        let colour = mix([grey; 3], colour, self.saturation);
        [0, 1, 2].map(|i| {
            let seen = (colour[i] * self.level[i] * shade).max(0.0);
            seen + (self.haze[i] - seen) * self.haze_depth
        })
    }
}
