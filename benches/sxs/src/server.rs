//! Starting and stopping the servers, by the scripts that the conformance tests use too.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::usage::Usage;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Kafka,
    Strata,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kafka => "Apache Kafka",
            Self::Strata => "Strata",
        })
    }
}

/// A server that runs; stopped when it is dropped.
pub struct Server {
    repository: PathBuf,
    folder: PathBuf,
    bootstrap: String,
    pid: u32,
    started_in: Duration,
}

impl Server {
    pub fn start(kind: Kind, repository: &Path, folder: &Path) -> anyhow::Result<Self> {
        let script = match kind {
            Kind::Kafka => "tests/conformance/start-kafka",
            Kind::Strata => "tests/conformance/start-strata",
        };
        let began = Instant::now();
        let mut command = Command::new(repository.join(script));
        command.arg(folder).stderr(Stdio::inherit());
        if kind == Kind::Strata {
            command.env("STRATA_BIN", strata()?);
        }
        let output = command.output().with_context(|| script.to_owned())?;
        let started_in = began.elapsed();
        anyhow::ensure!(output.status.success(), "{script} failed");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let bootstrap = printed.lines().find_map(|line| line.strip_prefix("export BOOTSTRAP="));
        let pid = std::fs::read_to_string(folder.join("server.pid"))?.trim().parse()?;
        Ok(Self {
            repository: repository.to_path_buf(),
            folder: folder.to_path_buf(),
            bootstrap: bootstrap.context("the script named no address")?.to_owned(),
            pid,
            started_in,
        })
    }

    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// From the script's start to the server's word that it is ready.
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    pub fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(self.pid)
    }

    /// How many records of a topic have not left Strata's log for the archive.
    pub fn records_in_the_log(&self, topic: &str) -> anyhow::Result<i64> {
        let mut command = Command::new(strata()?);
        command.args(["topic", "describe", topic, "--output", "json", "--bootstrap-server", &self.bootstrap]);
        let output = command.output()?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let partitions: Vec<Partition> = serde_json::from_slice(&output.stdout)?;
        Ok(partitions.iter().map(|partition| partition.end_offset - partition.local_start_offset).sum())
    }

    pub fn stop(self) -> anyhow::Result<()> {
        let status = Command::new(self.repository.join("tests/stop")).arg(&self.folder).status()?;
        anyhow::ensure!(status.success(), "the server did not stop in order");
        Ok(())
    }
}

impl Drop for Server {
    /// Also where a workload failed: no server is left behind. A second stop finds nothing and does no harm.
    fn drop(&mut self) {
        let _ = Command::new(self.repository.join("tests/stop")).arg("--kill").arg(&self.folder).status();
    }
}

#[derive(serde::Deserialize)]
struct Partition {
    local_start_offset: i64,
    end_offset: i64,
}

/// `$STRATA_BIN`, or `strata` beside this program: built by the same cargo command, with the same profile.
fn strata() -> anyhow::Result<PathBuf> {
    if let Some(named) = std::env::var_os("STRATA_BIN") {
        return Ok(named.into());
    }
    let beside = std::env::current_exe()?.with_file_name("strata");
    anyhow::ensure!(beside.exists(), "{} is missing: cargo build --release", beside.display());
    Ok(beside)
}
