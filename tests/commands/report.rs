use std::{fs, path::Path};

use scraper::{Html, Selector};

use crate::{common::*, number};

/// The page of a command's report, parsed; it is well-formed and needs nothing but itself.
fn page(folder: &Path, found: &serde_json::Value) -> (Html, String) {
    let text = fs::read_to_string(folder.join(found["out"].as_str().unwrap())).unwrap();
    let page = Html::parse_document(&text);
    assert_eq!(page.errors, Vec::<String>::new());
    for element in all(&page, "*") {
        let element = element.value();
        assert!(!["script", "iframe", "object", "embed", "base"].contains(&element.name()));
        for (name, value) in element.attrs() {
            match name {
                "src" => assert!(value.starts_with("data:image/"), "{value}"),
                "href" => assert!(value.starts_with('#') || value == "data:,", "{value}"),
                _ => assert!(
                    !name.starts_with("on") && !value.contains("url("),
                    "{name}={value}"
                ),
            }
        }
    }
    for style in all(&page, "style") {
        let style: String = style.text().collect();
        assert!(!style.contains("url(") && !style.contains("@import"));
    }
    (page, text)
}

fn all<'a>(page: &'a Html, selector: &str) -> Vec<scraper::ElementRef<'a>> {
    page.select(&Selector::parse(selector).unwrap()).collect()
}

fn text(page: &Html, selector: &str) -> String {
    all(page, selector)
        .iter()
        .flat_map(|found| found.text())
        .collect::<Vec<_>>()
        .join(" ")
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
    let (page, _) = page(here, &found);
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
        assert_eq!(
            all(&page, &format!("main > #{section} > h2")).len(),
            1,
            "{section}"
        );
        assert_eq!(
            all(&page, &format!("nav a[href='#{section}']")).len(),
            1,
            "{section}"
        );
    }
    // Samples and training images; reconstructions; three masks; the evaluation's picture.
    for (section, pictures) in [
        ("samples", 2),
        ("reconstructions", 1),
        ("inpainting", 3),
        ("evaluations", 1),
    ] {
        assert_eq!(
            all(&page, &format!("#{section} img")).len(),
            pictures,
            "{section}"
        );
    }
    assert_eq!(all(&page, "#training svg").len(), 8);
    assert_eq!(all(&page, "#step-size svg").len(), 1);
    assert_eq!(all(&page, "meta[http-equiv=refresh]").len(), 0);
    assert_eq!(all(&page, ".note").len(), 0, "{}", text(&page, ".note"));
    assert!(text(&page, "#overview").contains("The user’s own images: the array tiny.npy"));
    assert!(text(&page, "#configuration").contains("langevin.step_size.eta"));
    let commands = all(&page, "#commands pre");
    let commands: Vec<String> = commands.iter().map(|line| line.text().collect()).collect();
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
    assert!(text(&page, "#commands").contains("Burn 0.21.0, flex on"));
}

#[test]
fn report_escapes_what_others_named() {
    let folder = workplace();
    let (here, name) = (folder.path(), "<b>&\"'<img src=x>");
    done(here, &tiny(&["--run", name, "--steps", "2"]));
    fs::create_dir(here.join(name).join("evaluations")).unwrap();
    fs::write(here.join(name).join("evaluations/<i>.json"), "<u>").unwrap();
    let found = json(here, &["report", "--run", name, "--no-objective", "--json"]);
    let (page, _) = page(here, &found);
    assert_eq!(text(&page, "h1"), format!("Run {name}"));
    assert!(text(&page, "#commands pre").contains("<img src=x>"));
    assert!(text(&page, "#evaluations h3").contains("<i>"));
    assert_eq!(all(&page, "b, i, u").len(), 0);
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
    let (whole, _) = page(here, &found);
    assert_eq!(all(&whole, "#training svg").len(), 8);
    assert_eq!(all(&whole, "img").len(), 0);
    let notes = text(&whole, ".note");
    for said in [
        "No checkpoint yet",
        "Cut off",
        "last line of metrics.jsonl was cut off",
    ] {
        assert!(notes.contains(said), "{notes}");
    }

    // Before the first line.
    fs::remove_file(run.join("metrics.jsonl")).unwrap();
    let (empty, _) = page(here, &report(here, "run"));
    assert!(text(&empty, "#training .note").contains("Nothing has been logged yet"));
}

#[test]
fn report_without_its_images_shows_the_rest_and_wrong_flags_are_refused() {
    let folder = trained();
    let here = folder.path();
    fs::remove_file(here.join("tiny.npy")).unwrap();
    let (page, _) = page(here, &report(here, "run"));
    assert_eq!(all(&page, "#samples img").len(), 1);
    assert!(text(&page, "#reconstructions .note").contains("tiny.npy"));

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
    let during = Html::parse_document(&fs::read_to_string(&out).unwrap());
    assert_eq!(all(&during, "meta[http-equiv=refresh]").len(), 1);
    assert!(text(&during, "#overview .note").contains("Still training"));
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
    let (after, _) = page(here, &found);
    assert_eq!(all(&after, "meta[http-equiv=refresh]").len(), 0);
    assert_eq!(all(&after, "#step-size svg").len(), 1);
}
