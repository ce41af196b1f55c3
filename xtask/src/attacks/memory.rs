//! What a process holds, from `/proc`.

use std::fs;

use anyhow::{Context, Result};

/// Resident memory of process `pid` now, in MiB.
pub(super) fn held_mib(pid: u32) -> Result<f64> {
    field(pid, "VmRSS:")
}

/// The most that the process has held since [`forget_peak`], in MiB.
pub(super) fn peak_mib(pid: u32) -> Result<f64> {
    field(pid, "VmHWM:")
}

/// Lets the peak begin with what is held now.
pub(super) fn forget_peak(pid: u32) -> Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").context("reset the peak of the memory")
}

fn field(pid: u32, name: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("read the memory")?;
    let kib = kib_in(&status, name).with_context(|| format!("no {name} of {pid}"))?;
    Ok(kib / 1_024.0)
}

fn kib_in(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_read_by_its_name() {
        let status = "Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(kib_in(status, "VmRSS:"), Some(1_024.0));
        assert_eq!(kib_in(status, "VmHWM:"), Some(2_048.0));
        assert_eq!(kib_in(status, "VmSwap:"), None);
    }
}
