//! Histograms in plots.

use plotters::prelude::*;

use crate::{
    Panel,
    plot::{Area, DrawingError, label},
};

/// A histogram from 0 to 1, beside what is expected of it.
#[derive(Clone, Debug, Default)]
pub struct Bars {
    /// Of bins of equal width, left to right.
    pub heights: Vec<f64>,
    /// What each should be.
    pub expected: f64,
    /// By how much each may be off: a grey band.
    pub margins: Vec<f64>,
}

impl Bars {
    pub(crate) fn draw(&self, panel: &Panel, area: &Area<'_>) -> Result<(), DrawingError> {
        let upper = self.margins.iter().map(|margin| self.expected + margin);
        let highest = self
            .heights
            .iter()
            .copied()
            .chain(upper)
            .fold(0.0, f64::max);
        if self.heights.is_empty() || highest <= 0.0 || !highest.is_finite() {
            return Err("there is no finite bar".into());
        }
        let mut chart = ChartBuilder::on(area)
            .caption(&panel.title, ("sans-serif", 18))
            .margin(14)
            .x_label_area_size(44)
            .y_label_area_size(74)
            .build_cartesian_2d(0.0..1.0, 0.0..1.05 * highest)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(WHITE)
            .x_desc(&panel.x)
            .y_desc(&panel.y)
            .x_label_formatter(&|x| label(*x))
            .y_label_formatter(&|y| label(*y))
            .axis_desc_style(("sans-serif", 15))
            .label_style(("sans-serif", 13))
            .draw()?;
        let edge = |place: usize| place as f64 / self.heights.len() as f64;
        let margins = self.margins.iter().enumerate().map(|(place, margin)| {
            let low = (self.expected - margin).max(0.0);
            let corners = [
                (edge(place), low),
                (edge(place + 1), self.expected + margin),
            ];
            Rectangle::new(corners, BLACK.mix(0.18).filled())
        });
        let colour = Palette99::pick(0).to_rgba();
        let bars = self.heights.iter().enumerate().map(|(place, height)| {
            let gap = 0.1 / self.heights.len() as f64;
            let corners = [(edge(place) + gap, 0.0), (edge(place + 1) - gap, *height)];
            Rectangle::new(corners, colour.mix(0.65).filled())
        });
        chart.draw_series(bars)?;
        chart.draw_series(margins)?;
        let level = vec![(0.0, self.expected), (1.0, self.expected)];
        chart.draw_series(std::iter::once(PathElement::new(
            level,
            BLACK.stroke_width(1),
        )))?;
        Ok(())
    }
}
