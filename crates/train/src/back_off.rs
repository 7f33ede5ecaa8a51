//! Back-off after chains diverged: shorter steps and slower learning for a while; weights of before if
//! that does not help.

use crate::{Learned, State};

/// What eta is multiplied by when as many chains diverged as are allowed, or more.
const BACK_OFF: f64 = 0.8;
/// What it is multiplied by after an update without any.
const RECOVERY: f64 = 1.02;

/// What the step sizes are multiplied by (every eta) after an iteration, given what they were in it.
///
/// A chain that diverged once will do so again while the weights stay as they are, and the first few
/// are soon followed by many: so a few lower eta as well, in proportion, and updates without any
/// bring it back. (Lowered by skipped updates alone, it comes too late: the chains that swing before
/// they diverge make gradients that are many times as long as usual.)
pub(crate) fn next(step_factor: f64, learned: &Learned, max_diverged: f64) -> f64 {
    if learned.diverged > 0.0 {
        let part = (learned.diverged / max_diverged).min(1.0);
        step_factor * BACK_OFF.powf(part)
    } else if learned.skipped.is_none() {
        (step_factor * RECOVERY).min(1.0)
    } else {
        step_factor
    }
}

/// What the learning rate is multiplied by while step sizes are.
///
/// Chains with shorter steps than they should have end short of the posterior, and a generator that
/// learns from such latents becomes steeper still. So it learns in proportion to how far they get:
/// to the drift s = eta² / 2.
pub(crate) fn rate_factor(step_factor: f64) -> f64 {
    step_factor.powi(2)
}

/// Iterations between weights that are kept to go back to.
const KEEP_EVERY: u64 = 100;
/// Steps that had to be shortened beyond this are not to blame: the weights are.
const ASTRAY: f64 = 0.5;
/// So they are after so many updates in a row that could not be taken, for whatever reason.
const ASTRAY_SKIPPED: u64 = 4;
/// What step sizes are multiplied by after going back.
pub(crate) const AFTER_GOING_BACK: f64 = 0.7;

/// Whether weights are worth keeping: chains have been stable for a while.
pub(crate) fn all_is_well(state: &State) -> bool {
    state.iteration.is_multiple_of(KEEP_EVERY)
        && state.step_factor == 1.0
        && state.skipped_in_a_row == 0
}

/// Whether to go back to weights of before. A generator that learns from chains with short steps
/// adapts to them: it gets steeper until they diverge as well, and seldom comes back by itself.
pub(crate) fn is_astray(state: &State) -> bool {
    state.step_factor < ASTRAY || state.skipped_in_a_row >= ASTRAY_SKIPPED
}

#[cfg(test)]
mod tests {
    use shortrun_langevin::Divergence;

    use super::*;
    use crate::Skip;

    fn learned(diverged: f64, skipped: Option<Skip>) -> Learned {
        Learned {
            diverged,
            skipped,
            ..Learned::new(0.3, 1e-3)
        }
    }

    #[test]
    fn steps_shorten_with_the_share_that_diverged() {
        let all = Divergence {
            share: 1.0,
            step: 1,
            lowest: 0.0,
            last: f64::NAN,
        };
        let after = |share, skipped| next(0.5, &learned(share, skipped), 0.1);
        assert_eq!(after(1.0, Some(Skip::Diverged(all))), 0.5 * BACK_OFF);
        assert_eq!(after(0.1, None), 0.5 * BACK_OFF);
        // Two updates with half as many come to the same.
        let twice = next(after(0.05, None), &learned(0.05, None), 0.1);
        assert!((twice - 0.5 * BACK_OFF).abs() < 1e-15);
        // None may diverge: then every one is one too many.
        assert_eq!(next(0.5, &learned(0.01, None), 0.0), 0.5 * BACK_OFF);
    }

    #[test]
    fn only_updates_without_divergence_bring_steps_back() {
        assert_eq!(next(0.5, &learned(0.0, None), 0.1), 0.5 * RECOVERY);
        assert_eq!(next(0.99, &learned(0.0, None), 0.1), 1.0);
        assert_eq!(next(0.5, &learned(0.0, Some(Skip::Gradient)), 0.1), 0.5);
    }

    #[test]
    fn weights_are_kept_when_all_is_well_and_gone_back_to_when_they_are_to_blame() {
        let state = |iteration, step_factor, skipped_in_a_row| State {
            iteration,
            step_factor,
            skipped_in_a_row,
            ..State::new("", 1)
        };
        assert!(all_is_well(&state(300, 1.0, 0)));
        for state in [
            state(301, 1.0, 0),
            state(300, 0.99, 0),
            state(300, 1.0, 1),
            state(300, 0.6, 3),
        ] {
            assert!(!all_is_well(&state) && !is_astray(&state));
        }
        assert!(is_astray(&state(1, 0.49, 0)));
        // Gradients that are no numbers lower no step size.
        assert!(is_astray(&state(1, 1.0, 4)));
    }
}
