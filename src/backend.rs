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

/// Why a backend cannot be had.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BackendError {
    /// It was not compiled in.
    #[error(
        "this program was compiled without the {0} backend; build it with `--features {0}` \
         (compiled in: {1})"
    )]
    NotCompiled(BackendName, String),
    /// There is no driver or no device.
    #[error("the {0} backend finds no device it can use; is its driver installed? ({1})")]
    NoDevice(BackendName, String),
}

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
    pub fn compiled(self) -> Result<Self, BackendError> {
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

    fn not_compiled(self) -> BackendError {
        let compiled: Vec<String> = Self::COMPILED.iter().map(Self::to_string).collect();
        let compiled = if compiled.is_empty() {
            "none".to_owned()
        } else {
            compiled.join(", ")
        };
        BackendError::NotCompiled(self, compiled)
    }

    /// Does `work` on this backend's default device.
    ///
    /// # Errors
    /// If the backend was not compiled in (the error names the feature), or has no device.
    pub fn run<W: OnBackend>(self, work: W) -> Result<W::Output, BackendError> {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => Ok(work.run::<burn::backend::Flex>(Default::default())),
            #[cfg(feature = "cuda")]
            Self::Cuda => self.on_gpu::<burn::backend::Cuda, W>(work),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => self.on_gpu::<burn::backend::Wgpu, W>(work),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => self.on_gpu::<burn::backend::Vulkan, W>(work),
            #[cfg(feature = "metal")]
            Self::Metal => self.on_gpu::<burn::backend::Metal, W>(work),
            #[cfg(feature = "rocm")]
            Self::Rocm => self.on_gpu::<burn::backend::Rocm, W>(work),
            #[allow(unreachable_patterns)]
            missing => Err(missing.not_compiled()),
        }
    }

    /// On a backend whose runtime panics where there is no driver or device.
    #[cfg(any(
        feature = "cuda",
        feature = "wgpu",
        feature = "vulkan",
        feature = "metal",
        feature = "rocm"
    ))]
    fn on_gpu<B: Backend, W: OnBackend>(self, work: W) -> Result<W::Output, BackendError> {
        use std::panic;
        let device = B::Device::default();
        let said = panic::take_hook();
        panic::set_hook(Box::new(|_| ()));
        let found = panic::catch_unwind(panic::AssertUnwindSafe(|| {
            Tensor::<B, 1>::ones([1], &device).into_data()
        }));
        panic::set_hook(said);
        match found {
            Ok(_) => Ok(work.run::<B>(device)),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                let text = text.unwrap_or("no reason given");
                Err(BackendError::NoDevice(self, text.to_owned()))
            }
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
