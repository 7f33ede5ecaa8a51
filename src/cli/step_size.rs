//! `shortrun step-size`.

use std::{fmt, path::PathBuf};

use burn::{backend::Autodiff, prelude::*};
use clap::Args;
use serde::Serialize;
use shortrun_eval::{Panel, Plot, Series, StepSizeTask};
use shortrun_langevin::{NoiseKey, Purpose};
use shortrun_model::MultiLayerGenerator;
use shortrun_stepsize_vi::{
    Arrangement, Found, GridSearch, LanczosConfig, MemoryBudget, Objective, ObjectiveName, Parts,
    Search, SearchName,
};
use shortrun_train::{MetricsLog, Record};

use super::{
    Failure,
    options::{
        ChainOptions, DataOptions, MOST_OF_EACH, at_least_one, check_output, counted, one_of,
    },
    reporting::{Reporting, StepSizeReport},
    run::{LoadedRun, RunOption},
};
use crate::backend::OnBackend;

/// Images looked at unless `--count` says otherwise.
const DEFAULT_COUNT: usize = 8;
/// MiB.
const DEFAULT_MEMORY: usize = 1024;

/// Arguments of `shortrun step-size`.
#[derive(Debug, Args)]
pub(super) struct StepSizeArgs {
    #[command(flatten)]
    pub(super) run: RunOption,
    #[command(flatten)]
    data: DataOptions,
    #[command(flatten)]
    chain: ChainOptions,
    /// What is minimised: exact (all eigenvalues of every step's Hessian), lanczos (stochastic
    /// Lanczos quadrature of them) or augmented (forward against reverse kernels; gradients only).
    #[arg(long, value_name = "NAME", default_value = "exact", value_parser = one_of(ObjectiveName::ALL, ObjectiveName::name))]
    objective: ObjectiveName,
    /// How: grid (the paper's, eta 0.01 to 0.15), refine (a coarse grid, then golden sections) or
    /// gradient (Adam on log s, from the run's own step size).
    #[arg(long, value_name = "NAME", default_value = "grid", value_parser = one_of(SearchName::ALL, SearchName::name))]
    search: SearchName,
    /// One step size for all steps, one for each step, or one for each layer.
    #[arg(long, value_name = "NAME", default_value = "constant", value_parser = one_of(Arrangement::ALL, Arrangement::name))]
    per: Arrangement,
    /// Etas of the grid, instead of the paper's: 0.02,0.05,0.1
    #[arg(long, value_name = "ETA,…", value_delimiter = ',')]
    grid: Option<Vec<f64>>,
    /// Of the lanczos objective: Hessian-vector products for each probe.
    #[arg(long, value_name = "M", value_parser = at_least_one)]
    lanczos_steps: Option<usize>,
    /// Of the lanczos objective: probes for each image and step.
    #[arg(long, value_name = "N", value_parser = counted(1..=MOST_OF_EACH))]
    probes: Option<usize>,
    /// Also evaluate the optimum and the run's own step size on this many further images, with other
    /// noise: what the search gained beyond the images and noise it saw.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    held_out: Option<usize>,
    /// Memory for Hessians and their products, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = DEFAULT_MEMORY, value_parser = at_least_one)]
    memory: usize,
    /// Plot to write: the objective against the step size and, of a run that tuned its step, the
    /// step size against the iteration.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    #[command(flatten)]
    pub(super) reporting: Reporting,
}

impl StepSizeArgs {
    /// One step size for all steps, tried on a grid of etas.
    pub(super) fn grid(
        run: RunOption,
        data: DataOptions,
        chain: ChainOptions,
        objective: ObjectiveName,
        etas: &[f64],
        reporting: Reporting,
    ) -> Self {
        Self {
            run,
            data,
            chain,
            objective,
            search: SearchName::Grid,
            per: Arrangement::Constant,
            grid: Some(etas.to_vec()),
            lanczos_steps: None,
            probes: None,
            held_out: None,
            memory: DEFAULT_MEMORY,
            plot: None,
            reporting,
        }
    }

