//! Picking one of the compiled backends by name.

use std::fmt;

use burn::prelude::*;
use thiserror::Error;

/// A backend of Burn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum BackendName {
    /// The CPU.
    Flex,
    /// NVIDIA GPUs.
    Cuda,
    /// GPUs through WebGPU.
    Wgpu,
    /// GPUs through Vulkan.
    Vulkan,
    /// Apple GPUs.
    Metal,
    /// AMD GPUs.
    Rocm,
}

/// A backend that was not compiled in.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "this program was compiled without the {0} backend; build it with `--features {0}` (compiled \
     in: {1})"
)]
pub struct NotCompiled(BackendName, String);

/// Work that can be done on any backend.
pub trait OnBackend {
    /// What it gives.
    type Output;

    /// Does it.
    fn run<B: Backend>(self, device: B::Device) -> Self::Output;
}

impl BackendName {
    /// The backends compiled into this program; the first is the default.
    pub const COMPILED: &[Self] = &[
        #[cfg(feature = "flex")]
        Self::Flex,
        #[cfg(feature = "cuda")]
        Self::Cuda,
        #[cfg(feature = "wgpu")]
        Self::Wgpu,
        #[cfg(feature = "vulkan")]
        Self::Vulkan,
        #[cfg(feature = "metal")]
        Self::Metal,
        #[cfg(feature = "rocm")]
        Self::Rocm,
    ];

    /// This backend, if it was compiled in.
    ///
    /// # Errors
    /// If it was not; the error names the feature.
    pub fn compiled(self) -> Result<Self, NotCompiled> {
        if Self::COMPILED.contains(&self) {
            Ok(self)
        } else {
            Err(self.not_compiled())
        }
    }

    /// Whether the generator's products can be computed in 16 bits or in float32 there.
    pub fn has_precisions(self) -> bool {
        matches!(self, Self::Cuda | Self::Wgpu | Self::Vulkan)
    }

    fn not_compiled(self) -> NotCompiled {
        let compiled: Vec<String> = Self::COMPILED.iter().map(Self::to_string).collect();
        let compiled = if compiled.is_empty() {
            "none".to_owned()
        } else {
            compiled.join(", ")
        };
        NotCompiled(self, compiled)
    }

    /// Does `work` on this backend's default device.
    ///
    /// # Errors
    /// If the backend was not compiled in; the error names the feature.
    pub fn run<W: OnBackend>(self, work: W) -> Result<W::Output, NotCompiled> {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => Ok(work.run::<burn::backend::Flex>(Default::default())),
            #[cfg(feature = "cuda")]
            Self::Cuda => Ok(work.run::<burn::backend::Cuda>(Default::default())),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Ok(work.run::<burn::backend::Wgpu>(Default::default())),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => Ok(work.run::<burn::backend::Vulkan>(Default::default())),
            #[cfg(feature = "metal")]
            Self::Metal => Ok(work.run::<burn::backend::Metal>(Default::default())),
            #[cfg(feature = "rocm")]
            Self::Rocm => Ok(work.run::<burn::backend::Rocm>(Default::default())),
            #[allow(unreachable_patterns)]
            missing => Err(missing.not_compiled()),
        }
    }
}

impl fmt::Display for BackendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flex => "flex",
            Self::Cuda => "cuda",
            Self::Wgpu => "wgpu",
            Self::Vulkan => "vulkan",
            Self::Metal => "metal",
            Self::Rocm => "rocm",
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    struct Name;

    impl OnBackend for Name {
        type Output = String;

        fn run<B: Backend>(self, device: B::Device) -> String {
            B::name(&device)
        }
    }

    #[test]
    fn every_backend_runs_or_names_its_feature() {
        use clap::ValueEnum;
        // A GPU that was compiled in need not be there, so only the CPU is run.
        #[cfg(feature = "flex")]
        assert_eq!(BackendName::Flex.run(Name).unwrap(), "flex");
        for name in BackendName::value_variants() {
            if BackendName::COMPILED.contains(name) {
                continue;
            }
            let error = name.run(Name).unwrap_err().to_string();
            assert!(error.contains(&format!("--features {name}")), "{error}");
        }
    }
}
