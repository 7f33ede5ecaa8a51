//! Progress for people: a bar on a terminal, plain lines elsewhere.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use shortrun_langevin::StepSizes;

use crate::{Evaluation, Metrics, Tuning};

/// Seconds between plain lines.
const BETWEEN_LINES: Duration = Duration::from_secs(15);

/// Shows how a run is going, on standard error.
pub struct Progress {
    show: Show,
}

enum Show {
    Nothing,
    Bar(ProgressBar),
    Lines {
        total: u64,
        started: Option<(Instant, u64)>,
        last: Option<Instant>,
    },
}

impl Progress {
    /// Shows nothing.
    pub fn hidden() -> Self {
        Self {
            show: Show::Nothing,
        }
    }

    /// A bar if standard error is a terminal, else a plain line every quarter of a minute.
    pub fn visible(total: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        if bar.is_hidden() {
            let (started, last) = (None, None);
            return Self {
                show: Show::Lines {
                    total,
                    started,
                    last,
                },
            };
        }
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {per_sec} {msg} {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        Self {
            show: Show::Bar(bar.with_style(style)),
        }
    }

    /// Says something that is not progress: a warning, a place to look.
    pub fn say(&self, text: &str) {
        match &self.show {
            Show::Nothing => {}
            Show::Bar(bar) => bar.println(text),
            Show::Lines { .. } => line(text),
        }
    }

    /// The first `iteration` is about to be done: speeds are counted from here.
    pub fn begin(&mut self, iteration: u64) {
        match &mut self.show {
            Show::Nothing => {}
            Show::Bar(bar) => {
                bar.set_position(iteration);
                bar.reset_eta();
            }
            Show::Lines { started, .. } => *started = Some((Instant::now(), iteration)),
        }
    }

    pub(crate) fn advance(&mut self, iteration: u64) {
        if let Show::Bar(bar) = &self.show {
            bar.set_position(iteration);
        }
    }

    pub(crate) fn learned(&mut self, metrics: &Metrics) {
        let mse = metrics
            .mse
            .map_or(String::new(), |mse| format!(" mse {mse:.4}"));
        let parts: String = metrics
            .parts
            .iter()
            .map(|(name, part)| format!(" {name} {:.2}", part.unwrap_or(f64::NAN)))
            .collect();
        let text = format!(
            "loss {:.1}{mse}{parts} sigma {:.3}",
            metrics.loss.unwrap_or(f64::NAN),
            metrics.sigma,
        );
        self.count(metrics.iteration, &text);
    }

    /// So many of all are done; `text` says more about it.
    pub fn count(&mut self, done: u64, text: &str) {
        match &mut self.show {
            Show::Nothing => {}
            Show::Bar(bar) => {
                bar.set_position(done);
                bar.set_message(text.to_owned());
            }
            Show::Lines {
                total,
                started,
                last,
            } => {
                if last.is_some_and(|last| last.elapsed() < BETWEEN_LINES) {
                    return;
                }
                *last = Some(Instant::now());
                let (since, from) = started.unwrap_or((Instant::now(), done));
                let speed = done.saturating_sub(from) as f64 / since.elapsed().as_secs_f64();
                let left = (*total - done.min(*total)) as f64 / speed.max(1e-9);
                line(&format!(
                    "{done}/{total} {speed:.2}/s {text} {left:.0} s left"
                ));
            }
        }
    }

    pub(crate) fn evaluated(&mut self, evaluation: &Evaluation) {
        self.say(&format!("iteration {}: {evaluation}", evaluation.iteration));
    }

    pub(crate) fn tuned(&mut self, tuning: &Tuning, sizes: &StepSizes) {
        let text = match &tuning.failed {
            Some(reason) => format!("step size lowered to {sizes}: {reason}"),
            None => format!(
                "step size tuned to {sizes}, objective {:.1} nats",
                tuning.objective.unwrap_or(f64::NAN)
            ),
        };
        self.say(&format!("iteration {}: {text}", tuning.iteration));
    }

    /// Takes the bar away.
    pub fn finish(&mut self) {
        if let Show::Bar(bar) = &self.show {
            bar.finish_and_clear();
        }
    }
}

/// A closed standard error is no reason to stop a run.
fn line(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_than_at_the_beginning_is_no_panic() {
        let show = Show::Lines {
            total: 20,
            started: None,
            last: None,
        };
        let mut progress = Progress { show };
        progress.begin(10);
        progress.count(5, "taken back");
    }
}
