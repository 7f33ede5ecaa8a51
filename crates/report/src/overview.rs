//! What one wants to know first.

use maud::html;
use shortrun_train::{Evaluation, Record, RunFolder, last_update};

use crate::{Section, Status, number, number::duration, status::torn};

/// What the overview is made of, beside the metrics.
#[derive(Clone, Debug)]
pub struct Overview<'a> {
    /// The run.
    pub folder: &'a RunFolder,
    /// How it stands.
    pub status: Status,
    /// Its metrics.
    pub records: &'a [Record],
    /// Iterations asked for.
    pub iterations: u64,
    /// Which images it learned from: a plain sentence.
    pub data: &'a str,
    /// Weights of the generator.
    pub parameters: usize,
    /// The iteration of the checkpoint that the page looks at.
    pub checkpoint: Option<u64>,
}

/// How far the run is, how good, on which images.
pub fn overview(facts: &Overview<'_>) -> Section {
    let records = facts.records;
    let logged = records.iter().map(Record::iteration).max().unwrap_or(0);
    let done = facts.checkpoint.unwrap_or(0).max(logged);
    let looks: Vec<&Evaluation> = records
        .iter()
        .filter_map(|record| match record {
            Record::Evaluation(evaluation) => Some(evaluation),
            Record::Train(_) | Record::StepSize(_) => None,
        })
        .collect();
    let error = |look: &Evaluation| look.test_mse.map_or("not finite".to_owned(), number);
    let best = looks
        .iter()
        .filter(|look| look.test_mse.is_some())
        .min_by(|a, b| f64::total_cmp(&mse(a), &mse(b)));
    let mut tiles = vec![
        ("status", facts.status.name().to_owned()),
        ("iterations", format!("{done} of {}", facts.iterations)),
    ];
    if let Some(last) = looks.last() {
        let density = last.log_density;
        // Of a method that gives images back as they are there is no error to tell.
        if last.test_mse.is_some() || density.is_none() {
            tiles.push(("test MSE", error(last)));
            tiles.push(("mean image’s MSE", number(last.mean_image_mse)));
        }
        if let Some(nats) = density {
            tiles.push(("log p(x), nats a test image", number(nats)));
        }
    }
    if let Some(best) = best {
        let text = format!("{} at {}", error(best), best.iteration);
        tiles.push(("best test MSE", text));
    }
    if let Some(last) = last_update(records) {
        tiles.push(("time trained", duration(last.seconds)));
    }
    tiles.push(("weights", facts.parameters.to_string()));
    let at = facts
        .checkpoint
        .map_or("none yet".to_owned(), |at| at.to_string());
    tiles.push(("checkpoint shown", at));

    let mut section = Section::new("overview", "Overview")
        .text(facts.data)
        .add(html! {
            dl.tiles {
                @for (name, value) in &tiles { div { dt { (name) } dd { (value) } } }
            }
        });
    if let Some(note) = facts.status.note() {
        section = section.note(note);
    }
    if facts.checkpoint.is_none() {
        section = section.note(
            "No checkpoint yet, so there is no generator to look at: only what was logged is shown.",
        );
    }
    if facts.status != Status::Running && torn(facts.folder) {
        section = section.note("The last line of metrics.jsonl was cut off; it is left out.");
    }
    section.add(html! {
        p.dim {
            "MSE is per value in [-1, 1]. The mean image’s is what predicting the mean training image \
             for every test image gives."
        }
    })
}

fn mse(look: &Evaluation) -> f64 {
    look.test_mse.unwrap_or(f64::INFINITY)
}
