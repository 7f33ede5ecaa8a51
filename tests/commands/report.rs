use std::{fs, path::Path};

use crate::{common::*, html::Html, number};

/// The page of a command's report; it is well-formed and needs nothing but itself.
fn page(folder: &Path, found: &serde_json::Value) -> Html {
    let text = fs::read_to_string(folder.join(found["out"].as_str().unwrap())).unwrap();
    let page = Html::read(&text);
    for element in &page.0 {
        let name = element.name.as_str();
        assert!(!["script", "iframe", "object", "embed", "base"].contains(&name));
        for (name, value) in &element.attributes {
            match name.as_str() {
                "src" => assert!(value.starts_with("data:image/"), "{value}"),
                "href" => assert!(value.starts_with('#') || value == "data:,", "{value}"),
                _ => assert!(
                    !name.starts_with("on") && !value.contains("url("),
                    "{name}={value}"
                ),
            }
        }
    }
    for style in page.all("", "style") {
        assert!(!style.text().contains("url(") && !style.text().contains("@import"));
    }
    page
}

/// All text of a section.
fn text(page: &Html, section: &str) -> String {
    let mut sections = page.0.iter();
    sections
        .find(|element| element.attribute("id") == section)
        .unwrap()
        .text()
}

/// Whether a browser is told to load it again.
fn reloads(page: &Html) -> bool {
    let mut metas = page.all("", "meta").into_iter();
    metas.any(|meta| meta.attribute("http-equiv") == "refresh")
}

fn report(folder: &Path, run: &str) -> serde_json::Value {
    json(folder, &["report", "--run", run, "--count", "4", "--json"])
}

#[test]
fn report_shows_everything_and_how_it_came_about() {
    let folder = trained();
    let here = folder.path();
    done(here, &["train", "--run", "run", "--resume", "--steps", "8"]);
    done(here, &["reconstruct", "--run", "run", "--count", "2"]);
    let last = metrics(&here.join("run"))
        .into_iter()
        .rfind(|line| line["kind"] == "train");
    for norm in ["weight_gradient_norm", "latent_gradient_norm"] {
        assert!(number(&last.as_ref().unwrap()[norm]) > 0.0, "{norm}");
    }

    let found = report(here, "run");
    assert_eq!(
        (&found["status"], found["checkpoint"].as_u64()),
        (&"finished".into(), Some(8))
    );
    let page = page(here, &found);
    for section in [
        "overview",
        "training",
        "samples",
        "reconstructions",
        "inpainting",
        "step-size",
        "hierarchy",
        "evaluations",
        "data",
        "configuration",
        "commands",
    ] {
        assert_eq!(page.all(section, "h2").len(), 1, "{section}");
        let links = page.all("", "a").into_iter();
        let to_it = links.filter(|link| link.attribute("href") == format!("#{section}"));
        assert_eq!(to_it.count(), 1, "{section}");
    }
    // Samples and training images; reconstructions; three masks; the evaluation's picture.
    for (section, pictures) in [
        ("samples", 2),
        ("reconstructions", 1),
        ("inpainting", 3),
        ("hierarchy", 2),
        ("evaluations", 1),
    ] {
        assert_eq!(page.all(section, "img").len(), pictures, "{section}");
    }
    assert_eq!(page.all("training", "svg").len(), 8);
    assert_eq!(page.all("step-size", "svg").len(), 1);
    assert!(!reloads(&page));
    assert_eq!(page.class("", "note"), "");
    assert!(text(&page, "overview").contains("The user’s own images: the array tiny.npy"));
    assert!(text(&page, "configuration").contains("langevin.step_size.eta"));
    let commands = page.all("commands", "pre");
    let commands: Vec<String> = commands.iter().map(|line| line.text()).collect();
    assert_eq!(commands.len(), 3, "{commands:?}");
    assert!(
        commands[0].contains("--set 'generator.latents=[2, 3]'"),
        "{}",
        commands[0]
    );
    assert!(
        commands[1].ends_with("train --run run --resume --steps 8"),
        "{}",
        commands[1]
    );
    assert!(commands[2].contains(" report --run run"), "{}", commands[2]);
    assert!(text(&page, "commands").contains("Burn 0.21.0, flex on"));
}

#[test]
fn report_escapes_what_others_named() {
    let folder = workplace();
    let (here, name) = (folder.path(), "<b>&\"'<img src=x>");
    done(here, &tiny(&["--run", name, "--steps", "2"]));
    fs::create_dir(here.join(name).join("evaluations")).unwrap();
    fs::write(here.join(name).join("evaluations/<i>.json"), "<u>").unwrap();
    let found = json(here, &["report", "--run", name, "--no-objective", "--json"]);
    let page = page(here, &found);
    assert_eq!(page.all("", "h1")[0].text(), format!("Run {name}"));
    assert!(
        page.all("commands", "pre")[0]
            .text()
            .contains("<img src=x>")
    );
    assert!(page.all("evaluations", "h3")[0].text().contains("<i>"));
    // A picture of theirs would not have passed `page`.
    for name in ["b", "i", "u"] {
        assert_eq!(page.all("", name).len(), 0, "{name}");
    }
}

