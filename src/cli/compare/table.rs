//! The table of a comparison.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;
use serde_json::Value;
use shortrun_train::{Ending, Summary};

use super::{CompareArgs, NO_LABELS, budget::Budget, failed, runs::LookedAt};
use crate::cli::{Failure, reporting::to_json, run::LoadedRun};

/// What a method came to.
#[derive(Clone, Debug, Serialize)]
struct Row {
    method: &'static str,
    run: PathBuf,
    /// Dimensions of the layers, top first.
    latents: Vec<usize>,
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
    /// Null where images could not be told apart, or it failed.
    distance: Option<f64>,
    /// The method's own log p(x) or bound of it, in nats an image, and which it is.
    own_log_density: Option<f64>,
    own_log_density_is: Option<String>,
    /// Of an exact density, as bits per dimension of bytes.
    bits_per_dimension: Option<f64>,
    /// By annealed importance sampling, nats an image; null without a generator.
    log_density: Option<f64>,
    log_density_error: Option<f64>,
    /// The commands that failed on it.
    failed: Vec<&'static str>,
}

#[derive(Serialize)]
pub(super) struct Table {
    budget: Budget,
    data: String,
    test_images: usize,
    /// Null if images could not be told apart.
    distance: Option<Distance>,
    samples: usize,
    likelihood_images: usize,
    rows: Vec<Row>,
    picture: PathBuf,
}

/// What distances are.
#[derive(Serialize)]
struct Distance {
    name: String,
    extractor: String,
    reference: String,
    /// Images of the reference.
    reference_count: Option<u64>,
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
        let (reconstruct, fid) = (self.reconstruct.as_ref(), self.fid.as_ref());
        let found = |of: Option<&Value>, key: &str| of.and_then(|of| of[key].as_f64());
        let exact = reconstruct.is_some_and(|found| found["exact"] == Value::Bool(true));
        Ok(Row {
            method: self.method.name(),
            run: folder.to_owned(),
            latents: run.config.generator.latents.sizes().to_vec(),
            ending: summary.ending,
            updates: summary.iterations,
            skipped: summary.skipped,
            sigma: has_sigma.then_some(sigma),
            seconds,
            seconds_per_update: seconds / of.max(1) as f64,
            generator_parameters: summary.parameters.generator,
            inference_parameters: summary.parameters.inference,
            peak_memory_mib: summary.peak_memory_mib,
            mse: found(reconstruct, "mse").filter(|_| !exact),
            distance: found(fid, "distance"),
            own_log_density: found(reconstruct, "log_density"),
            own_log_density_is: reconstruct
                .and_then(|found| found["log_density_is"].as_str())
                .map(str::to_owned),
            bits_per_dimension: found(reconstruct, "bits_per_dimension"),
            log_density: found(likelihood, "log_density"),
            log_density_error: found(likelihood, "standard_error"),
            failed: self.failed.clone(),
        })
    }
}

impl Table {
    /// Without rows yet.
    pub(super) fn new(args: &CompareArgs, picture: PathBuf) -> Self {
        Self {
            budget: args.budget,
            data: String::new(),
            test_images: 0,
            distance: None,
            samples: args.samples,
            likelihood_images: args.likelihood,
            rows: Vec::new(),
            picture,
        }
    }

