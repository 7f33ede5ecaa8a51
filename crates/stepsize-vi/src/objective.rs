//! Which objective.

use burn::prelude::*;
use serde::{Deserialize, Serialize};
use shortrun_langevin::StepSizes;

use crate::{
    Evaluation, LanczosConfig, Model, ObjectiveError, Problem, Slope, augmented, exact, lanczos,
};

/// What is minimised over the step size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// All d eigenvalues of every factor of the chain's Jacobian: d Hessian-vector products (or
    /// one Hessian) a Langevin step.
    Exact,
    /// Stochastic Lanczos quadrature of the determinants.
    Lanczos(LanczosConfig),
    /// The augmented bound: gradients only, and looser.
    Augmented,
}

/// An [`Objective`] by its name, without settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectiveName {
    /// [`Objective::Exact`].
    Exact,
    /// [`Objective::Lanczos`].
    Lanczos,
    /// [`Objective::Augmented`].
    Augmented,
}

impl ObjectiveName {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Exact, Self::Lanczos, Self::Augmented];

    /// The name on the command line and in `config.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Lanczos => "lanczos",
            Self::Augmented => "augmented",
        }
    }

    /// The objective so named; `lanczos` are its settings if it is that one.
    pub fn with(self, lanczos: LanczosConfig) -> Objective {
        match self {
            Self::Exact => Objective::Exact,
            Self::Lanczos => Objective::Lanczos(lanczos),
            Self::Augmented => Objective::Augmented,
        }
    }
}

impl Objective {
    /// Its name.
    pub fn name(self) -> &'static str {
        let name = match self {
            Self::Exact => ObjectiveName::Exact,
            Self::Lanczos(_) => ObjectiveName::Lanczos,
            Self::Augmented => ObjectiveName::Augmented,
        };
        name.name()
    }

    /// The objective at these step sizes.
    ///
    /// # Errors
    /// If the step sizes do not fit, the model lacks what the objective needs, its Hessians do not
    /// fit into memory, or the energies are not finite before any step. A chain that explodes on
    /// its way is no error but an infinite objective.
    pub fn evaluate<B: Backend>(
        self,
        model: &Model<'_, B>,
        problem: &Problem<B>,
        sizes: &StepSizes,
    ) -> Result<Evaluation, ObjectiveError> {
        match self {
            Self::Exact => exact::evaluate(model, problem, sizes),
            Self::Lanczos(config) => lanczos::evaluate(model, problem, sizes, config),
            Self::Augmented => augmented::evaluate(model, problem, sizes),
        }
    }

    /// The objective and its exact derivatives.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate); and the Lanczos objective has no gradient.
    pub fn slope<B: Backend>(
        self,
        model: &Model<'_, B>,
        problem: &Problem<B>,
        sizes: &StepSizes,
    ) -> Result<Slope, ObjectiveError> {
        match self {
            Self::Exact => exact::slope(model, problem, sizes),
            Self::Lanczos(_) => Err(ObjectiveError::NoGradient),
            Self::Augmented => augmented::slope(model, problem, sizes),
        }
    }
}
