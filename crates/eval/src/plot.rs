//! Line plots and histograms as SVG.

use std::path::Path;

use plotters::prelude::*;

use crate::{Bars, EvalError};

/// Panels in one SVG file, side by side in rows of at most three.
#[derive(Clone, Debug, Default)]
pub struct Plot {
    /// Left to right, and then downwards.
    pub panels: Vec<Panel>,
}

/// One pair of axes.
#[derive(Clone, Debug, Default)]
pub struct Panel {
    /// Above the axes.
    pub title: String,
    /// Under the horizontal axis.
    pub x: String,
    /// Beside the vertical axis.
    pub y: String,
    /// Whether the horizontal axis is logarithmic; its values must then be above 0.
    pub log_x: bool,
    /// Likewise of the vertical axis.
    pub log_y: bool,
    /// A vertical line at this value, with its label.
    pub mark: Option<(f64, String)>,
    /// What is drawn.
    pub series: Vec<Series>,
    /// A histogram, drawn instead of the lines.
    pub bars: Option<Bars>,
}

/// A line through points.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Shown in the legend if there is more than one.
    pub name: String,
    /// Points, in the order in which the line joins them; those that are not finite, are beyond 1e300
    /// on an axis, or have no logarithm where one is asked for, are left out.
    pub points: Vec<(f64, f64)>,
}

const WIDTH: u32 = 640;
const HEIGHT: u32 = 420;
/// Panels side by side at most.
const COLUMNS: usize = 3;
/// Beyond this the width of an axis may be infinite, and its ticks would never end.
const FARTHEST: f64 = 1e300;
/// Up to so many points each is marked.
const DOTS: usize = 60;
/// Colours that colour-blind people can tell apart, too (Okabe and Ito, 2008).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0x56, 0xB4, 0xE9),
    RGBColor(0xE6, 0x9F, 0x00),
];

pub(crate) type DrawingError = Box<dyn std::error::Error>;

impl Plot {
    /// Writes the plot.
    ///
    /// # Errors
    /// If there is not one finite point to draw, or the file cannot be written.
    pub fn write_svg(&self, path: impl AsRef<Path>) -> Result<(), EvalError> {
        let path = path.as_ref();
        let fail = |reason: String| EvalError::Write {
            path: path.to_owned(),
            reason,
        };
        let svg = self.to_svg().map_err(|error| fail(error.to_string()))?;
        std::fs::write(path, svg).map_err(|error| fail(error.to_string()))
    }

    fn to_svg(&self) -> Result<String, DrawingError> {
        draw(&self.panels, (WIDTH, HEIGHT))
    }
}

/// Panels of this size, row by row.
fn draw(panels: &[Panel], (width, height): (u32, u32)) -> Result<String, DrawingError> {
    let mut svg = String::new();
    let columns = panels.len().clamp(1, COLUMNS);
    let rows = panels.len().div_ceil(columns).max(1);
    {
        let size = (width * columns as u32, height * rows as u32);
        let whole = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        whole.fill(&WHITE)?;
        for (area, panel) in whole.split_evenly((rows, columns)).iter().zip(panels) {
            panel.draw(area)?;
        }
        whole.present()?;
    }
    Ok(svg)
}

pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

impl Panel {
    /// The panel alone, as SVG of this many pixels. Text and lines are black, the ground is white,
    /// lines are of six colours: a page can give each of them another by its attribute.
    ///
    /// # Errors
    /// If there is not one finite point to draw.
    pub fn to_svg(&self, width: u32, height: u32) -> Result<String, EvalError> {
        let drawn = draw(std::slice::from_ref(self), (width, height));
        drawn.map_err(|error| EvalError::Plot {
            title: self.title.clone(),
            reason: error.to_string(),
        })
    }

    fn points(&self, series: &Series) -> Vec<(f64, f64)> {
        let place = |(x, y): &(f64, f64)| (place(*x, self.log_x), place(*y, self.log_y));
        let placed = series.points.iter().map(place);
        // Not a number is not within, either.
        let within = |place: f64| place.abs() <= FARTHEST;
        placed.filter(|(x, y)| within(*x) && within(*y)).collect()
    }

