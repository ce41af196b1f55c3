//! What the numbers were measured on.

use std::fs;
use std::process::Command;

use serde::Serialize;

/// Facts without which a number means nothing.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    cores: usize,
    processor: String,
    memory_mib: u64,
    kernel: String,
    rustc: String,
}

impl Machine {
    pub(super) fn look() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let version = Command::new("rustc").arg("--version").output();
        let rustc = version.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kibibytes = memory.split_whitespace().next().and_then(|number| number.parse().ok());
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            processor: field(&read("/proc/cpuinfo"), "model name"),
            memory_mib: kibibytes.unwrap_or(0_u64) / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            rustc: rustc.unwrap_or_default(),
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cores, processor, memory_mib, kernel, rustc } = self;
        write!(formatter, "{cores} cores of {processor}, {memory_mib} MiB, Linux {kernel}, {rustc}")
    }
}

/// The value behind `name:` in the texts of `/proc`.
fn field(text: &str, name: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim());
    value.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name() {
        let text = "processor\t: 0\nmodel name\t: Some CPU: fast\nmodel name\t: other\n";
        assert_eq!(field(text, "model name"), "Some CPU: fast");
        assert_eq!(field(text, "flags"), "");
    }
}
