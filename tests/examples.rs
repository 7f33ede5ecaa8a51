//! Every example runs, on little data and for few steps.
#![allow(clippy::unwrap_used)]

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use assert_cmd::{Command, assert::Assert};
use image::RgbImage;
use tempfile::TempDir;

/// Settings that make any of the training examples end within seconds.
const TINY: &str = "batch_size=4 langevin.steps=2 log_every=1 evaluation.images=4 \
                    evaluation.samples=4 generator.features=4 generator.latents=[3,5]";

/// An example as `cargo test` built it: `target/PROFILE/examples`, beside the folder of this test.
fn example(name: &str, folder: &Path) -> Command {
    let test = env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let program = profile
        .join("examples")
        .join(format!("{name}{}", env::consts::EXE_SUFFIX));
    assert!(
        program.is_file(),
        "{} is not there: run `cargo build --examples` first (a whole `cargo test` does)",
        program.display()
    );
    let mut command = Command::new(program);
    command.current_dir(folder);
    command
}

/// Two steps of a training example in an empty folder.
fn train(name: &str, folder: &TempDir, arguments: &[&str]) -> Assert {
    let mut command = example(name, folder.path());
    command.args(["--steps", "2"]).args(arguments);
    for setting in TINY.split_whitespace() {
        command.args(["--set", setting]);
    }
    command.assert()
}

/// The example said what it learned from and left its pictures where it said.
fn check(assert: Assert, data: &str, folder: &TempDir, run: &str) {
    let output = printed(assert.success());
    for expected in [
        &format!("data: {data}"),
        "test MSE",
        &format!("{run}/reconstructions"),
    ] {
        assert!(output.contains(expected), "no '{expected}' in:\n{output}");
    }
    let run = folder.path().join(run);
    for pictures in ["reconstructions", "samples"] {
        assert!(picture(&run.join(pictures)).is_file());
    }
    assert!(run.join("summary.json").is_file());
}

fn picture(folder: &Path) -> PathBuf {
    folder.join("step-00000002.png")
}

/// Standard output and then standard error.
fn printed(assert: Assert) -> String {
    let output = assert.get_output();
    [&output.stdout, &output.stderr]
        .map(|stream| String::from_utf8_lossy(stream).into_owned())
        .concat()
}

/// An idx file of unsigned bytes.
fn write_idx(path: &Path, dims: &[u32], values: &[u8]) {
    let mut bytes = vec![0, 0, 8, u8::try_from(dims.len()).unwrap()];
    bytes.extend(dims.iter().flat_map(|dim| dim.to_be_bytes()));
    bytes.extend(values);
    fs::write(path, bytes).unwrap();
}

#[test]
fn train_svhn_learns_built_in_digits_and_says_so() {
    let folder = TempDir::new().unwrap();
    let assert = train("train_svhn", &folder, &[]);
    let data = "built-in synthetic digits, not SVHN";
    check(assert, data, &folder, "runs/svhn");
}

#[test]
fn train_mnist_learns_idx_files() {
    let folder = TempDir::new().unwrap();
    let mnist = folder.path().join("datasets/mnist");
    fs::create_dir_all(&mnist).unwrap();
    for (split, count) in [("train", 12_u8), ("t10k", 6)] {
        let values = usize::from(count) * 28 * 28;
        let pixels: Vec<u8> = (0..values).map(|place| (place * 7 % 256) as u8).collect();
        let path = mnist.join(format!("{split}-images-idx3-ubyte"));
        write_idx(&path, &[count.into(), 28, 28], &pixels);
        let labels: Vec<u8> = (0..count).map(|label| label % 10).collect();
        let path = mnist.join(format!("{split}-labels-idx1-ubyte"));
        write_idx(&path, &[count.into()], &labels);
    }
    let assert = train("train_mnist", &folder, &[]);
    check(assert, "MNIST digits from", &folder, "runs/mnist");
}

#[test]
fn train_celeba_learns_a_folder_of_pictures() {
    let folder = TempDir::new().unwrap();
    let faces = folder.path().join("faces");
    fs::create_dir(&faces).unwrap();
    for number in 1..=20_u8 {
        // Taller than wide, as the aligned faces are.
        let face = RgbImage::from_fn(44, 54, |x, y| {
            image::Rgb([number * 12, (x * 5) as u8, (y * 4) as u8])
        });
        face.save(faces.join(format!("{number:06}.png"))).unwrap();
    }
    let assert = train("train_celeba", &folder, &["--data-dir", "faces"]);
    check(assert, "CelebA faces from faces", &folder, "runs/celeba");
}

