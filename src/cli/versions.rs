//! What this program is made of.

use shortrun_train::Invocation;

use crate::backend::BackendName;

/// Burn's version; a test holds it to `Cargo.toml`.
const BURN: &str = "0.21.0";

/// This process, for the records of a run that has done `iteration` iterations.
pub(super) fn invocation(iteration: u64, backend: BackendName) -> Invocation {
    let version = env!("CARGO_PKG_VERSION");
    Invocation::now(iteration, version, BURN, backend.to_string())
}

#[cfg(test)]
mod tests {
    use super::BURN;

    #[test]
    fn the_version_of_burn_is_that_of_cargo_toml() {
        let manifest = include_str!("../../Cargo.toml");
        assert!(manifest.contains(&format!("burn = {{ version = \"={BURN}\"")));
    }
}
