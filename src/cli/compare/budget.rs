//! What each method of a comparison is given.

use std::{ffi::OsString, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// What each method is given.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Budget {
    /// So many updates.
    Updates(u64),
    /// So much time for training.
    Minutes(f64),
}

impl FromStr for Budget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unclear = || "write updates, such as 2000, or minutes, such as 10m".to_owned();
        if let Some(minutes) = text.strip_suffix('m') {
            let minutes: f64 = minutes.parse().map_err(|_| unclear())?;
            // More than a Duration holds is a slip as well.
            let sound = Duration::try_from_secs_f64(60.0 * minutes).is_ok_and(|d| !d.is_zero());
            return sound.then_some(Self::Minutes(minutes)).ok_or_else(unclear);
        }
        match text.parse() {
            Ok(0) | Err(_) => Err(unclear()),
            Ok(updates) => Ok(Self::Updates(updates)),
        }
    }
}

impl Budget {
    /// What arguments of `train` say.
    pub(super) fn of(arguments: &[OsString]) -> Option<Self> {
        let value = |flag: &str| {
            let place = arguments.iter().position(|argument| argument == flag)?;
            arguments.get(place + 1)?.to_str()
        };
        match value("--minutes") {
            Some(minutes) => minutes.parse().ok().map(Self::Minutes),
            None => value("--steps")?.parse().ok().map(Self::Updates),
        }
    }

    /// Whether a run that was given `before` can go on until it has been given this.
    pub(super) fn goes_on_from(self, before: Self) -> bool {
        match (before, self) {
            (Self::Updates(before), Self::Updates(now)) => before <= now,
            (Self::Minutes(before), Self::Minutes(now)) => before <= now,
            _ => false,
        }
    }

    /// The flags of `train` that keep to it.
    pub(super) fn flags(self) -> Vec<String> {
        match self {
            Self::Updates(updates) => vec!["--steps".to_owned(), updates.to_string()],
            // Steps enough never to end before the time does.
            Self::Minutes(minutes) => ["--minutes", &minutes.to_string(), "--steps", "1000000000"]
                .map(str::to_owned)
                .to_vec(),
        }
    }

    pub(super) fn updates(self) -> Option<u64> {
        match self {
            Self::Updates(updates) => Some(updates),
            Self::Minutes(_) => None,
        }
    }

    pub(super) fn words(self) -> String {
        match self {
            Self::Updates(updates) => format!("{updates} updates each"),
            Self::Minutes(minutes) => format!("{minutes} minutes of training each"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_updates_or_minutes() {
        assert_eq!("2000".parse(), Ok(Budget::Updates(2000)));
        assert_eq!("2.5m".parse(), Ok(Budget::Minutes(2.5)));
        for wrong in ["0", "0m", "-1m", "m", "ten", "infm", "NaNm", "1e300m", "5s"] {
            assert!(wrong.parse::<Budget>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn it_is_read_from_the_flags_it_gives() {
        for budget in [Budget::Updates(7), Budget::Minutes(2.5)] {
            let flags: Vec<OsString> = budget.flags().into_iter().map(OsString::from).collect();
            assert_eq!(Budget::of(&flags), Some(budget));
        }
        assert_eq!(Budget::of(&[]), None);
    }

    #[test]
    fn runs_go_on_with_more_of_the_same_kind() {
        let (updates, minutes) = (Budget::Updates(7), Budget::Minutes(2.5));
        assert!(Budget::Updates(9).goes_on_from(updates) && updates.goes_on_from(updates));
        assert!(Budget::Minutes(3.0).goes_on_from(minutes));
        assert!(
            !Budget::Updates(6).goes_on_from(updates)
                && !Budget::Minutes(2.0).goes_on_from(minutes)
        );
        assert!(!minutes.goes_on_from(updates) && !updates.goes_on_from(minutes));
    }
}
