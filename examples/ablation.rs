//! Expected: test MSE against K falls: 0.123, 0.067, 0.039 for K = 5, 15, 30 on MNIST (400 updates, L = 1, docs/RESULTS.md);
//! the paper's from 0.045 (K = 5) to 0.010 (K = 50) on CelebA 32, L = 5.
//!
//! The paper's section 5.6 on your images: how many steps the short chain needs. Each K is a run of
//! its own; run it again after an interruption, and it goes on. `--help` lists the flags; they are
//! those of `shortrun sweep`.
//!
//! ```text
//! cargo run --release --example ablation -- --data mnist --data-dir ../shared/datasets/mnist
//! ```

use std::process::ExitCode;

use shortrun::cli::sweep_example;

fn main() -> ExitCode {
    sweep_example(&["langevin.steps=5,10,25,50"], "runs/ablation")
}
