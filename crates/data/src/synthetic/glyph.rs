//! The centre lines of the ten digits, drawn with straight lines, arcs and curves.
//!
//! Coordinates: x to the right and y down, both from -1 to 1 over the box of the centre lines.

use super::random::Draws;

/// A point or a vector, (x, y).
pub(super) type Point = [f32; 2];

/// Straight pieces between one flattened curve and the next.
const ARC_STEPS_PER_QUARTER: f32 = 5.0;
const BEND_STEPS: u32 = 7;

/// The hand that wrote a whole house number: every digit of one scene shares it.
pub(super) struct Style {
    /// 0: round bowls; 0.4: bowls with nearly square corners.
    squareness: f32,
    /// Half the height of the upper bowl of 2, 3 and 8, box half-height = 1.
    upper: f32,
    /// Half the height of the bowl of 5, 6 and 9.
    bowl: f32,
    /// How far open ends curl, in quarter turns.
    curl: f32,
    /// Small strokes across the ends.
    serif: bool,
    one: One,
    three_flat_top: bool,
    four_open: bool,
    six_straight: bool,
    seven_barred: bool,
    /// How much the leg of 7 and the neck of 2 bend.
    bend: f32,
    /// Half-height of the round ends of 0: 1 is an ellipse, less has straight sides.
    zero_round: f32,
}

#[derive(Clone, Copy, PartialEq)]
enum One {
    Bar,
    Flag,
    FlagAndFoot,
}

impl Style {
    pub(super) fn draw(draws: &mut Draws) -> Self {
        let serif = draws.chance(0.2);
        let one = match draws.below(10) {
            _ if serif => One::FlagAndFoot,
            0..=2 => One::Bar,
            3..=7 => One::Flag,
            _ => One::FlagAndFoot,
        };
        Self {
            squareness: draws.range(0.0, 0.35),
            upper: draws.middling(0.42, 0.52),
            bowl: draws.range(0.5, 0.64),
            curl: draws.range(-0.25, 0.2),
            serif,
            one,
            three_flat_top: draws.chance(0.12),
            four_open: draws.chance(0.15),
            six_straight: draws.chance(0.2),
            seven_barred: draws.chance(0.06),
            bend: draws.range(0.0, 0.5),
            zero_round: draws.range(0.5, 1.0),
        }
    }
}

/// One pen stroke as a poly-line; a closed one ends where it began.
pub(super) struct Stroke {
    pub(super) points: Vec<Point>,
    pub(super) closed: bool,
}

/// A digit's strokes, and its width against that of a full-width digit.
pub(super) struct Glyph {
    pub(super) strokes: Vec<Stroke>,
    pub(super) width: f32,
}

/// The glyph of a digit, 0 to 9, in one style.
pub(super) fn glyph(digit: u8, style: &Style) -> Glyph {
    let mut pen = Path::new(style.squareness);
    let mut width = 1.0;
    match digit {
        0 => zero(&mut pen, style),
        1 => width = one(&mut pen, style),
        2 => two(&mut pen, style),
        3 => three(&mut pen, style),
        4 => four(&mut pen, style),
        5 => five(&mut pen, style),
        7 => seven(&mut pen, style),
        8 => eight(&mut pen, style),
        // 6, and 9 before it is turned.
        _ => six(&mut pen, style),
    }
    let mut strokes = pen.finish();
    if digit == 9 {
        // A 9 is a 6 turned half round.
        for point in strokes.iter_mut().flat_map(|s| &mut s.points) {
            *point = [-point[0], -point[1]];
        }
    }
    Glyph { strokes, width }
}

fn zero(pen: &mut Path, style: &Style) {
    let ry = style.zero_round;
    pen.arc([0.0, ry - 1.0], [1.0, ry], 2.0, 4.0);
    pen.arc([0.0, 1.0 - ry], [1.0, ry], 0.0, 2.0);
    pen.close();
}