    /// `seed`: of the probes, beside that of starts and noise.
    fn objective(&self, seed: u64) -> Objective {
        let defaults = LanczosConfig::default();
        self.objective.with(LanczosConfig {
            steps: self.lanczos_steps.unwrap_or(defaults.steps),
            probes: self.probes.unwrap_or(defaults.probes),
            seed,
        })
    }

    fn search(&self) -> Search {
        match (self.search, &self.grid) {
            (SearchName::Grid, None) => Search::grid(),
            (SearchName::Grid, Some(etas)) => Search::Grid(GridSearch { etas: etas.clone() }),
            (SearchName::Refine, _) => Search::refine(),
            (SearchName::Gradient, _) => Search::gradient(),
        }
    }

    /// Flags that would be ignored in silence.
    fn check(&self) -> Result<(), Failure> {
        let lanczos = self.objective == ObjectiveName::Lanczos;
        if (self.lanczos_steps.is_some() || self.probes.is_some()) && !lanczos {
            let text = "--lanczos-steps and --probes need --objective lanczos";
            return Err(Failure::Usage(text.to_owned()));
        }
        if self.grid.is_some() && self.search != SearchName::Grid {
            return Err(Failure::Usage("--grid needs --search grid".to_owned()));
        }
        if let Some(plot) = &self.plot {
            check_output(plot, "svg")?;
        }
        Ok(())
    }
}

/// One point of the curve.
#[derive(Serialize)]
pub(super) struct Tried {
    #[serde(flatten)]
    pub(super) step_size: StepSizeReport,
    /// Nats an image; null if a chain exploded.
    pub(super) objective: f64,
    #[serde(flatten)]
    parts: Parts,
    /// dF / d log s.
    slope: Option<Vec<f64>>,
}

/// The objective, nats an image, where the search did not look.
#[derive(Serialize)]
struct HeldOut {
    images: usize,
    /// At the optimum of the search.
    value: f64,
    /// At the run's own step size.
    own_value: f64,
}

#[derive(Serialize)]
pub(super) struct Report {
    pub(super) objective: &'static str,
    search: &'static str,
    per: &'static str,
    pub(super) images: usize,
    pub(super) steps: usize,
    pub(super) sigma: f64,
    checkpoint: u64,
    data: String,
    /// The optimum.
    pub(super) step_size: StepSizeReport,
    /// The objective there, nats an image.
    pub(super) value: f64,
    parts: Parts,
    /// Smallest |eigenvalue| of any factor of the chain's Jacobian there.
    smallest_eigenvalue: Option<f64>,
    /// Standard error of the value that random probes cause.
    probe_error: Option<f64>,
    /// Whether the search ended by its own rule and not at an edge.
    pub(super) converged: bool,
    /// The run's own step size, and the objective there.
    pub(super) own_step_size: StepSizeReport,
    pub(super) own_value: f64,
    held_out: Option<HeldOut>,
    pub(super) curve: Vec<Tried>,
    /// Of one evaluation, in gradients of one image.
    gradient_evaluations: usize,
    pub(super) seconds: f64,
    plot: Option<PathBuf>,
    /// The curve as a plot.
    #[serde(skip)]
    pub(super) panel: Panel,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "data: {}", self.data)?;
        writeln!(
            f,
            "{} objective in nats an image, mean over {} images; K = {}, sigma {:.4}, checkpoint {}",
            self.objective, self.images, self.steps, self.sigma, self.checkpoint
        )?;
        let names = ["objective", "log p(e0)", "expansion", "log p(x,eK)"];
        let [a, b, c, d] = names;
        writeln!(f, "{a:>12} {b:>12} {c:>12} {d:>12}  eta (drift s)")?;
        for point in &self.curve {
            let Parts {
                log_start,
                expansion,
                log_joint,
            } = point.parts;
            writeln!(
                f,
                "{:>12.2} {log_start:>12.2} {expansion:>12.2} {log_joint:>12.2}  {}",
                point.objective, point.step_size
            )?;
        }
        writeln!(
            f,
            "run's own:  {:.2} at eta {}",
            self.own_value, self.own_step_size
        )?;
        write!(f, "best:       {:.2}", self.value)?;
        if let Some(error) = self.probe_error {
            write!(f, " (± {error:.2} by its probes)")?;
        }
        write!(f, " at eta {}", self.step_size)?;
        if let Some(smallest) = self.smallest_eigenvalue {
            write!(f, "; smallest |eigenvalue| of a step {smallest:.2e}")?;
        }
        if !self.converged {
            write!(
                f,
                "\nnot converged: at an edge of what was tried, or out of iterations"
            )?;
        }
        if let Some(HeldOut {
            images,
            value,
            own_value,
        }) = &self.held_out
        {
            write!(
                f,
                "\nheld out:   {value:.2}; the run's own {own_value:.2} ({images} other images, other \
                 noise)"
            )?;
        }
        write!(f, "\n{:.1} s", self.seconds)?;
        match &self.plot {
            Some(plot) => write!(f, "; plot: {}", plot.display()),
            None => Ok(()),
        }
    }
}

