//! Writing the page again and again while a run trains.

use std::{
    sync::atomic::Ordering,
    thread,
    time::{Duration, SystemTime},
};

use burn::prelude::*;
use shortrun_train::RunFolder;

use super::{Report, pages::Pages};
use crate::cli::{Failure, interrupt::stop_on_interrupt};

/// How long an interrupt waits at most.
const TICK: Duration = Duration::from_millis(100);

/// Writes the page now and whenever the run folder has changed, looking every so many seconds, until
/// nobody trains in it or an interrupt comes. The last page is whole and loads itself no more.
pub(super) fn watch<B: Backend>(pages: &mut Pages<B>, every: u64) -> Result<Report, Failure> {
    let stop = stop_on_interrupt("writing the page once more")?;
    let stopped = || stop.load(Ordering::Relaxed);
    let mut seen = None;
    while pages.folder.is_training() && !stopped() {
        let now = Some(changes(&pages.folder));
        if now != seen {
            seen = now;
            let report = pages.write(Some(every))?;
            err!("{report}");
        }
        let next = SystemTime::now() + Duration::from_secs(every);
        while SystemTime::now() < next && !stopped() && pages.folder.is_training() {
            thread::sleep(TICK);
        }
    }
    pages.write(None)
}

/// When the parts of a run that the page shows last changed.
fn changes(folder: &RunFolder) -> Vec<Option<SystemTime>> {
    let parts = [
        folder.metrics(),
        folder.checkpoints(),
        folder.evaluations(),
        folder.commands(),
    ];
    let changed = |path| std::fs::metadata(path).and_then(|found| found.modified());
    parts.into_iter().map(|path| changed(path).ok()).collect()
}
