use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on standard error; hidden when that is no terminal.
fn bar(length: u64, label: String, numbers: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    let template = format!("{{msg}} [{{bar:30}}] {numbers} {{eta}}");
    // The template is fixed, so it parses; if it did not, the default look would do.
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.with_message(label)
}

/// Counts `length` items.
pub(crate) fn items(length: usize, label: String) -> ProgressBar {
    bar(length as u64, label, "{pos}/{len}")
}

/// Counts `length` bytes, with their speed.
pub(crate) fn bytes(length: u64, label: String) -> ProgressBar {
    bar(length, label, "{bytes}/{total_bytes} {bytes_per_sec}")
}
