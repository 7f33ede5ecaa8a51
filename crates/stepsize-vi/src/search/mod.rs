//! Looking for the best step size.

mod adam;
mod gradient;
mod grid;
mod refine;

use std::time::Instant;

use burn::prelude::*;
use serde::{Deserialize, Serialize};
use shortrun_langevin::{StepSize, StepSizes};

pub use self::{
    adam::{Adam, AdamState},
    gradient::GradientSearch,
    grid::GridSearch,
    refine::RefineSearch,
};
use crate::{Evaluation, Model, Objective, ObjectiveError, Parts, Problem};

/// How the best step size is looked for.
///
/// The arrangement of the start (one size, one for each step, one for each layer) is that of the
/// result. Starts and noise of the problem are the same for every step size that is tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Search {
    /// Every step size of a list.
    Grid(GridSearch),
    /// A coarse grid, then golden sections between the neighbours of its best point.
    Refine(RefineSearch),
    /// Adam on `log s`.
    Gradient(GradientSearch),
}

/// A [`Search`] by its name, without settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SearchName {
    /// [`Search::Grid`].
    Grid,
    /// [`Search::Refine`].
    Refine,
    /// [`Search::Gradient`].
    Gradient,
}

impl SearchName {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Grid, Self::Refine, Self::Gradient];

    /// The name on the command line and in `config.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Grid => "grid",
            Self::Refine => "refine",
            Self::Gradient => "gradient",
        }
    }
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    /// The best step sizes that were tried.
    pub step_sizes: StepSizes,
    /// The objective there, with its parts.
    pub evaluation: Evaluation,
    /// Whether the search ended by its own rule, not at its last iteration nor at the edge of what
    /// it was allowed to try.
    pub converged: bool,
    /// Everything that was tried, in order.
    pub curve: Vec<Point>,
    /// Seconds taken.
    pub seconds: f64,
}

/// One point of the curve.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// What was tried.
    pub step_sizes: StepSizes,
    /// The objective, averaged over the examples; infinite if a chain exploded.
    pub objective: f64,
    /// Its parts, averaged over the examples.
    pub parts: Parts,
    /// `dF / d log s` of each size, where it was asked for.
    pub slope: Option<Vec<f64>>,
}

impl Search {
    /// The paper's grid.
    pub fn grid() -> Self {
        Self::Grid(GridSearch::default())
    }

    /// A refined grid with its default settings.
    pub fn refine() -> Self {
        Self::Refine(RefineSearch::default())
    }

    /// Gradient descent with its default settings.
    pub fn gradient() -> Self {
        Self::Gradient(GradientSearch::default())
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        let name = match self {
            Self::Grid(_) => SearchName::Grid,
            Self::Refine(_) => SearchName::Refine,
            Self::Gradient(_) => SearchName::Gradient,
        };
        name.name()
    }

    /// Looks for the step sizes that minimise the objective.
    ///
    /// # Errors
    /// If a setting makes no sense, the objective cannot be evaluated, or every step size that was
    /// tried makes a chain explode.
    pub fn run<B: Backend>(
        &self,
        model: &Model<'_, B>,
        problem: &Problem<B>,
        objective: Objective,
        start: &StepSizes,
    ) -> Result<Found, ObjectiveError> {
        let mut trials = Trials::new(model, problem, objective);
        let converged = match self {
            Self::Grid(grid) => grid.run(&mut trials, start),
            Self::Refine(refine) => refine.run(&mut trials, start),
            Self::Gradient(gradient) => gradient.run(&mut trials, start),
        }?;
        trials.finish(converged)
    }
}

/// What a search has tried so far.
struct Trials<'a, B: Backend> {
    model: &'a Model<'a, B>,
    problem: &'a Problem<B>,
    objective: Objective,
    curve: Vec<Point>,
    best: Option<(StepSizes, Evaluation)>,
    lowest: f64,
    begun: Instant,
}

impl<'a, B: Backend> Trials<'a, B> {
    fn new(model: &'a Model<'a, B>, problem: &'a Problem<B>, objective: Objective) -> Self {
        Self {
            model,
            problem,
            objective,
            curve: Vec::new(),
            best: None,
            lowest: f64::INFINITY,
            begun: Instant::now(),
        }
    }

    /// The objective at these step sizes.
    fn value(&mut self, sizes: &StepSizes) -> Result<f64, ObjectiveError> {
        let evaluation = self.objective.evaluate(self.model, self.problem, sizes)?;
        Ok(self.note(sizes, evaluation, None))
    }

    /// The objective and `dF / d log s`.
    fn slope(&mut self, sizes: &StepSizes) -> Result<(f64, Vec<f64>), ObjectiveError> {
        let slope = self.objective.slope(self.model, self.problem, sizes)?;
        let by_log_drift = slope.by_log_drift(sizes);
        let value = self.note(sizes, slope.evaluation, Some(by_log_drift.clone()));
        Ok((value, by_log_drift))
    }

    fn note(&mut self, sizes: &StepSizes, found: Evaluation, slope: Option<Vec<f64>>) -> f64 {
        let objective = found.mean();
        self.curve.push(Point {
            step_sizes: sizes.clone(),
            objective,
            parts: found.parts(),
            slope,
        });
        if objective < self.lowest {
            self.lowest = objective;
            self.best = Some((sizes.clone(), found));
        }
        objective
    }

    /// The best step sizes so far.
    fn best(&self) -> Option<&StepSizes> {
        self.best.as_ref().map(|(sizes, _)| sizes)
    }

    fn finish(self, converged: bool) -> Result<Found, ObjectiveError> {
        let tried = self.curve.iter().flat_map(|point| point.step_sizes.sizes());
        let smallest_eta = tried.map(|step| step.eta()).fold(f64::INFINITY, f64::min);
        let (step_sizes, evaluation) = self
            .best
            .ok_or(ObjectiveError::AllExploded { smallest_eta })?;
        Ok(Found {
            step_sizes,
            evaluation,
            converged,
            curve: self.curve,
            seconds: self.begun.elapsed().as_secs_f64(),
        })
    }
}

/// A step size from a setting.
fn eta(setting: &'static str, eta: f64) -> Result<StepSize, ObjectiveError> {
    match StepSize::from_eta(eta) {
        Ok(step) if eta > 0.0 => Ok(step),
        _ => Err(ObjectiveError::Setting {
            setting,
            reason: format!("must be finite and above 0; found eta = {eta}"),
        }),
    }
}

/// The same arrangement with every size the same.
fn all_alike(start: &StepSizes, step: StepSize) -> StepSizes {
    start.with_sizes(vec![step; start.sizes().len()])
}

/// The same sizes but for one.
fn with_one(sizes: &StepSizes, at: usize, step: StepSize) -> StepSizes {
    let mut changed = sizes.sizes().to_vec();
    changed[at] = step;
    sizes.with_sizes(changed)
}
