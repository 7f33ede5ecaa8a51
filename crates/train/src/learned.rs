//! What a learning step did, and why it was not taken if it was not.

use shortrun_langevin::{Divergence, StepSizes};

/// What an iteration did.
#[derive(Clone, Debug)]
pub struct Learned {
    /// The mean loss before the update, in nats an image. Of short-run inference and of all that
    /// learn with its energy: `-log p(x, e_K)` without constants.
    pub loss: f64,
    /// The loss in parts of that of a generator that is off by 1 in every value: about the mean squared
    /// error, whatever sigma is. None if the method has no such measure, or no loss.
    pub error: Option<f64>,
    /// What a method reports beside its loss, by name (of metrics.jsonl).
    pub parts: Vec<(&'static str, f64)>,
    /// Mean of the energy at the start of the chains, in nats; not a number without chains.
    pub start_energy: f64,
    /// Present if it was asked for.
    pub measured: Option<Measured>,
    /// The share of chains that diverged and were left out.
    pub diverged: f64,
    /// Why the update was not taken, if it was not.
    pub skipped: Option<Skip>,
    /// Sigma at this iteration.
    pub sigma: f64,
    /// The learning rate at this iteration, lowered for a while if chains diverged.
    pub learning_rate: f64,
    /// The step sizes of this iteration's chains, if there were any.
    pub step_sizes: Option<StepSizes>,
}

/// What is not needed to learn, but to watch.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Mean squared error of what was generated from the inferred latents, per value in [-1, 1].
    pub mse: f64,
    /// Norm of the loss's gradient in all weights, of the update that was taken or refused; not a
    /// number if it did not come to that.
    pub weight_gradient: f64,
    /// Mean over the chains of `|∇U(e_{K-1})|`, the last gradient each of them followed; not a
    /// number without chains.
    pub latent_gradient: f64,
}

/// Why an update was not taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Skip {
    /// Too many chains diverged.
    Diverged(Divergence),
    /// The loss is not a finite number, or beyond all measure.
    Loss {
        /// The loss.
        loss: f64,
        /// The loss of a generator that is off by 1 in every value; infinite if the method has no
        /// such measure.
        off_by_one: f64,
    },
    /// The loss is a finite number but its gradient is not.
    Gradient,
}

/// How often the loss of a generator that is off by 1 in every value is taken for an explosion.
/// (Images lie in [-1, 1], so that loss is already a very bad one.)
const EXPLODED: f64 = 1e4;

impl Learned {
    /// A step about to be taken, of a method without chains.
    pub fn new(sigma: f64, learning_rate: f64) -> Self {
        Self {
            loss: f64::NAN,
            error: None,
            parts: Vec::new(),
            start_energy: f64::NAN,
            measured: None,
            diverged: 0.0,
            skipped: None,
            sigma,
            learning_rate,
            step_sizes: None,
        }
    }

    /// Why the update was not taken, in words.
    pub fn reason(&self) -> Option<String> {
        self.skipped.map(|skip| match skip {
            Skip::Diverged(found) => {
                let sizes = self.step_sizes.as_ref();
                let sizes = sizes.map_or(String::new(), |s| format!(" and step size {s}"));
                // The mean may still have fallen where a few chains diverged.
                let energy = if found.last > found.lowest {
                    format!(
                        "fell to {:.4e}, then rose to {:.4e}",
                        found.lowest, found.last
                    )
                } else {
                    format!("fell to {:.4e}", found.last)
                };
                format!(
                    "{:.1} % of the chains diverged at step {} (mean energy {energy}) with sigma \
                     {:.4}{sizes}",
                    100.0 * found.share,
                    found.step,
                    self.sigma,
                )
            }
            Skip::Loss { loss, .. } if !loss.is_finite() => format!("the loss is {loss}"),
            Skip::Loss { loss, off_by_one } => format!(
                "the loss is {loss:.4e}, with sigma {:.4}; off by 1 in every value it would be \
                 {off_by_one:.4e}",
                self.sigma
            ),
            Skip::Gradient => "the gradient of the weights is not a finite number".to_owned(),
        })
    }
}

impl Skip {
    /// The loss in nats of a generator that is off by 1 in all `values` of an image, under noise
    /// `sigma`.
    pub fn off_by_one(values: usize, sigma: f64) -> f64 {
        values as f64 / (2.0 * sigma * sigma)
    }

    /// Whether a loss must not be learned from, given that of a generator that is off by 1 in every
    /// value; infinite if the method has no such measure.
    pub fn of_loss(loss: f64, off_by_one: f64) -> Option<Self> {
        let exploded = !loss.is_finite() || loss > EXPLODED * off_by_one;
        exploded.then_some(Self::Loss { loss, off_by_one })
    }

    /// What to change.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Diverged(_) => {
                "Each time step size and learning rate are lowered for a while; if it goes on, lower the \
                 learning rate (--set learning_rate=…) or the step size (--set \
                 langevin.step_size.eta=…), or keep sigma higher (--set sigma=…)."
            }
            Self::Loss { .. } | Self::Gradient => {
                "Lower the learning rate (--set learning_rate=…)."
            }
        }
    }
}