/// Draws a 1 and returns its width.
fn one(pen: &mut Path, style: &Style) -> f32 {
    match style.one {
        One::Bar => {
            pen.to([0.0, -1.0]);
            pen.to([0.0, 1.0]);
            0.12
        }
        One::Flag => {
            pen.to([-1.0, -0.55 - 0.4 * style.bend]);
            pen.bend([0.3, -0.75], [0.7, -1.0], 1.0 - style.bend);
            pen.to([0.7, 1.0]);
            0.45
        }
        One::FlagAndFoot => {
            pen.to([-0.8, -0.65]);
            pen.to([0.1, -1.0]);
            pen.to([0.1, 1.0]);
            pen.lift();
            pen.to([-0.9, 1.0]);
            pen.to([1.0, 1.0]);
            0.62
        }
    }
}

fn two(pen: &mut Path, style: &Style) {
    let ry = style.upper + 0.05;
    pen.arc([0.0, ry - 1.0], [0.95, ry], 2.0 - style.curl, 4.4);
    pen.bend([0.35 - 0.5 * style.bend, 0.35], [-1.0, 1.0], 1.0);
    pen.to([1.0, 1.0]);
    if style.serif {
        pen.to([1.0, 0.68]);
    }
}

fn three(pen: &mut Path, style: &Style) {
    let (upper, lower) = (style.upper, 1.0 - style.upper);
    if style.three_flat_top {
        pen.to([-0.8, -1.0]);
        pen.to([0.85, -1.0]);
        pen.to([-0.1, 1.0 - 2.0 * lower]);
    } else {
        pen.arc([-0.05, upper - 1.0], [0.88, upper], 2.1 - style.curl, 5.0);
        // The notch between the bowls.
        pen.to([-0.3, 2.0 * upper - 1.0]);
        pen.lift();
        pen.to([-0.3, 2.0 * upper - 1.0]);
    }
    pen.arc([0.0, 1.0 - lower], [1.0, lower], 3.0, 5.9 + style.curl);
}

fn four(pen: &mut Path, style: &Style) {
    let stem = 0.45;
    let bar = if style.four_open { 0.2 } else { 0.42 };
    if style.four_open {
        pen.to([-0.65, -1.0]);
        pen.to([-0.9, bar]);
        pen.to([1.0, bar]);
        pen.lift();
        pen.to([stem, -0.8]);
    } else {
        pen.to([1.0, bar]);
        pen.to([-1.0, bar]);
        pen.to([stem, -1.0]);
    }
    pen.to([stem, 1.0]);
    if style.serif {
        pen.lift();
        pen.to([stem - 0.45, 1.0]);
        pen.to([stem + 0.45, 1.0]);
    }
}

fn five(pen: &mut Path, style: &Style) {
    pen.to([0.85, -1.0]);
    pen.to([-0.72, -1.0]);
    pen.arc(
        [0.0, 1.0 - style.bowl],
        [1.0, style.bowl],
        2.45,
        5.9 + style.curl,
    );
}

fn six(pen: &mut Path, style: &Style) {
    let middle = 1.0 - style.bowl;
    pen.arc([0.0, middle], [1.0, style.bowl], 2.0, 6.0);
    pen.close();
    pen.to([-1.0, middle]);
    if style.six_straight {
        pen.bend([-0.95, -0.25], [0.45, -1.0], 1.0);
    } else {
        let round = style.zero_round.min(0.85);
        pen.arc(
            [0.05, round - 1.0],
            [1.05, round],
            2.0,
            3.6 + 0.6 * style.curl,
        );
    }
}

fn seven(pen: &mut Path, style: &Style) {
    if style.serif {
        pen.to([-1.0, -0.68]);
    }
    pen.to([-1.0, -1.0]);
    pen.to([1.0, -1.0]);
    let foot = -0.35;
    pen.bend(
        [0.325 - 0.6 * style.bend, 0.0 - 0.3 * style.bend],
        [foot, 1.0],
        1.0,
    );
    if style.seven_barred {
        pen.lift();
        pen.to([-0.45, 0.05]);
        pen.to([0.75, 0.05]);
    }
}

