//! Every command on a small run, from training to a trace: one file for each command.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/html.rs"]
mod html;

mod calibrate;
mod compare;
mod export;
mod fid;
mod help;
mod hierarchy;
mod info;
mod inpaint;
mod likelihood;
mod methods;
mod reconstruct;
mod report;
mod sample;
mod selftest;
mod step_size;
mod sweep;
mod trace;
mod train;

fn number(value: &serde_json::Value) -> f64 {
    value.as_f64().unwrap()
}
