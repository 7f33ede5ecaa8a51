//! Rank histograms as pictures.

use super::{Calibration, RankTest};
use crate::{Bars, Panel, Plot};

impl Calibration {
    /// For each layer the ranks of its coordinates and of its pull, and those of the energy. The
    /// grey band holds 95 % of exact inference in each bin.
    pub fn plot(&self) -> Plot {
        let mut panels = Vec::new();
        for (number, layer) in self.layers.iter().enumerate() {
            let name = format!("layer {} of {}", number + 1, self.layers.len());
            let p = layer.coordinates_p_value.min(layer.spread.p_value);
            panels.push(panel(
                format!("{name}: {} coordinates, {}", layer.size, shown(p)),
                &layer.histogram,
                layer.standard_errors.clone(),
            ));
            panels.push(tested(format!("{name}: pull"), &layer.pull));
        }
        panels.push(tested("energy".to_owned(), &self.energy));
        Plot { panels }
    }
}

fn tested(name: String, test: &RankTest) -> Panel {
    let bins = test.histogram.len() as f64;
    let images = test.histogram.iter().sum::<usize>() as f64;
    let error = (images / bins * (1.0 - 1.0 / bins)).sqrt();
    let errors = vec![error; test.histogram.len()];
    panel(
        format!("{name}, {}", shown(test.p_value)),
        &test.histogram,
        errors,
    )
}

fn panel(title: String, histogram: &[usize], errors: Vec<f64>) -> Panel {
    let total = histogram.iter().sum::<usize>() as f64;
    Panel {
        title,
        x: "rank of the truth among the chains' ends".to_owned(),
        y: "count".to_owned(),
        bars: Some(Bars {
            heights: histogram.iter().map(|count| *count as f64).collect(),
            expected: total / histogram.len() as f64,
            margins: errors.into_iter().map(|error| 1.96 * error).collect(),
        }),
        ..Panel::default()
    }
}

fn shown(p_value: f64) -> String {
    if p_value < 1e-99 {
        "p below 1e-99".to_owned()
    } else if p_value < 1e-3 {
        format!("p = {p_value:.0e}")
    } else {
        format!("p = {p_value:.3}")
    }
}
