//! Expected: test MSE well below a quarter of the mean image's, recognisable digits; see README.
//!
//! Learns house numbers on the CPU: SVHN if `datasets/svhn/train_32x32.mat` is there (or with
//! `--download`), else built-in synthetic digits. `--help` lists the flags; they are those of
//! `shortrun train`.
//!
//! ```text
//! cargo run --release --example train_svhn
//! ```

use std::process::ExitCode;

use shortrun::{
    cli::{ExampleDefaults, example},
    model::Preset,
};

fn main() -> ExitCode {
    example(ExampleDefaults {
        data: "auto",
        preset: Preset::Quick,
        run: "runs/svhn",
        settings: &[],
    })
}
