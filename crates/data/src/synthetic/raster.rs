//! From strokes to anti-aliased ink: the signed distance to the pen's edge, and blur.

use super::glyph::{Point, Stroke};

/// An elliptic pen: thin and thick strokes come from unequal half-widths.
#[derive(Clone, Copy)]
pub(super) struct Pen {
    /// Half-widths along the digit's own x and y, in digit heights.
    pub(super) half: Point,
    /// Square ends in place of round ones.
    pub(super) square_ends: bool,
}

/// Where a digit stands in the crop: `centre` and the images of the digit's two unit axes.
///
/// The crop runs from 0 to 1 both ways, and one unit of the digit's own frame is its height.
#[derive(Clone, Copy)]
pub(super) struct Placement {
    pub(super) centre: Point,
    pub(super) x_axis: Point,
    pub(super) y_axis: Point,
}

impl Placement {
    /// The same digit moved by `offset` (crop units).
    pub(super) fn moved(mut self, offset: Point) -> Self {
        self.centre = [self.centre[0] + offset[0], self.centre[1] + offset[1]];
        self
    }
}

/// Adds the strokes' coverage (0 to 1) to `ink`, a `size` x `size` plane; overlaps are a union.
///
/// Stroke points fill the box -1..=1; `half_box` is that box's half-size in digit heights.
pub(super) fn draw(
    ink: &mut [f32],
    size: usize,
    strokes: &[Stroke],
    half_box: Point,
    at: &Placement,
    pen: Pen,
) {
    let scale = size as f32;
    // Work where the pen is the unit disc: pixel = centre + a*u + b*v for nib coordinates (u, v).
    let a = [
        at.x_axis[0] * pen.half[0] * scale,
        at.x_axis[1] * pen.half[0] * scale,
    ];
    let b = [
        at.y_axis[0] * pen.half[1] * scale,
        at.y_axis[1] * pen.half[1] * scale,
    ];
    let centre = [at.centre[0] * scale, at.centre[1] * scale];
    let determinant = a[0] * b[1] - a[1] * b[0];
    // Rows of the inverse map: one pixel to the right is (inverse[0][0], inverse[1][0]) in nib units.
    let inverse = [
        [b[1] / determinant, -b[0] / determinant],
        [-a[1] / determinant, a[0] / determinant],
    ];
    let pixel_in_nibs = inverse.iter().flatten().map(|v| v * v).sum::<f32>().sqrt();
    let reach = if pen.square_ends { 1.415 } else { 1.0 } + pixel_in_nibs;
    let pad = [
        reach * length([a[0], b[0]]) + 1.0,
        reach * length([a[1], b[1]]) + 1.0,
    ];
    let to_nib = |p: Point| {
        [
            p[0] * half_box[0] / pen.half[0],
            p[1] * half_box[1] / pen.half[1],
        ]
    };
    let to_pixel = |q: Point| [0, 1].map(|i| centre[i] + a[i] * q[0] + b[i] * q[1]);

    for stroke in strokes {
        let last = stroke.points.len() - 2;
        for (k, pair) in stroke.points.windows(2).enumerate() {
            let piece = Segment {
                from: to_nib(pair[0]),
                to: to_nib(pair[1]),
                square_start: pen.square_ends && !stroke.closed && k == 0,
                square_end: pen.square_ends && !stroke.closed && k == last,
            };
            let (p, q) = (to_pixel(piece.from), to_pixel(piece.to));
            let span = [0, 1].map(|i| {
                let low = (p[i].min(q[i]) - pad[i]).floor().clamp(0.0, scale);
                let high = (p[i].max(q[i]) + pad[i]).ceil().clamp(0.0, scale);
                low as usize..high as usize
            });
            for y in span[1].clone() {
                for x in span[0].clone() {
                    let offset = [x as f32 + 0.5 - centre[0], y as f32 + 0.5 - centre[1]];
                    let nib = [0, 1].map(|i| inverse[i][0] * offset[0] + inverse[i][1] * offset[1]);
                    let (outside, normal) = piece.signed_distance(nib);
                    if outside > pixel_in_nibs {
                        continue;
                    }
                    // Nib units to pixels, along the edge's normal.
                    let slope = length(
                        [0, 1].map(|i| inverse[0][i] * normal[0] + inverse[1][i] * normal[1]),
                    );
                    let coverage = (0.5 - outside / slope).clamp(0.0, 1.0);
                    let pixel = &mut ink[y * size + x];
                    *pixel = pixel.max(coverage);
                }
            }
        }
    }
}

/// A straight piece of a stroke, in the frame where the pen is the unit disc.
struct Segment {
    from: Point,
    to: Point,
    square_start: bool,
    square_end: bool,
}

