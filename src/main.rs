//! The command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    shortrun::cli::main()
}
