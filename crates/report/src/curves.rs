//! Training curves.

use std::collections::BTreeSet;

use shortrun_eval::{Panel, Series};
use shortrun_train::{Evaluation, Metrics, Record, Tuning, last_update};

use crate::{Section, number};

type Points = Vec<(f64, f64)>;

/// Points a line has at most; longer ones are averaged.
const POINTS: usize = 300;
/// Step sizes that are drawn one by one; of more, the least, the mean and the greatest.
const SIZES: usize = 5;

/// Loss, errors, step size in both conventions, gradients, schedules and time, by iteration.
pub fn curves(records: &[Record]) -> Section {
    let section = Section::new("training", "Training");
    let of = Kinds::of(records);
    if of.train.is_empty() {
        return section.note("Nothing has been logged yet.");
    }
    let mut panels = vec![
        log(
            "loss and starting energy",
            "nats an image",
            vec![
                line("loss: mean of U(e_K)", of.metric(|m| m.loss)),
                line("mean of U(e_0)", of.metric(|m| m.start_energy)),
            ],
        ),
        log(
            "mean squared error",
            "per value in [-1, 1]",
            vec![
                line("training batch", of.metric(|m| m.mse)),
                line("test", of.look(|look| look.test_mse)),
                line("mean image", of.look(|look| Some(look.mean_image_mse))),
            ],
        ),
        plain(
            "log p(x) by the method’s own account",
            "nats, test",
            vec![line("test", of.look(|look| look.log_density))],
        ),
        plain("step size, noise form", "eta", of.sizes(|m| &m.eta)),
        plain(
            "step size, drift form",
            "s = eta² / 2",
            of.sizes(|m| &m.drift),
        ),
        log(
            "gradient norms",
            "norm",
            vec![
                line(
                    "of the loss, in the weights",
                    of.metric(|m| m.weight_gradient_norm),
                ),
                line(
                    "|∇U(e_{K-1})|, in the latents",
                    of.metric(|m| m.latent_gradient_norm),
                ),
            ],
        ),
        log(
            "learning rate",
            "Adam’s",
            vec![line("learning rate", of.metric(|m| Some(m.learning_rate)))],
        ),
        plain(
            "observation noise",
            "sigma",
            vec![line("sigma", of.metric(|m| Some(m.sigma)))],
        ),
        time(records),
    ];
    if !of.tunings.is_empty() {
        let objective = of.tunings.iter();
        let points = objective.filter_map(|t| Some((t.iteration as f64, t.objective?)));
        let series = vec![line("objective", points.collect())];
        panels.push(plain(
            "objective of the tuned step size",
            "nats an image",
            series,
        ));
    }
    panels.extend(of.parts());
    if of.train.iter().any(|m| m.diverged > 0.0) {
        let share = of.metric(|m| Some(m.diverged));
        panels.push(plain(
            "diverged chains",
            "share",
            vec![line("share", share)],
        ));
    }
    panels.retain(|panel| !panel.series.is_empty());
    let mut section = section.plots(&panels);
    if of.metric(|m| m.weight_gradient_norm).is_empty() {
        section =
            section.text("Gradient norms were not logged by the version that trained this run.");
    }
    let skipped: Vec<&&Metrics> = of.train.iter().filter(|m| m.skipped.is_some()).collect();
    if let Some(last) = skipped.last() {
        let reason = last.skipped.as_deref().unwrap_or_default();
        section = section.note(format!(
            "{} updates were skipped, the last at iteration {}: {reason}.",
            skipped.len(),
            last.iteration
        ));
    }
    match of.train.last() {
        Some(last) => section.text(last_words(last)),
        None => section,
    }
}

/// The last line of the log in words.
fn last_words(last: &Metrics) -> String {
    let list = |values: &[f64]| match values {
        [one] => number(*one),
        many => format!(
            "{} to {}",
            number(many.iter().copied().fold(f64::INFINITY, f64::min)),
            number(many.iter().copied().fold(f64::NEG_INFINITY, f64::max))
        ),
    };
    let shown = |value: Option<f64>| value.map_or("not finite".to_owned(), number);
    let sizes = match last.eta.as_slice() {
        [] => String::new(),
        etas => format!(
            "step size eta {} (drift s {}), ",
            list(etas),
            list(&last.drift)
        ),
    };
    format!(
        "At iteration {}: loss {}, MSE {} on the batch, {sizes}sigma {}.",
        last.iteration,
        shown(last.loss),
        shown(last.mse),
        number(last.sigma)
    )
}