#[test]
fn without_its_images_an_example_says_what_to_do() {
    let folder = TempDir::new().unwrap();
    for (name, hint) in [
        ("train_mnist", "run with --download"),
        ("train_celeba", "--data-dir"),
    ] {
        let said = printed(train(name, &folder, &[]).code(1));
        assert!(said.contains(hint), "{said}");
    }
    assert!(!folder.path().join("runs").exists());
}

#[test]
fn custom_model_trains_and_reconstructs() {
    let folder = TempDir::new().unwrap();
    let run = |argument| {
        example("custom_model", folder.path())
            .arg(argument)
            .assert()
    };
    let said = printed(run("2").success());
    assert!(
        said.contains("MSE") && said.contains("mean image"),
        "{said}"
    );
    let made = folder.path().join("runs/custom-model-1");
    assert!(made.join("reconstructed.png").is_file());
    assert!(picture(&made.join("reconstructions")).is_file());

    let said = printed(run("many").code(1));
    assert!(
        said.contains("ITERATIONS") && said.contains("'many'"),
        "{said}"
    );
}

#[test]
fn inpaint_and_hierarchy_look_at_a_run() {
    let folder = TempDir::new().unwrap();
    let run = |name| example(name, folder.path()).assert();
    for name in ["inpaint", "hierarchy"] {
        let said = printed(run(name).code(1));
        assert!(said.contains("runs/svhn holds no run"), "{said}");
    }
    train("train_svhn", &folder, &[]).success();
    let said = printed(run("inpaint").success());
    assert!(said.contains("MSE on hidden pixels"), "{said}");
    let said = printed(run("hierarchy").success());
    assert!(said.contains("layer 2: mean squared change"), "{said}");
    for name in ["inpaint", "layer-2", "layer-1", "interpolation"] {
        let picture = folder.path().join(format!("runs/svhn/{name}.png"));
        assert!(picture.is_file(), "{}", picture.display());
    }
}

/// A folder with twelve small pictures in `pictures`.
fn with_pictures() -> TempDir {
    let folder = TempDir::new().unwrap();
    let pictures = folder.path().join("pictures");
    fs::create_dir(&pictures).unwrap();
    for number in 1..=12_u8 {
        let picture = RgbImage::from_fn(28, 28, |x, y| {
            image::Rgb([number * 20, (x * 9) as u8, (y * 9) as u8])
        });
        picture
            .save(pictures.join(format!("{number}.png")))
            .unwrap();
    }
    folder
}

#[test]
fn step_size_tunes_by_grid_and_gradient_and_plots_both() {
    let folder = with_pictures();
    let arguments = "--data pictures --size 28 --seeds 1 --steps 2 --every 1 --examples 1";
    let mut command = example("step_size", folder.path());
    let said = printed(command.args(arguments.split(' ')).assert().success());
    assert!(said.contains("runs/step-size/step-size.svg"), "{said}");
    let made = folder.path().join("runs/step-size");
    let svg = fs::read_to_string(made.join("step-size.svg")).unwrap();
    assert!(svg.contains("(a) grid") && svg.contains("(c) objective"));
    let numbers = fs::read_to_string(made.join("step-size.json")).unwrap();
    let runs: serde_json::Value = serde_json::from_str(&numbers).unwrap();
    let curve = &runs[0]["updates"][0]["curve"];
    assert_eq!(curve.as_array().unwrap().len(), 15);
    assert_eq!(runs[1]["updates"][0]["slope"].as_array().unwrap().len(), 1);
}

#[test]
fn ablation_sweeps_over_the_chain_and_draws_its_table() {
    let folder = with_pictures();
    let mut command = example("ablation", folder.path());
    let arguments = "--data pictures --size 28 --steps 1 --over langevin.steps=1,2";
    command.args(arguments.split(' '));
    for setting in TINY.split_whitespace() {
        command.args(["--set", setting]);
    }
    let said = printed(command.assert().success());
    assert!(said.contains("| langevin.steps | test MSE |"), "{said}");
    let made = folder.path().join("runs/ablation");
    assert!(made.join("sweep.svg").is_file());
    assert!(made.join("langevin.steps=2/summary.json").is_file());
}

#[test]
fn every_example_tells_its_expected_result_first() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for entry in fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let says = text.starts_with("//! Expected: ");
        assert!(says, "{}: its first line has no result", path.display());
    }
}
