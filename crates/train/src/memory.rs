//! How much memory this process has needed.

/// The most memory that this process has had at once, in MiB: Linux's `VmHWM`. `None` on other
/// systems. What lies on a GPU does not count.
pub(crate) fn peak_memory_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn memory_in_use_is_counted() {
        let values = std::hint::black_box(vec![1_u8; 64 << 20]);
        let peak = peak_memory_mib().unwrap_or_default();
        assert!(peak > 64.0 && values[77] == 1, "{peak}");
    }
}
