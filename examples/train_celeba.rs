//! Expected: test MSE 0.032 (mean image: 0.284); soft faces with the right pose, hair and light but not
//! their details; see README.
//!
//! Learns faces of 32 x 32 pixels on the CPU from CelebA's aligned pictures in `datasets/celeba`
//! (any folder with `--data-dir`; `--size 64` for larger ones). CelebA cannot be fetched by a
//! program: `datasets/README.md` says what to put there. `--help` lists the flags; they are those
//! of `shortrun train`.
//!
//! ```text
//! cargo run --release --example train_celeba -- --data-dir /path/to/celeba
//! ```

use std::process::ExitCode;

use shortrun::{
    cli::{ExampleDefaults, example},
    model::Preset,
};

fn main() -> ExitCode {
    example(ExampleDefaults {
        data: "celeba",
        preset: Preset::Quick,
        run: "runs/celeba",
        settings: &["langevin.step_size.eta=0.1"],
    })
}
