//! The table of a comparison.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;
use serde_json::Value;
use shortrun_train::{Ending, Summary};

use super::{CompareArgs, budget::Budget, failed, runs::LookedAt};
use crate::cli::{Failure, reporting::to_json, run::LoadedRun};

/// What a method came to.
#[derive(Clone, Debug, Serialize)]
struct Row {
    method: &'static str,
    run: PathBuf,
    ending: Ending,
    updates: u64,
    /// Of these, how many were not taken.
    skipped: u64,
    /// At the last update; null where the method has none.
    sigma: Option<f64>,
    seconds: f64,
    seconds_per_update: f64,
    generator_parameters: usize,
    /// Of the inference network, or of latents that are learned.
    inference_parameters: usize,
    peak_memory_mib: Option<f64>,
    /// Of test images inferred the method's own way, per value in [-1, 1]; null where it is exact or
    /// not finite.
    mse: Option<f64>,
    distance: f64,
    /// The method's own log p(x) or bound of it, in nats an image, and which it is.
    own_log_density: Option<f64>,
    own_log_density_is: Option<String>,
    /// By annealed importance sampling, nats an image; null without a generator.
    log_density: Option<f64>,
    log_density_error: Option<f64>,
}

#[derive(Serialize)]
pub(super) struct Table {
    budget: Budget,
    data: String,
    latents: Vec<usize>,
    test_images: usize,
    distance_name: String,
    extractor: String,
    reference: String,
    samples: usize,
    likelihood_images: usize,
    rows: Vec<Row>,
    picture: PathBuf,
}

impl LookedAt {
    fn row(&self, run: &LoadedRun) -> Result<Row, Failure> {
        let folder = run.folder.path();
        let summary =
            Summary::read(&run.folder).ok_or_else(|| failed(folder, &"the run left no summary"))?;
        // A run that ended before its first line in metrics.jsonl has only its whole time.
        let last = run.last_update()?;
        let (seconds, of) = last.map_or((summary.seconds, summary.iterations), |last| {
            (last.seconds, last.iteration)
        });
        let has_sigma = self.method.has_standard_prior();
        let sigma = run.config.training.sigma.at(run.last_iteration());
        let likelihood = self.likelihood.as_ref().map(|found| &found["measured"]);
        let exact = self.reconstruct["exact"] == Value::Bool(true);
        Ok(Row {
            method: self.method.name(),
            run: folder.to_owned(),
            ending: summary.ending,
            updates: summary.iterations,
            skipped: summary.skipped,
            sigma: has_sigma.then_some(sigma),
            seconds,
            seconds_per_update: seconds / of.max(1) as f64,
            generator_parameters: summary.parameters.generator,
            inference_parameters: summary.parameters.inference,
            peak_memory_mib: summary.peak_memory_mib,
            mse: self.reconstruct["mse"].as_f64().filter(|_| !exact),
            distance: self.fid["distance"].as_f64().unwrap_or(f64::NAN),
            own_log_density: self.reconstruct["log_density"].as_f64(),
            own_log_density_is: self.reconstruct["log_density_is"]
                .as_str()
                .map(str::to_owned),
            log_density: likelihood.and_then(|found| found["log_density"].as_f64()),
            log_density_error: likelihood.and_then(|found| found["standard_error"].as_f64()),
        })
    }
}

impl Table {
    /// The table of what was found out about each run.
    pub(super) fn of(
        args: &CompareArgs,
        all: Vec<LookedAt>,
        picture: PathBuf,
    ) -> Result<Self, Failure> {
        let first = all
            .first()
            .ok_or_else(|| Failure::Usage("no methods".to_owned()))?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut table = Self {
            budget: args.budget,
            data: text(&first.reconstruct["data"]),
            latents: Vec::new(),
            test_images: first.reconstruct["images"].as_u64().unwrap_or(0) as usize,
            distance_name: text(&first.fid["distance_name"]),
            extractor: text(&first.fid["extractor"]),
            reference: text(&first.fid["reference"]),
            samples: args.samples,
            likelihood_images: args.likelihood,
            rows: Vec::new(),
            picture,
        };
        for looked_at in all {
            let run = LoadedRun::open(args.run_of(looked_at.method))?;
            table.latents = run.config.generator.latents.sizes().to_vec();
            table.rows.push(looked_at.row(&run)?);
        }
        Ok(table)
    }

    pub(super) fn write(&self, runs: &Path) -> Result<(), Failure> {
        let write = |name: &str, text: &str| {
            let path = runs.join(name);
            fs::write(&path, text).map_err(|error| failed(&path, &error))
        };
        write("compare.json", &to_json(self)?)?;
        write("compare.md", &self.markdown())
    }

    pub(super) fn markdown(&self) -> String {
        let mut text = format!(
            "{}; {}; L = {} (latents {:?}, top first).\n\n\
             | method | test MSE | distance | log p(x) by AIS | own log p(x) | parameters: generator | \
             inference | updates | s/update | sigma | peak MiB |\n|{}\n",
            self.budget.words(),
            self.data,
            self.latents.len(),
            self.latents,
            "---|".repeat(11)
        );
        let number = |value: Option<f64>, digits: usize| {
            value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
        };
        for row in &self.rows {
            let ending = match row.ending {
                Ending::Diverged => " (diverged)",
                Ending::Finished | Ending::Stopped => "",
            };
            let own = match &row.own_log_density_is {
                Some(kind) => format!("{} ({kind})", number(row.own_log_density, 1)),
                None => "-".to_owned(),
            };
            let estimate = match row.log_density_error {
                Some(error) => format!("{} ± {error:.1}", number(row.log_density, 1)),
                None => number(row.log_density, 1),
            };
            let updates = match row.skipped {
                0 => row.updates.to_string(),
                skipped => format!("{} ({skipped} skipped)", row.updates),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "| {}{ending} | {} | {:.3} | {estimate} | {own} | {} | {} | {updates} | {:.4} | {} | {} |",
                row.method,
                number(row.mse, 5),
                row.distance,
                row.generator_parameters,
                row.inference_parameters,
                row.seconds_per_update,
                number(row.sigma, 3),
                number(row.peak_memory_mib, 0),
            );
        }
        let _ = write!(
            text,
            "\nMSE per value in [-1, 1] on {} test images, inferred the method's own way: by an encoder's mean, by the \
             noisy end of a chain, by descent for glo. Sigma is that of the last update. Distance: {}, \
             {}, {} samples against {}. log p(x): nats an image, values in [-1, 1], on {} test images. \
             {}: test images, then a row of reconstructions for each method in the order of the \
             table, then a row of samples for each. Seconds and memory are of training on this machine; memory \
             on a GPU does not count.\n",
            self.test_images,
            self.distance_name,
            self.extractor,
            self.samples,
            self.reference,
            self.likelihood_images,
            self.picture.display()
        );
        text
    }
}
