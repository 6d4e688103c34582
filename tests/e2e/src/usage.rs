//! What a process uses, from `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::Context;

/// `/proc` counts CPU time in hundredths of a second, whatever the kernel's own clock.
const TICK: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    pub resident_bytes: u64,
    pub cpu: Duration,
    pub descriptors: usize,
}

impl Usage {
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kibibytes: u64 = resident.trim().trim_end_matches(" kB").parse()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The second field, the name in parentheses, may hold spaces. User and system time are the 14th and 15th.
        let after_name = stat.rsplit_once(')').context("no name")?.1;
        let ticks: u32 =
            after_name.split_whitespace().skip(11).take(2).map(str::parse::<u32>).sum::<Result<_, _>>()?;
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
        Ok(Self { resident_bytes: kibibytes * 1024, cpu: TICK * ticks, descriptors })
    }
}
