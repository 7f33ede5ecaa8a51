//! Back-off after chains diverged: shorter steps and slower learning for a while; weights of before if
//! that does not help.

use serde::{Deserialize, Serialize};

use crate::{Learned, State};

/// What eta is multiplied by when as many chains diverged as are allowed, or more.
const BACK_OFF: f64 = 0.8;
/// What it is multiplied by after an update without any.
const RECOVERY: f64 = 1.02;
/// What it is multiplied by at least: chains that diverge even so have another fault.
const LEAST: f64 = 1e-3;
/// How much of the difference to its usual value is made up in an iteration.
const HABIT: f64 = 0.01;
/// Iterations between weights that are kept to go back to.
const KEEP_EVERY: u64 = 100;
/// Of the usual factor: above, chains are as stable as usual.
const STABLE: f64 = 0.95;
/// Of the usual factor: chains with steps shorter than this end early, and explain images worse for no
/// fault of the weights.
const COMPARABLE: f64 = 0.9;
/// Of the usual error: below, images are explained as usual.
const WELL_ERROR: f64 = 1.2;
/// Of the usual factor: steps that had to be shortened beyond this are not to blame, the weights are.
const ASTRAY: f64 = 0.5;
/// So they are after so many updates in a row that could not be taken, for whatever reason.
const ASTRAY_SKIPPED: u64 = 4;
/// Of the usual error: so they are, too, when images are explained so much worse.
const ASTRAY_ERROR: f64 = 2.0;
/// How much of the difference to its recent value the error makes up in an iteration: a few batches
/// that are hard to explain are no fault.
const RECENT: f64 = 0.2;
/// Of the usual factor: what steps are shortened to after going back.
const AFTER_GOING_BACK: f64 = 0.7;

/// Running geometric means of [`Learned::error`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Errors {
    /// Over some 5 updates.
    pub recent: f64,
    /// Over some 100; over all of a run's while they are fewer, or the large errors that a run begins
    /// with would be what is usual for long.
    pub usual: f64,
}

impl Errors {
    /// With that of an iteration, counted from 1.
    fn and(errors: Option<Self>, error: f64, iteration: u64) -> Self {
        let Self { recent, usual } = errors.unwrap_or(Self {
            recent: error,
            usual: error,
        });
        Self {
            recent: recent * (error / recent).powf(RECENT),
            usual: usual * (error / usual).powf(HABIT.max(1.0 / iteration.max(1) as f64)),
        }
    }
}

/// The factors of step sizes after an iteration that was counted already.
///
/// A chain that diverged once will do so again while the weights stay as they are, and the first few
/// are soon followed by many: so a few lower eta as well, in proportion, and updates without any
/// bring it back. (Lowered by skipped updates alone, it comes too late: the chains that swing before
/// they diverge make gradients that are many times as long as usual.)
pub(crate) fn update(state: &mut State, learned: &Learned, max_diverged: f64) {
    if learned.diverged > 0.0 {
        let part = (learned.diverged / max_diverged).min(1.0);
        state.step_factor = (state.step_factor * BACK_OFF.powf(part)).max(LEAST);
    } else if learned.skipped.is_none() {
        state.step_factor = (state.step_factor * RECOVERY).min(1.0);
    }
    state.usual_step_factor += HABIT * (state.step_factor - state.usual_step_factor);
    // Of an update that was not taken it is unknown, or no measure; 0 has no geometric mean.
    let comparable = learned.skipped.is_none() && relative(state) >= COMPARABLE;
    if let Some(error) = learned.error.filter(|error| comparable && *error > 0.0) {
        state.errors = Some(Errors::and(state.errors, error, state.iteration));
    }
}

/// What the learning rate is multiplied by.
///
/// Chains with shorter steps than the generator is used to end short of the posterior, and one that
/// learns from such latents becomes steeper still. So it learns in proportion to how far they get:
/// to the drift s = eta² / 2. (Used to, not set to: a setting that is too large for good should
/// not slow learning for good.)
pub(crate) fn rate_factor(state: &State) -> f64 {
    relative(state).min(1.0).powi(2)
}