impl OnBackend for StepSizeArgs {
    type Output = Result<Report, Failure>;

    fn run<B: Backend>(self, device: B::Device) -> Self::Output {
        self.check()?;
        let run = self.run.load()?;
        let count = self.data.count(DEFAULT_COUNT);
        let further = self.held_out.unwrap_or(0);
        let wanted = count.saturating_add(further);
        let chosen = self.data.load_first(&run, wanted)?;
        let inference = run.inference(&self.chain)?;
        let generator = run.generator::<Autodiff<B>>(&device)?;
        let (steps, layers) = (inference.chain.steps(), &inference.layers);
        let mut places: Vec<usize> = (0..chosen.images.len()).collect();
        let others = places.split_off(count.min(places.len()));
        if others.len() < further {
            let found = chosen.images.len();
            return Err(Failure::Usage(format!(
                "--held-out {further}: with --count {count} that takes {wanted} images; there are \
                 {found}"
            )));
        }
        let task = StepSizeTask {
            steps,
            sigma: inference.sigma,
            latents: layers.dim(),
            key: NoiseKey {
                seed: inference.seed,
                iteration: run.last_iteration(),
                purpose: Purpose::StepSize,
            },
            budget: MemoryBudget::mib(self.memory),
        };
        let own = inference.chain.step_sizes().clone();
        let start = self.per.of(&own, steps, layers);
        let (objective, search) = (self.objective(inference.seed), self.search());
        let (found, own_value) = task.run::<B, MultiLayerGenerator<Autodiff<B>>, _>(
            &generator,
            &chosen.images,
            &places,
            &device,
            |model, problem| {
                let found = search.run(model, problem, objective, &start)?;
                let own = objective.evaluate(model, problem, &own)?;
                Ok((found, own.mean()))
            },
        )?;
        let held_out = if others.is_empty() {
            None
        } else {
            let task = StepSizeTask {
                key: NoiseKey {
                    seed: task.key.seed.wrapping_add(1),
                    ..task.key
                },
                ..task
            };
            Some(task.run::<B, MultiLayerGenerator<Autodiff<B>>, _>(
                &generator,
                &chosen.images,
                &others,
                &device,
                |model, problem| {
                    let best = objective.evaluate(model, problem, &found.step_sizes)?;
                    Ok(HeldOut {
                        images: others.len(),
                        value: best.mean(),
                        own_value: objective.evaluate(model, problem, &own)?.mean(),
                    })
                },
            )?)
        };
        let panel = curve(&found, objective, (own.mean().eta(), own_value));
        if let Some(path) = &self.plot {
            plot(panel.clone(), &run)?.write_svg(path)?;
        }
        let smallest = found.evaluation.determinants.as_ref().map(|determinants| {
            let all = determinants.smallest_eigenvalue.iter().flatten();
            all.copied().fold(f64::INFINITY, f64::min)
        });
        Ok(Report {
            objective: objective.name(),
            search: search.name(),
            per: self.per.name(),
            images: places.len(),
            steps,
            sigma: inference.sigma,
            checkpoint: run.checkpoint.state.iteration,
            data: chosen.provenance,
            step_size: (&found.step_sizes).into(),
            value: found.evaluation.mean(),
            parts: found.evaluation.parts(),
            smallest_eigenvalue: smallest,
            probe_error: found.evaluation.probe_error,
            converged: found.converged,
            own_step_size: (&own).into(),
            own_value,
            held_out,
            gradient_evaluations: found.evaluation.gradient_evaluations,
            seconds: found.seconds,
            curve: found
                .curve
                .into_iter()
                .map(|point| Tried {
                    step_size: (&point.step_sizes).into(),
                    objective: point.objective,
                    parts: point.parts,
                    slope: point.slope,
                })
                .collect(),
            plot: self.plot,
            panel,
        })
    }
}