    /// Adds what was found out about a run. What was the same for all is told by the first that knows.
    pub(super) fn add(&mut self, run: &LoadedRun, looked_at: &LookedAt) -> Result<(), Failure> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if let (Some(found), true) = (&looked_at.reconstruct, self.test_images == 0) {
            self.data = text(&found["data"]);
            self.test_images = found["images"].as_u64().unwrap_or(0) as usize;
        }
        if let (Some(found), None) = (&looked_at.fid, &self.distance) {
            self.distance = Some(Distance {
                name: text(&found["distance_name"]),
                extractor: text(&found["extractor"]),
                reference: text(&found["reference"]),
                reference_count: found["reference_count"].as_u64(),
            });
        }
        self.rows.push(looked_at.row(run)?);
        Ok(())
    }

    pub(super) fn write(&self, runs: &Path) -> Result<(), Failure> {
        let write = |name: &str, text: &str| {
            let path = runs.join(name);
            fs::write(&path, text).map_err(|error| failed(&path, &error))
        };
        write("compare.json", &to_json(self)?)?;
        write("compare.md", &self.markdown())
    }

    /// What is missing because a command failed.
    pub(super) fn gaps(&self) -> Option<String> {
        let failed = |row: &Row| format!("{} ({})", row.method, row.failed.join(", "));
        let gaps: Vec<String> = self
            .rows
            .iter()
            .filter(|row| !row.failed.is_empty())
            .map(failed)
            .collect();
        (!gaps.is_empty()).then(|| {
            format!(
                "some commands failed, which say why above, and have '-' in the table: {}",
                gaps.join("; ")
            )
        })
    }

    /// The latents of all, if they are the same.
    fn latents(&self) -> Option<&[usize]> {
        let mut all = self.rows.iter().map(|row| row.latents.as_slice());
        let first = all.next()?;
        all.all(|other| other == first).then_some(first)
    }

    pub(super) fn markdown(&self) -> String {
        let common = self.latents();
        let described =
            |latents: &[usize]| format!("L = {} (latents {latents:?}, top first)", latents.len());
        let mut text = format!(
            "{}; {}{}.\n\n\
             | method | test MSE | distance | log p(x) by AIS | own log p(x) | parameters: generator | \
             inference | updates | s/update | sigma | peak MiB of the host |\n|{}\n",
            self.budget.words(),
            self.data,
            common.map_or_else(String::new, |latents| format!("; {}", described(latents))),
            "---|".repeat(11)
        );
        for row in &self.rows {
            let latents = common.is_none().then(|| described(&row.latents));
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}", row.markdown(latents));
        }
        let _ = writeln!(text, "\n{}", self.legend());
        text
    }

    /// What the columns are.
    fn legend(&self) -> String {
        let distance = match &self.distance {
            Some(distance) => format!(
                "Distance: {}, {}, {} samples against {}{}.",
                distance.name,
                distance.extractor,
                self.samples,
                distance
                    .reference_count
                    .map_or_else(String::new, |count| format!("{count} images of ")),
                distance.reference
            ),
            None => format!("No distances: {NO_LABELS}."),
        };
        let estimate = match self.likelihood_images {
            0 => String::new(),
            count => format!(" log p(x) by AIS: nats an image, of {count} test images."),
        };
        format!(
            "MSE per value in [-1, 1] on {images} test images, inferred the method's own way: by an encoder's \
             mean, by the noisy end of a chain, by descent for glo. Sigma is that of the last update. \
             {distance}{estimate} Own log p(x): nats an image, of the {images} images, values in [-1, 1]; \
             glow's is of bytes with uniform noise, and not comparable with the others. {picture}: test \
             images, then a row of reconstructions for each method in the order of the table, then a row of \
             samples for each. Seconds are of training alone, on this machine, and count the compiling of \
             kernels on a GPU; memory on a GPU does not count.",
            images = self.test_images,
            picture = self.picture.display()
        )
    }
}

impl Row {
    fn markdown(&self, latents: Option<String>) -> String {
        let number = |value: Option<f64>, digits: usize| {
            value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
        };
        let ending = match self.ending {
            Ending::Diverged => " (diverged)",
            Ending::Finished | Ending::Stopped => "",
        };
        let latents = latents.map_or_else(String::new, |latents| format!(", {latents}"));
        let bits = self.bits_per_dimension.map_or_else(String::new, |bits| {
            format!(", {bits:.3} bits per dimension")
        });
        let own = match &self.own_log_density_is {
            Some(kind) => format!("{} ({kind}{bits})", number(self.own_log_density, 1)),
            None => "-".to_owned(),
        };
        let estimate = match self.log_density_error {
            Some(error) => format!("{} ± {error:.1}", number(self.log_density, 1)),
            None => number(self.log_density, 1),
        };
        let updates = match self.skipped {
            0 => self.updates.to_string(),
            skipped => format!("{} ({skipped} skipped)", self.updates),
        };
        format!(
            "| {}{latents}{ending} | {} | {} | {estimate} | {own} | {} | {} | {updates} | {:.4} | {} | {} |",
            self.method,
            number(self.mse, 5),
            number(self.distance, 3),
            self.generator_parameters,
            self.inference_parameters,
            self.seconds_per_update,
            number(self.sigma, 3),
            number(self.peak_memory_mib, 0),
        )
    }
}
