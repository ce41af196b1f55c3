//! How busy this machine is, from `/proc`; zeros where there is none.

use std::fs::read_to_string;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a measurement is given out again.
const FRESH: Duration = Duration::from_secs(1);

/// Measures the machine, at most once a second however often it is asked.
#[derive(Debug)]
pub(crate) struct System {
    last: Mutex<Measurement>,
}

#[derive(Debug)]
struct Measurement {
    taken: Instant,
    ticks: CpuTicks,
    usage: Usage,
}

/// How busy the machine is.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(crate) struct Usage {
    /// Share of the processors' time that was not idle since the measurement before, 0 to 1.
    pub(crate) cpu: f64,
    /// Load average of the last minute.
    pub(crate) load: f64,
    /// Share of the memory that is in use, 0 to 1.
    pub(crate) memory: f64,
}

/// Time of all processors since the machine started.
#[derive(Debug, Default, Clone, Copy)]
struct CpuTicks {
    busy: u64,
    all: u64,
}

impl Default for System {
    fn default() -> Self {
        Self { last: Mutex::new(Measurement::take(CpuTicks::default())) }
    }
}

impl System {
    /// The latest measurement.
    pub(crate) fn usage(&self) -> Usage {
        let mut last = self.last.lock();
        if last.taken.elapsed() >= FRESH {
            *last = Measurement::take(last.ticks);
        }
        last.usage
    }
}

impl Measurement {
    fn take(before: CpuTicks) -> Self {
        let read = |path: &str| read_to_string(path).unwrap_or_default();
        let ticks = cpu_ticks(&read("/proc/stat"));
        let usage = Usage {
            cpu: share(
                ticks.busy.saturating_sub(before.busy),
                ticks.all.saturating_sub(before.all),
            ),
            load: load(&read("/proc/loadavg")),
            memory: memory(&read("/proc/meminfo")),
        };
        Self { taken: Instant::now(), ticks, usage }
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The first line sums up all processors: user, nice, system, idle, iowait and others.
fn cpu_ticks(stat: &str) -> CpuTicks {
    let line = stat.lines().next().and_then(|line| line.strip_prefix("cpu "));
    let fields = line.unwrap_or_default().split_whitespace().take(8);
    let fields: Vec<u64> = fields.map(|field| field.parse().unwrap_or(0)).collect();
    let all = fields.iter().sum();
    let idle: u64 = fields.iter().skip(3).take(2).sum();
    CpuTicks { busy: all - idle, all }
}

fn load(loadavg: &str) -> f64 {
    loadavg.split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(0.0)
}

fn memory(meminfo: &str) -> f64 {
    let field = |name: &str| -> Option<u64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse().ok()
    };
    match (field("MemTotal"), field("MemAvailable")) {
        (Some(total), Some(available)) => share(total.saturating_sub(available), total),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_linux_are_read() {
        let ticks = cpu_ticks("cpu  10 20 30 100 40 5 5 0 7 7\ncpu0 1 1 1 1\n");
        assert_eq!((ticks.busy, ticks.all), (70, 210));
        assert_eq!(load("0.52 0.58 0.59 2/300 12\n"), 0.52);
        let text = "MemTotal:       1000 kB\nMemFree: 10 kB\nMemAvailable:    250 kB\n";
        assert_eq!(memory(text), 0.75);
    }

    #[test]
    fn what_is_not_there_is_zero() {
        for bad in ["", "cpu ", "nonsense", "MemTotal: x"] {
            assert_eq!((cpu_ticks(bad).all, load(bad), memory(bad)), (0, 0.0, 0.0), "{bad}");
        }
    }
}