/// Records by kind.
struct Kinds<'a> {
    train: Vec<&'a Metrics>,
    looks: Vec<&'a Evaluation>,
    tunings: Vec<&'a Tuning>,
}

impl<'a> Kinds<'a> {
    fn of(records: &'a [Record]) -> Self {
        let mut kinds = Self {
            train: Vec::new(),
            looks: Vec::new(),
            tunings: Vec::new(),
        };
        for record in records {
            match record {
                Record::Train(metrics) => kinds.train.push(metrics),
                Record::Evaluation(look) => kinds.looks.push(look),
                Record::StepSize(tuning) => kinds.tunings.push(tuning),
            }
        }
        kinds
    }

    fn metric(&self, value: impl Fn(&Metrics) -> Option<f64>) -> Points {
        let points = self
            .train
            .iter()
            .filter_map(|m| Some((m.iteration as f64, value(m)?)));
        points.collect()
    }

    /// A panel for each part that the method reports beside its loss.
    fn parts(&self) -> Vec<Panel> {
        let names: BTreeSet<&String> = self.train.iter().flat_map(|m| m.parts.keys()).collect();
        let panel = |name: &String| {
            let words = name.replace('_', " ");
            let points = self.metric(|m| m.parts.get(name).copied().flatten());
            plain(&words, &words, vec![line(&words, points)])
        };
        names.into_iter().map(panel).collect()
    }

    fn look(&self, value: impl Fn(&Evaluation) -> Option<f64>) -> Points {
        let points = self
            .looks
            .iter()
            .filter_map(|l| Some((l.iteration as f64, value(l)?)));
        points.collect()
    }

    /// A line for each step size, or three for many.
    fn sizes(&self, values: impl Fn(&Metrics) -> &Vec<f64>) -> Vec<Series> {
        let count = self
            .train
            .iter()
            .map(|m| values(m).len())
            .max()
            .unwrap_or(0);
        if count <= SIZES {
            let one = |i: usize| self.metric(|m| values(m).get(i).copied());
            return (0..count)
                .map(|i| line(&format!("size {}", i + 1), one(i)))
                .collect();
        }
        let fold = |start: f64, f: fn(f64, f64) -> f64| {
            self.metric(|m| Some(values(m).iter().copied().fold(start, f)))
        };
        let mean = |m: &Metrics| values(m).iter().sum::<f64>() / values(m).len() as f64;
        vec![
            line("least", fold(f64::INFINITY, f64::min)),
            line("mean", self.metric(|m| Some(mean(m)))),
            line("greatest", fold(f64::NEG_INFINITY, f64::max)),
        ]
    }
}

fn line(name: &str, points: Points) -> Series {
    Series {
        name: name.to_owned(),
        points: thinned(points),
    }
}

fn plain(title: &str, y: &str, series: Vec<Series>) -> Panel {
    let drawn = series
        .into_iter()
        .filter(|series| !series.points.is_empty());
    Panel {
        title: title.to_owned(),
        x: "iteration".to_owned(),
        y: y.to_owned(),
        series: drawn.collect(),
        ..Panel::default()
    }
}

fn log(title: &str, y: &str, series: Vec<Series>) -> Panel {
    Panel {
        log_y: true,
        ..plain(title, y, series)
    }
}

fn time(records: &[Record]) -> Panel {
    let hours = last_update(records).is_some_and(|last| last.seconds > 10_800.0);
    let (unit, name) = if hours {
        (3600.0, "hours")
    } else {
        (60.0, "minutes")
    };
    let point = |record: &Record| match record {
        Record::Train(metrics) => Some((metrics.iteration as f64, metrics.seconds / unit)),
        Record::Evaluation(_) | Record::StepSize(_) => None,
    };
    let points = records.iter().filter_map(point).collect();
    plain("time trained", name, vec![line("time", points)])
}

/// At most [`POINTS`] points: means of equally many neighbours.
fn thinned(points: Points) -> Points {
    let group = points.len().div_ceil(POINTS).max(1);
    let mean = |group: &[(f64, f64)]| {
        let n = group.len() as f64;
        let sum = group
            .iter()
            .fold((0.0, 0.0), |sum, p| (sum.0 + p.0, sum.1 + p.1));
        (sum.0 / n, sum.1 / n)
    };
    points.chunks(group).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_averaged() {
        let points = (0..10_000).map(|i| (f64::from(i), 2.0)).collect();
        let thin = thinned(points);
        assert!(thin.len() <= POINTS);
        assert!(thin.iter().all(|(_, y)| *y == 2.0));
        assert!((thin[0].0 - 16.5).abs() < 1e-12, "{:?}", thin[0]);
    }
}