impl Segment {
    /// Signed distance from the ink's edge (negative inside), and the unit normal there.
    fn signed_distance(&self, point: Point) -> (f32, Point) {
        let along = [self.to[0] - self.from[0], self.to[1] - self.from[1]];
        let rel = [point[0] - self.from[0], point[1] - self.from[1]];
        let squared = (along[0] * along[0] + along[1] * along[1]).max(1e-12);
        let t = (along[0] * rel[0] + along[1] * rel[1]) / squared;
        let past_end = (t < 0.0 && self.square_start) || (t > 1.0 && self.square_end);
        let held = if past_end { t } else { t.clamp(0.0, 1.0) };
        let away = [rel[0] - held * along[0], rel[1] - held * along[1]];
        let distance = length(away);
        // At the very centre line any normal will do.
        let normal = if distance > 1e-6 {
            [away[0] / distance, away[1] / distance]
        } else {
            [0.0, 1.0]
        };
        if past_end {
            let full = squared.sqrt();
            let overshoot = if t < 0.0 { -t * full } else { (t - 1.0) * full };
            if overshoot > distance {
                return (overshoot - 1.0, [along[0] / full, along[1] / full]);
            }
        }
        (distance - 1.0, normal)
    }
}

fn length(v: Point) -> f32 {
    (v[0] * v[0] + v[1] * v[1]).sqrt()
}

/// Blurs a `size` x `size` plane; `sigma` is the standard deviation in pixels along x and y.
///
/// The kernel is the biweight (1 - (k/r)^2)^2 with r = sqrt(7) sigma: bell-shaped, ends in zero,
/// and needs no exponential. Edges repeat the outermost pixel.
pub(super) fn blur(plane: &mut [f32], size: usize, sigma: Point) {
    let mut line = vec![0.0; size];
    for (axis, sigma) in sigma.into_iter().enumerate() {
        let kernel = biweight(sigma);
        if kernel.len() == 1 {
            continue;
        }
        let (step, stride) = if axis == 0 { (1, size) } else { (size, 1) };
        for start in (0..size).map(|k| k * stride) {
            for (k, value) in line.iter_mut().enumerate() {
                *value = plane[start + k * step];
            }
            for k in 0..size {
                let mut sum = kernel[0] * line[k];
                for (d, weight) in kernel.iter().enumerate().skip(1) {
                    sum += weight * (line[k.saturating_sub(d)] + line[(k + d).min(size - 1)]);
                }
                plane[start + k * step] = sum;
            }
        }
    }
}

/// One side of the kernel, its centre first; the whole sums to 1.
fn biweight(sigma: f32) -> Vec<f32> {
    let radius = sigma * 2.645_751_3;
    let mut kernel = vec![1.0];
    let mut total = 1.0;
    let mut d = 1.0;
    while d < radius {
        let ratio = d / radius;
        let weight = (1.0 - ratio * ratio) * (1.0 - ratio * ratio);
        kernel.push(weight);
        total += 2.0 * weight;
        d += 1.0;
    }
    kernel.iter().map(|w| w / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_covers_its_own_area() {
        let size = 40;
        let bar = [Stroke {
            points: vec![[0.0, -1.0], [0.0, 1.0]],
            closed: false,
        }];
        let at = Placement {
            centre: [0.5, 0.5],
            x_axis: [0.5, 0.0],
            y_axis: [0.0, 0.5],
        };
        for (square_ends, ends) in [(true, 4.0), (false, std::f32::consts::PI)] {
            let mut ink = vec![0.0; size * size];
            draw(
                &mut ink,
                size,
                &bar,
                [0.5, 0.5],
                &at,
                Pen {
                    half: [0.1, 0.1],
                    square_ends,
                },
            );
            let area: f32 = ink.iter().sum();
            // 20 pixels long, 4 wide, and the ends: half-width 2 squared times 4 or pi.
            let expected = 20.0 * 4.0 + 4.0 * ends;
            assert!((area - expected).abs() < 1.5, "{area} against {expected}");
        }
    }

    #[test]
    fn blur_keeps_the_sum_and_spreads_as_told() {
        let size = 41;
        let mut plane = vec![0.0; size * size];
        plane[20 * size + 20] = 1.0;
        blur(&mut plane, size, [2.0, 1.0]);
        let sum: f32 = plane.iter().sum();
        assert!((sum - 1.0).abs() < 1e-4);
        let spread = |f: &dyn Fn(usize) -> f32| -> f32 {
            plane.iter().enumerate().map(|(i, v)| v * f(i) * f(i)).sum()
        };
        let x = spread(&|i| (i % size) as f32 - 20.0);
        let y = spread(&|i| (i / size) as f32 - 20.0);
        assert!((x - 4.0).abs() < 0.1 && (y - 1.0).abs() < 0.1, "{x} {y}");
    }
}