#[test]
fn report_of_a_run_that_was_cut_off_shows_what_there_is() {
    let folder = trained();
    let (here, run) = (folder.path(), folder.path().join("run"));
    // Killed in the middle of a line, before the first checkpoint.
    fs::remove_file(run.join("summary.json")).unwrap();
    fs::remove_dir_all(run.join("checkpoints")).unwrap();
    fs::create_dir(run.join("checkpoints")).unwrap();
    let log = fs::read(run.join("metrics.jsonl")).unwrap();
    fs::write(run.join("metrics.jsonl"), &log[..log.len() - 20]).unwrap();
    let found = report(here, "run");
    assert_eq!(
        (&found["status"], &found["checkpoint"]),
        (&"cut off".into(), &serde_json::Value::Null)
    );
    let whole = page(here, &found);
    assert_eq!(whole.all("training", "svg").len(), 8);
    assert_eq!(whole.all("", "img").len(), 0);
    let notes = whole.class("", "note");
    for said in [
        "No checkpoint yet",
        "Cut off",
        "last line of metrics.jsonl was cut off",
    ] {
        assert!(notes.contains(said), "{notes}");
    }

    // Before the first line.
    fs::remove_file(run.join("metrics.jsonl")).unwrap();
    let empty = page(here, &report(here, "run"));
    assert!(
        empty
            .class("training", "note")
            .contains("Nothing has been logged yet")
    );
}

#[test]
fn report_without_its_images_shows_the_rest_and_wrong_flags_are_refused() {
    let folder = trained();
    let here = folder.path();
    fs::remove_file(here.join("tiny.npy")).unwrap();
    let page = page(here, &report(here, "run"));
    assert_eq!(page.all("samples", "img").len(), 1);
    assert!(page.class("reconstructions", "note").contains("tiny.npy"));

    let error = refused(here, &["report", "--run", "nowhere"], 1);
    assert!(error.contains("nowhere holds no run"), "{error}");
    let error = refused(here, &["report", "--run", "run", "--data", "other.npy"], 1);
    assert!(error.contains("other.npy"), "{error}");
    let error = refused(here, &["report", "--run", "run", "--every", "5"], 2);
    assert!(error.contains("--watch"), "{error}");
    let error = refused(here, &["report", "--run", "run", "--out", "page.txt"], 2);
    assert!(error.contains(".html"), "{error}");
}

#[cfg(unix)]
#[test]
fn report_watches_a_run_until_it_ends() {
    use std::{
        process::{Command, Stdio},
        thread::sleep,
        time::Duration,
    };
    let folder = workplace();
    let here = folder.path();
    let spawn = |arguments: &[&str]| {
        let mut command = shortrun(here, arguments);
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut training = spawn(&tiny(&["--run", "run", "--steps", "1000000"]));
    while !here.join("run/checkpoints/step-00000004").is_dir() {
        assert_eq!(training.try_wait().unwrap(), None);
        sleep(Duration::from_millis(5));
    }
    let mut watch = spawn(&[
        "report", "--run", "run", "--count", "2", "--watch", "--every", "1", "--json",
    ]);
    let out = here.join("run/report.html");
    while !out.is_file() {
        assert_eq!(watch.try_wait().unwrap(), None);
        sleep(Duration::from_millis(5));
    }
    let during = Html::read(&fs::read_to_string(&out).unwrap());
    assert!(reloads(&during));
    assert!(during.class("overview", "note").contains("Still training"));
    let interrupt = Command::new("kill")
        .args(["-INT", &training.id().to_string()])
        .status();
    assert!(interrupt.unwrap().success());
    assert_eq!(training.wait().unwrap().code(), Some(130));
    let output = watch.wait_with_output().unwrap();
    assert!(output.status.success());
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["status"], "stopped");
    assert!(found["written"].as_u64() >= Some(2));
    let after = page(here, &found);
    assert!(!reloads(&after));
    assert_eq!(after.all("step-size", "svg").len(), 1);
}

#[test]
fn report_of_a_run_that_spent_its_minutes_says_finished() {
    let folder = workplace();
    let here = folder.path();
    let length = ["--run", "run", "--steps", "1000000", "--minutes", "0.005"];
    done(here, &tiny(&length));
    let found = report(here, "run");
    assert_eq!(found["status"], "finished");
    assert!(found["checkpoint"].as_u64().unwrap() < 1_000_000);
}
