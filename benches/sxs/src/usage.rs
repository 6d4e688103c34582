//! What the kernel says about a process.

use std::time::Duration;

use anyhow::Context;

/// Ticks a second in `/proc/PID/stat`: `USER_HZ`, which Linux has fixed at 100 for user space.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process's account so far.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// User and system time, of all its threads.
    pub cpu_seconds: f64,
    /// Resident memory now, in MB (10⁶ bytes).
    pub rss_mb: f64,
}

impl Usage {
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("the server is gone")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        Ok(Self { cpu_seconds: cpu_seconds(&stat)?, rss_mb: rss_mb(&status)? })
    }
}

/// How long ago the kernel started the process, to a hundredth of a second.
pub fn age(pid: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("the server is gone")?;
    let uptime = std::fs::read_to_string("/proc/uptime")?;
    let uptime: f64 = uptime.split_whitespace().next().context("no time in uptime")?.parse()?;
    let age = uptime - field(&stat, 22)? / TICKS_PER_SECOND;
    Duration::try_from_secs_f64(age).context("a process from the future")
}

/// A numeric field of `stat` by its number in proc(5), from 4 on; the process's name before them is in parentheses and may hold anything.
fn field(stat: &str, number: usize) -> anyhow::Result<f64> {
    let (_, fields) = stat.rsplit_once(')').context("no process name in stat")?;
    let field = fields.split_whitespace().nth(number - 3).context("stat is cut")?;
    Ok(field.parse()?)
}

/// User and system time.
fn cpu_seconds(stat: &str) -> anyhow::Result<f64> {
    Ok((field(stat, 14)? + field(stat, 15)?) / TICKS_PER_SECOND)
}

fn rss_mb(status: &str) -> anyhow::Result<f64> {
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS in status")?;
    let kib: f64 = line.split_whitespace().nth(1).context("no size in VmRSS")?.parse()?;
    Ok(kib * 1024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 10 0 0 0 250 50 0 0 20 0 1 0 100 1000 10";
        assert_eq!(cpu_seconds(stat).expect("parses"), 3.0);
        assert_eq!(field(stat, 22).expect("parses"), 100.0);
    }

    #[test]
    fn resident_memory_is_in_megabytes() {
        assert_eq!(rss_mb("Name:\tx\nVmRSS:\t 1000 kB\n").expect("parses"), 1.024);
    }
}
