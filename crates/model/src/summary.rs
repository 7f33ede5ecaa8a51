//! The parts of a generator and their sizes.

use std::fmt;

use burn::{module::Module, prelude::*};
use burn_store::ModuleSnapshot;
use serde::Serialize;

/// Every parameter of a module with its shape, for people to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Name and shape of each parameter, in order of definition.
    pub parameters: Vec<(String, Vec<usize>)>,
    /// How many numbers they hold together.
    pub total: usize,
}

impl Summary {
    /// The summary of any module.
    pub fn of<B: Backend, M: Module<B> + ModuleSnapshot<B>>(module: &M) -> Self {
        let parameters: Vec<(String, Vec<usize>)> = module
            .collect(None, None, false)
            .into_iter()
            .map(|snapshot| (snapshot.full_path(), snapshot.shape.to_vec()))
            .collect();
        let total = parameters
            .iter()
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum();
        Self { parameters, total }
    }
}

impl fmt::Display for Summary {
    /// One line for each part (parameters are grouped by the first two pieces of their name).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<(String, usize)> = Vec::new();
        for (name, shape) in &self.parameters {
            let part: Vec<&str> = name.split('.').take(2).collect();
            let part = part.join(".");
            let size = shape.iter().product::<usize>();
            match parts.last_mut() {
                Some((last, sum)) if *last == part => *sum += size,
                _ => parts.push((part, size)),
            }
        }
        for (part, size) in parts {
            writeln!(f, "{part:<20} {size:>12}")?;
        }
        write!(f, "{:<20} {:>12}", "parameters", self.total)
    }
}