/// Whether weights are worth keeping: chains have been as stable as usual for a while, and images are
/// explained about as well. So are the weights a run begins with.
pub(crate) fn all_is_well(state: &State) -> bool {
    state.iteration.is_multiple_of(KEEP_EVERY)
        && relative(state) >= STABLE
        && relative_error(state) < WELL_ERROR
        && state.skipped_in_a_row == 0
}

/// Whether to go back to weights of before. A generator that learns from chains with short steps
/// adapts to them: it gets steeper until they diverge as well, and seldom comes back by itself. Nor
/// does one whose images have become all black or all white, from which no chain diverges: there the
/// tanh that ends it has no slope.
pub(crate) fn is_astray(state: &State) -> bool {
    // Where weights of before did not help chains that diverge, steps have to shorten further.
    let diverging = relative(state) < ASTRAY || state.skipped_in_a_row >= ASTRAY_SKIPPED;
    relative_error(state) > ASTRAY_ERROR || (diverging && !state.went_back)
}

/// Shorter steps, and errors as they were, with the weights gone back to.
pub(crate) fn went_back(state: &mut State) {
    let before = match state.went_back {
        true => state.step_factor.min(state.usual_step_factor),
        false => state.usual_step_factor,
    };
    state.step_factor = (AFTER_GOING_BACK * before).max(LEAST);
    state.went_back = true;
    if let Some(errors) = &mut state.errors {
        errors.recent = errors.usual;
    }
}

fn relative(state: &State) -> f64 {
    state.step_factor / state.usual_step_factor
}

fn relative_error(state: &State) -> f64 {
    state
        .errors
        .map_or(1.0, |errors| errors.recent / errors.usual)
}

#[cfg(test)]
mod tests {
    use shortrun_langevin::Divergence;

    use super::*;
    use crate::Skip;

    fn state(step_factor: f64) -> State {
        State {
            step_factor,
            ..State::new("", 1)
        }
    }

    /// The factor after an iteration that began with this one.
    fn after(step_factor: f64, diverged: f64, skipped: Option<Skip>, allowed: f64) -> f64 {
        let mut state = state(step_factor);
        let learned = Learned {
            diverged,
            skipped,
            ..Learned::new(0.3, 1e-3)
        };
        update(&mut state, &learned, allowed);
        state.step_factor
    }

    #[test]
    fn steps_shorten_with_the_share_that_diverged() {
        let all = Divergence {
            share: 1.0,
            step: 1,
            lowest: 0.0,
            last: f64::NAN,
        };
        let skip = Some(Skip::Diverged(all));
        assert_eq!(after(0.5, 1.0, skip, 0.1), 0.5 * BACK_OFF);
        assert_eq!(after(0.5, 0.1, None, 0.1), 0.5 * BACK_OFF);
        // Two updates with half as many come to the same.
        let twice = after(after(0.5, 0.05, None, 0.1), 0.05, None, 0.1);
        assert!((twice - 0.5 * BACK_OFF).abs() < 1e-15);
        assert_eq!(after(LEAST, 0.05, None, 0.1), LEAST);
        // None may diverge: then every one is one too many.
        assert_eq!(after(0.5, 0.01, None, 0.0), 0.5 * BACK_OFF);
    }

    #[test]
    fn only_updates_without_divergence_bring_steps_back() {
        assert_eq!(after(0.5, 0.0, None, 0.1), 0.5 * RECOVERY);
        assert_eq!(after(0.99, 0.0, None, 0.1), 1.0);
        assert_eq!(after(0.5, 0.0, Some(Skip::Gradient), 0.1), 0.5);
    }

    #[test]
    fn learning_slows_with_a_fall_of_the_steps_and_not_with_small_steps() {
        assert_eq!(rate_factor(&state(1.0)), 1.0);
        assert_eq!(rate_factor(&state(0.5)), 0.25);
        // Eta was set ten times as large as chains bear: a twentieth of them diverges whenever it
        // passes a tenth of that.
        let mut state = state(1.0);
        let mut rates = Vec::new();
        for _ in 0..3_000 {
            let diverged = if state.step_factor > 0.1 { 0.05 } else { 0.0 };
            let learned = Learned {
                diverged,
                ..Learned::new(0.3, 1e-3)
            };
            update(&mut state, &learned, 0.1);
            rates.push(rate_factor(&state));
        }
        assert!(rates[20] < 0.1 && rates[2_000..].iter().all(|rate| *rate > 0.8));
        assert!(state.step_factor < 0.11 && !is_astray(&state));
    }

