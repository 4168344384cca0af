//! What Prometheus knows of any process: processor time, memory, open files, its start.
//!
//! Read from `/proc` when somebody asks, so a system without it has none of them.

use std::fs;

use opentelemetry::{KeyValue, metrics::Meter};

/// Units of processor time in a second. Linux gives it to programs as this constant,
/// whatever the kernel was built with.
const TICKS_PER_SECOND: f64 = 100.0;

/// Counts what the process takes, and says which version it is.
pub fn observe(meter: &Meter) {
    let version = [KeyValue::new("version", env!("CARGO_PKG_VERSION"))];
    meter
        .u64_observable_gauge("mintage.build_info")
        .with_description("1, with the version of this Mintage.")
        .with_callback(move |told| told.observe(1, &version))
        .build();
    meter
        .f64_observable_counter("process.cpu")
        .with_unit("s")
        .with_description("Processor time of the process, its own and the system's for it.")
        .with_callback(|told| {
            if let Some(stat) = Stat::read() {
                told.observe(stat.cpu_seconds, &[]);
            }
        })
        .build();
    meter
        .u64_observable_gauge("process.resident_memory")
        .with_unit("By")
        .with_description("Memory of the process that is not swapped out.")
        .with_callback(|told| {
            if let Some(bytes) = resident_bytes() {
                told.observe(bytes, &[]);
            }
        })
        .build();
    meter
        .u64_observable_gauge("process.open_fds")
        .with_description("Files and sockets that are open.")
        .with_callback(|told| {
            if let Ok(open) = fs::read_dir("/proc/self/fd") {
                // One of them is the folder's own.
                told.observe(open.count().saturating_sub(1) as u64, &[]);
            }
        })
        .build();
    meter
        .u64_observable_gauge("process.max_fds")
        .with_description("Files and sockets that may be open.")
        .with_callback(|told| {
            if let Some(most) = max_fds() {
                told.observe(most, &[]);
            }
        })
        .build();
    meter
        .f64_observable_gauge("process.start_time")
        .with_unit("s")
        .with_description("When the process began, in Unix seconds.")
        .with_callback(|told| {
            if let Some((boot, stat)) = boot_seconds().zip(Stat::read()) {
                told.observe(boot + stat.began_after_boot, &[]);
            }
        })
        .build();
}

/// What of `/proc/self/stat` is told, in seconds.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_seconds: f64,
    began_after_boot: f64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// The program's name comes second, in parentheses, and may hold anything.
    fn parse(stat: &str) -> Option<Self> {
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        // proc(5) counts from 1, and the first two are gone.
        let seconds = |number: usize| {
            let ticks: f64 = fields.get(number - 3)?.parse().ok()?;
            Some(ticks / TICKS_PER_SECOND)
        };
        Some(Self { cpu_seconds: seconds(14)? + seconds(15)?, began_after_boot: seconds(22)? })
    }
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1_024)
}

fn max_fds() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn boot_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_of_the_program_moves_no_field() {
        let stat = "7 (a) R 1 (b)) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 7 8 20 0 9 0 123456 1 2";
        assert_eq!(Stat::parse(stat), Some(Stat { cpu_seconds: 3.0, began_after_boot: 1_234.56 }));
        assert_eq!(Stat::parse("7 (a) S 1"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn this_process_has_begun_takes_memory_and_has_files_open() {
        let stat = Stat::read().unwrap();
        let began = boot_seconds().unwrap() + stat.began_after_boot;
        assert!(began > 1_700_000_000.0 && stat.cpu_seconds < 1e6, "{stat:?} {began}");
        assert!(resident_bytes().unwrap() > 1 << 20);
        assert!(max_fds().unwrap() > 10);
    }
}
