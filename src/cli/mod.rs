//! The command line: `shortrun train | sweep | compare | reconstruct | inpaint | hierarchy | sample |
//! fid | likelihood | calibrate | info | export | trace | step-size | report | selftest | bench`.

/// A line on standard output. Unlike `println!` it does not panic if nobody reads it (`| head`);
/// a full disk is told at the end.
macro_rules! out {
    ($($text:tt)*) => {
        $crate::cli::say(format_args!($($text)*))
    };
}

/// A line on standard error; it does not panic either.
macro_rules! err {
    ($($text:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}

mod bench;
mod calibrate;
mod compare;
mod export;
mod failure;
mod fid;
mod hierarchy;
mod info;
mod inpaint;
mod interrupt;
mod likelihood;
mod options;
mod reconstruct;
mod reporting;
mod run;
mod run_report;
mod sample;
#[cfg(feature = "flex")]
mod selftest;
mod step_size;
mod sweep;
mod trace;
mod train;
mod versions;

use std::{fmt, process::ExitCode, sync::OnceLock};

use clap::{Parser, Subcommand};

pub use failure::{Exit, Failure};
pub use sweep::sweep_example;
pub use train::{ExampleDefaults, example};

/// Deep generative models with several layers of latent variables, learned by short-run Langevin
/// inference: no encoder, one command.
#[derive(Debug, Parser)]
#[command(name = "shortrun", version, propagate_version = true, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 an error, named on standard error; 2 wrong usage; 3 training stopped because \
updates were skipped again and again; 130 interrupted (training saved what it had).";

#[derive(Debug, Subcommand)]
enum Command {
    /// Learn a generator from images.
    Train(train::TrainArgs),
    /// Train a grid of settings, and write a table and a plot of the runs.
    Sweep(sweep::SweepArgs),
    /// Train several methods with the same budget, and write a table and a picture of them.
    Compare(compare::CompareArgs),
    /// Infer the latents of images, generate from them, and say how far off the result is.
    Reconstruct(reconstruct::ReconstructArgs),
    /// Hide pixels of images and let the model fill them in.
    Inpaint(inpaint::InpaintArgs),
    /// Say and show what each layer of latents does to the image, and go from image to image.
    Hierarchy(hierarchy::HierarchyArgs),
    /// Generate images from the prior.
    Sample(sample::SampleArgs),
    /// Compare generated with real images: FID, or the distance on features of a small classifier,
    /// precision and recall.
    Fid(fid::FidArgs),
    /// Estimate log p(x) of images, with bounds on both sides for images of the model's own making.
    Likelihood(likelihood::LikelihoodArgs),
    /// Test whether the short chain finds the posterior, on images of the model's own making.
    Calibrate(calibrate::CalibrateArgs),
    /// Say what is in a run folder, or what a preset looks like.
    Info(info::InfoArgs),
    /// Write the generator's weights as safetensors, in PyTorch's layouts.
    Export(export::ExportArgs),
    /// Write a whole chain (positions, noise, energies) as safetensors, to check it elsewhere.
    Trace(trace::TraceArgs),
    /// Find the step size for which the chain comes closest to the posterior.
    StepSize(step_size::StepSizeArgs),
    /// Write all there is to see of a run as one HTML page.
    Report(run_report::ReportArgs),
    /// Check a backend's numbers against automatic differentiation on the CPU.
    #[cfg(feature = "flex")]
    Selftest(selftest::SelftestArgs),
    /// Time the chain, the learning step and the step-size objective on random images.
    Bench(bench::BenchArgs),
}

/// Reads the arguments, does what they say, and gives the exit code.
pub fn main() -> ExitCode {
    start_log();
    let result = match Arguments::parse().command {
        Command::Train(args) => train::main(args, None),
        Command::Sweep(args) => sweep::main(args),
        Command::Compare(args) => compare::main(args),
        Command::Reconstruct(args) => {
            args.reporting
                .run_kept("reconstruct", args.subject.run.clone(), args)
        }
        Command::Inpaint(args) => {
            args.reporting
                .run_kept("inpaint", args.subject.run.clone(), args)
        }
        Command::Hierarchy(args) => {
            args.reporting
                .run_kept("hierarchy", args.subject.run.clone(), args)
        }
        Command::Sample(args) => args.reporting.run_kept("sample", args.run.clone(), args),
        Command::Fid(args) => args.reporting.run_kept("fid", args.run.clone(), args),
        Command::Likelihood(args) => args
            .reporting
            .run_kept("likelihood", args.run.clone(), args),
        Command::Calibrate(args) => args.reporting.run_kept("calibrate", args.run.clone(), args),
        Command::Info(args) => args.reporting.run(args),
        Command::Export(args) => args.reporting.run(args),
        Command::Trace(args) => args.reporting.run(args),
        Command::StepSize(args) => args.reporting.run_kept("step-size", args.run.clone(), args),
        Command::Report(args) => args.reporting.run(args),
        #[cfg(feature = "flex")]
        Command::Selftest(args) => args.reporting.run_and_judge(args, selftest::Report::exit),
        Command::Bench(args) => args.reporting.run(args),
    };
    finish(result)
}

/// Why the first line that was lost did not get to standard output.
static LOST: OnceLock<String> = OnceLock::new();

/// A line on standard output. A reader that has gone is no failure; anything else that keeps the
/// line from there is remembered for [`finish`].
fn say(text: fmt::Arguments<'_>) {
    use std::io::{ErrorKind, Write};
    let mut output = std::io::stdout().lock();
    match writeln!(output, "{text}").and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let _ = LOST.set(error.to_string());
        }
        _ => {}
    }
}

fn finish(result: Result<Exit, Failure>) -> ExitCode {
    let exit = result.unwrap_or_else(|failure| {
        err!("error: {failure}");
        failure.exit()
    });
    let Some(reason) = LOST.get() else {
        return exit.into();
    };
    err!("error: standard output: {reason}");
    match exit {
        Exit::Done => Exit::Error.into(),
        // Says more than that a line was lost.
        other => other.into(),
    }
}

/// Warnings of the libraries, on standard error; `RUST_LOG` asks for more.
fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time()
        .with_target(false);
    // A second start (an example run from a test) keeps the first log.
    let _ = subscriber.try_init();
}