fn eight(pen: &mut Path, style: &Style) {
    let (upper, lower) = (style.upper, 1.0 - style.upper);
    pen.arc([0.0, upper - 1.0], [0.87, upper], 1.0, 5.0);
    pen.close();
    pen.arc([0.0, 1.0 - lower], [1.0, lower], 3.0, 7.0);
    pen.close();
}

/// A pen that records strokes.
struct Path {
    squareness: f32,
    done: Vec<Stroke>,
    points: Vec<Point>,
}

impl Path {
    fn new(squareness: f32) -> Self {
        Self {
            squareness,
            done: Vec::new(),
            points: Vec::new(),
        }
    }

    fn to(&mut self, point: Point) {
        self.points.push(point);
    }

    fn lift(&mut self) {
        self.end(false);
    }

    fn close(&mut self) {
        self.end(true);
    }

    fn end(&mut self, closed: bool) {
        let mut points = std::mem::take(&mut self.points);
        if closed && let Some(&first) = points.first() {
            points.push(first);
        }
        if points.len() > 1 {
            self.done.push(Stroke { points, closed });
        }
    }

    fn finish(mut self) -> Vec<Stroke> {
        self.lift();
        self.done
    }

    /// An arc of an ellipse; angles in quarter turns from the right, clockwise as seen (y is down).
    fn arc(&mut self, centre: Point, radii: Point, from: f32, to: f32) {
        let steps = ((to - from) * ARC_STEPS_PER_QUARTER).ceil().max(1.0);
        for k in 0..=steps as u32 {
            let [c, s] = direction(from + (to - from) * k as f32 / steps);
            // Push the diagonal outwards for squarer bowls; the four extreme points stay.
            let [x, y] = [
                c * (1.0 + self.squareness * s * s),
                s * (1.0 + self.squareness * c * c),
            ];
            self.points
                .push([centre[0] + radii[0] * x, centre[1] + radii[1] * y]);
        }
    }

    /// A quadratic curve from the last point; `pull` in 0..=1 is how far the middle bends to `via`.
    fn bend(&mut self, via: Point, to: Point, pull: f32) {
        let Some(&from) = self.points.last() else {
            return;
        };
        let via = [0, 1].map(|i| {
            let straight = 0.5 * (from[i] + to[i]);
            straight + (via[i] - straight) * pull
        });
        for k in 1..=BEND_STEPS {
            let t = k as f32 / BEND_STEPS as f32;
            let u = 1.0 - t;
            self.points
                .push([0, 1].map(|i| u * u * from[i] + 2.0 * u * t * via[i] + t * t * to[i]));
        }
    }
}

/// A unit vector at about `quarters` quarter turns.
///
/// Exact at whole quarters and always of length 1; between them the angle runs a little unevenly
/// (the half-angle tangent is linear). Only + - * / are used, which every machine rounds alike.
pub(super) fn direction(quarters: f32) -> Point {
    let whole = quarters.floor();
    let t = quarters - whole;
    let d = 1.0 + t * t;
    let (c, s) = ((1.0 - t * t) / d, 2.0 * t / d);
    match (whole as i32).rem_euclid(4) {
        0 => [c, s],
        1 => [-s, c],
        2 => [-c, -s],
        _ => [s, -c],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_have_length_one_and_meet_the_axes() {
        assert_eq!(direction(0.0), [1.0, 0.0]);
        assert_eq!(direction(1.0), [0.0, 1.0]);
        assert_eq!(direction(-1.0), [0.0, -1.0]);
        for k in -40..40 {
            let [x, y] = direction(k as f32 * 0.13);
            assert!((x * x + y * y - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn centre_lines_stay_in_their_box() {
        for seed in 0..200 {
            let style = Style::draw(&mut Draws::keyed([seed, 0, 0, 0]));
            for digit in 0..=9 {
                let glyph = glyph(digit, &style);
                assert!(!glyph.strokes.is_empty());
                for [x, y] in glyph.strokes.iter().flat_map(|s| &s.points) {
                    assert!(
                        x.abs() <= 1.2 && y.abs() <= 1.01,
                        "digit {digit}: ({x}, {y})"
                    );
                }
            }
        }
    }
}
