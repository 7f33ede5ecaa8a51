//! Every command on a small run, from training to a trace: one file for each command.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod calibrate;
mod export;
mod help;
mod hierarchy;
mod info;
mod inpaint;
mod likelihood;
mod reconstruct;
mod sample;
mod step_size;
mod sweep;
mod trace;
mod train;

fn number(value: &serde_json::Value) -> f64 {
    value.as_f64().unwrap()
}