    #[test]
    fn images_explained_worse_than_usual_for_a_while_are_a_reason_too() {
        let with = |errors: &[f64], skipped: Option<Skip>| {
            let mut state = state(1.0);
            state.iteration = 100;
            for error in errors {
                let learned = Learned {
                    error: Some(*error),
                    skipped,
                    ..Learned::new(0.3, 1e-3)
                };
                update(&mut state, &learned, 0.1);
            }
            state
        };
        let falling: Vec<f64> = (0..800).map(|i| 0.02 + 0.3 * 0.98_f64.powi(i)).collect();
        let and = |more: &[f64]| with(&[falling.as_slice(), more].concat(), None);
        assert!(all_is_well(&and(&[])) && !is_astray(&and(&[])));
        // A batch that is hard to explain is no fault; three in a row are no weights to keep.
        assert!(all_is_well(&and(&[0.04])) && !is_astray(&and(&[0.04; 3])));
        assert!(!all_is_well(&and(&[0.04; 3])));
        // All black.
        assert!(is_astray(&and(&[0.4, 0.4])));
        let mut state = and(&[0.4, 0.4]);
        went_back(&mut state);
        assert!(!is_astray(&state) && state.step_factor == AFTER_GOING_BACK);
        // Black again before any weights were kept: shorter still.
        state.errors = and(&[0.4, 0.4]).errors;
        assert!(is_astray(&state));
        went_back(&mut state);
        assert_eq!(state.step_factor, AFTER_GOING_BACK * AFTER_GOING_BACK);
        // What was not learned from counts for nothing.
        assert_eq!(with(&[0.4], Some(Skip::Gradient)).errors, None);
    }

    #[test]
    fn a_run_that_goes_black_early_is_told_by_all_its_errors() {
        let mut state = state(1.0);
        let mut learn = |error: f64| {
            state.iteration += 1;
            let learned = Learned {
                error: Some(error),
                ..Learned::new(0.3, 1e-3)
            };
            update(&mut state, &learned, 0.1);
            is_astray(&state)
        };
        // Most is learned in the first ten updates.
        let learning = (0..60).any(|i| learn(0.05 + 0.3 * 0.7_f64.powi(i)));
        let black = (0..8).any(|_| learn(0.4));
        assert!(!learning && black);
    }

    #[test]
    fn images_explained_worse_by_shorter_steps_are_none() {
        let mut state = state(1.0);
        let update = |state: &mut State| {
            let learned = Learned {
                // As of chains that end early.
                error: Some(0.02 / state.step_factor.powi(2)),
                ..Learned::new(0.3, 1e-3)
            };
            super::update(state, &learned, 0.1);
        };
        update(&mut state);
        went_back(&mut state);
        // Chains diverged with those weights too.
        state.step_factor = 0.4;
        while state.step_factor < 1.0 {
            update(&mut state);
            assert!(!is_astray(&state), "{}", state.step_factor);
        }
    }

    #[test]
    fn weights_are_kept_when_all_is_well_and_gone_back_to_when_they_are_to_blame() {
        let state = |iteration, step_factor, usual_step_factor, skipped_in_a_row| State {
            iteration,
            usual_step_factor,
            skipped_in_a_row,
            ..state(step_factor)
        };
        assert!(all_is_well(&state(0, 1.0, 1.0, 0)));
        assert!(all_is_well(&state(300, 1.0, 1.0, 0)));
        assert!(all_is_well(&state(300, 0.2, 0.2, 0)));
        for state in [
            state(301, 1.0, 1.0, 0),
            state(300, 0.9, 1.0, 0),
            state(300, 1.0, 1.0, 1),
            state(300, 0.6, 1.0, 3),
        ] {
            assert!(!all_is_well(&state) && !is_astray(&state));
        }
        assert!(is_astray(&state(1, 0.49, 1.0, 0)));
        // Gradients that are no numbers lower no step size.
        assert!(is_astray(&state(1, 1.0, 1.0, 4)));
        // Those weights were tried already.
        let mut tried = state(1, 0.49, 1.0, 4);
        tried.went_back = true;
        assert!(!is_astray(&tried));
    }
}