/// The objective against the step size, with the run's own eta and its value.
fn curve(found: &Found, objective: Objective, own: (f64, f64)) -> Panel {
    let mut points: Vec<(f64, f64)> = found
        .curve
        .iter()
        .map(|point| (point.step_sizes.mean().eta(), point.objective))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let best = found.step_sizes.mean().eta();
    let limit = cliff(&points);
    let series = |name: &str, mut points: Vec<(f64, f64)>| {
        points.retain(|(_, value)| *value <= limit || !limit.is_finite());
        Series {
            name: name.to_owned(),
            points,
        }
    };
    Panel {
        title: format!("{} objective of the step size", objective.name()),
        x: "eta (noise of a step; drift s = eta²/2)".to_owned(),
        y: "nats an image".to_owned(),
        log_x: true,
        mark: Some((best, format!("best: eta = {best:.4}"))),
        series: vec![
            series(objective.name(), points),
            series("the run's own", vec![own]),
        ],
        ..Panel::default()
    }
}

/// The curve; of a run that tuned its step, also that against the iteration.
fn plot(curve: Panel, run: &LoadedRun) -> Result<Plot, Failure> {
    let mut panels = vec![curve];
    let history = step_size_history(run)?;
    if !history.is_empty() {
        panels.push(Panel {
            title: "step size while training".to_owned(),
            x: "iteration".to_owned(),
            y: "eta".to_owned(),
            series: history,
            ..Panel::default()
        });
    }
    Ok(Plot { panels })
}

/// The value above which points are so much worse than most that nothing else could be seen beside
/// them.
fn cliff(points: &[(f64, f64)]) -> f64 {
    let mut values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
    values.sort_by(f64::total_cmp);
    match (values.first(), values.get(values.len() / 2)) {
        (Some(lowest), Some(middle)) => lowest + 4.0 * (middle - lowest),
        _ => f64::INFINITY,
    }
}

/// Each step size of the run by iteration; empty if the run did not tune it.
fn step_size_history(run: &LoadedRun) -> Result<Vec<Series>, Failure> {
    let mut series: Vec<Series> = Vec::new();
    for record in MetricsLog::read(&run.folder)? {
        let Record::StepSize(tuning) = record else {
            continue;
        };
        for (i, eta) in tuning.eta.iter().enumerate() {
            if series.len() <= i {
                series.push(Series {
                    name: format!("size {}", i + 1),
                    points: Vec::new(),
                });
            }
            series[i].points.push((tuning.iteration as f64, *eta));
        }
    }
    Ok(series)
}