    fn draw(&self, area: &Area<'_>) -> Result<(), DrawingError> {
        if let Some(bars) = &self.bars {
            return bars.draw(self, area);
        }
        let all: Vec<Vec<(f64, f64)>> = self.series.iter().map(|s| self.points(s)).collect();
        let shown = || all.iter().flatten();
        let horizontal = range(shown().map(|(x, _)| *x)).ok_or("there is no finite point")?;
        let vertical = range(shown().map(|(_, y)| *y)).ok_or("there is no finite point")?;
        let narrow = area.dim_in_pixel().0 < WIDTH;
        let (margin, labels) = if narrow { (8, 5) } else { (14, 10) };
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, ("sans-serif", 18))
            .margin(margin)
            .x_label_area_size(44)
            .y_label_area_size(74)
            .build_cartesian_2d(horizontal, vertical.clone())?;
        chart
            .configure_mesh()
            .max_light_lines(0)
            .x_labels(labels)
            .y_labels(labels)
            .x_desc(&self.x)
            .y_desc(&self.y)
            .x_label_formatter(&|x| label(value(*x, self.log_x)))
            .y_label_formatter(&|y| label(value(*y, self.log_y)))
            .axis_desc_style(("sans-serif", 15))
            .label_style(("sans-serif", 13))
            .draw()?;
        if let Some((x, text)) = &self.mark {
            let x = place(*x, self.log_x);
            let ends = vec![(x, vertical.start), (x, vertical.end)];
            let style = BLACK.mix(0.5).stroke_width(1);
            chart
                .draw_series(std::iter::once(PathElement::new(ends, style)))?
                .label(text)
                .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], style));
        }
        for (i, (series, points)) in self.series.iter().zip(&all).enumerate() {
            let colour = COLOURS[i % COLOURS.len()];
            chart
                .draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?
                .label(&series.name)
                .legend(move |(x, y)| {
                    PathElement::new(vec![(x, y), (x + 16, y)], colour.stroke_width(2))
                });
            let marked = if points.len() > DOTS {
                &points[..0]
            } else {
                &points[..]
            };
            let dots = marked.iter().map(|at| Circle::new(*at, 3, colour.filled()));
            chart.draw_series(dots)?;
        }
        if self.series.len() > 1 || self.mark.is_some() {
            // A marked curve has its lowest point inside: above that is room.
            let place = match self.mark {
                Some(_) => SeriesLabelPosition::UpperMiddle,
                None => SeriesLabelPosition::MiddleRight,
            };
            chart
                .configure_series_labels()
                .position(place)
                .background_style(WHITE.mix(0.85))
                .border_style(BLACK.mix(0.3))
                .label_font(("sans-serif", 13))
                .draw()?;
        }
        Ok(())
    }
}

/// Where a value lies on its axis.
fn place(value: f64, log: bool) -> f64 {
    if log { value.log10() } else { value }
}

/// The value at a place on its axis.
fn value(place: f64, log: bool) -> f64 {
    if log { 10f64.powf(place) } else { place }
}

/// From the least to the greatest with a little room; `None` of nothing, or if that is no finite
/// width.
fn range(values: impl Iterator<Item = f64>) -> Option<std::ops::Range<f64>> {
    let ends = values.fold(None, |ends: Option<(f64, f64)>, value| {
        let (low, high) = ends.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    });
    let (low, high) = ends?;
    let room = match high - low {
        0.0 => (0.05 * low.abs()).max(1e-3),
        width => 0.05 * width,
    };
    let (low, high) = (low - room, high + room);
    (high - low).is_finite().then_some(low..high)
}

/// A number on an axis: short, with three figures where that is enough.
pub(crate) fn label(value: f64) -> String {
    let size = value.abs();
    if size >= 1e5 || (size > 0.0 && size < 1e-3) {
        format!("{value:.1e}")
    } else if size >= 100.0 {
        format!("{value:.0}")
    } else {
        let text = format!("{value:.3}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn panel(points: Vec<(f64, f64)>) -> Plot {
        Plot {
            panels: vec![Panel {
                title: "objective".to_owned(),
                log_x: true,
                series: vec![Series {
                    name: "exact".to_owned(),
                    points,
                }],
                ..Panel::default()
            }],
        }
    }

    #[test]
    fn infinite_points_are_left_out_and_the_rest_is_drawn() {
        let plot = panel(vec![(0.01, 3.0), (0.1, 1.0), (1.0, f64::INFINITY)]);
        let svg = plot.to_svg().unwrap();
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("objective"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn points_beyond_all_measure_do_not_hang() {
        let plot = panel(vec![(0.01, 3.0), (0.1, 1.0), (1.0, 1e308), (2.0, -1e308)]);
        assert_eq!(plot.to_svg().unwrap().matches("<circle").count(), 2);
        let plot = panel(vec![(0.1, -1e300), (1.0, 1e300)]);
        assert_eq!(plot.to_svg().unwrap().matches("<circle").count(), 2);
        assert_eq!(range([-1e308, 1e308].into_iter()), None);
    }

    #[test]
    fn nothing_to_draw_is_an_error() {
        assert!(panel(vec![(0.1, f64::NAN)]).to_svg().is_err());
    }
}
