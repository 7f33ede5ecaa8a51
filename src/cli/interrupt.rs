//! Stopping when asked to.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::Failure;

/// The first interrupt asks to stop, which `answer` says, the second ends the program.
pub(super) fn stop_on_interrupt(answer: &'static str) -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    ctrlc::set_handler(move || {
        if asked.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        err!("{answer}; interrupt again to stop at once");
    })
    .map_err(|error| Failure::Other(format!("cannot listen for interrupts: {error}")))?;
    Ok(stop)
}
