//! Starting and stopping the servers, by the scripts that the conformance tests use too.

use std::fmt;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::usage::{self, Usage};

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

impl Kind {
    /// Apache Kafka's controller has a port of its own.
    fn ports(self) -> usize {
        match self {
            Self::Kafka => 2,
            Self::Strata => 1,
        }
    }
}

/// The port of a folder's server. The start scripts read it from there.
fn port(kind: Kind, folder: &Path) -> anyhow::Result<String> {
    let file = folder.join("ports");
    if !file.exists() {
        let held =
            (0..kind.ports()).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
        let ports: Vec<_> = held
            .iter()
            .map(|held| held.local_addr().map(|at| at.port().to_string()))
            .collect::<Result<_, _>>()?;
        std::fs::write(&file, ports.join(" ") + "\n")?;
    }
    let ports = std::fs::read_to_string(&file)?;
    Ok(ports.split_whitespace().next().context("no port")?.to_owned())
}

/// A server that runs; stopped when it is dropped.
pub struct Server {
    repository: PathBuf,
    folder: PathBuf,
    bootstrap: String,
    pid: u32,
    answered_after: Duration,
}

impl Server {
    /// Starts a server on a new folder, or again on one that it had. `knock` is a client that is there before the
    /// server, is given its address, and tells when it was answered. `overrides` are broker settings, `key=value`.
    pub fn start(
        kind: Kind,
        repository: &Path,
        folder: &Path,
        overrides: &[&str],
        knock: impl FnOnce(&str) -> anyhow::Result<Instant> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let script = match kind {
            Kind::Kafka => "tests/conformance/start-kafka",
            Kind::Strata => "tests/conformance/start-strata",
        };
        let bootstrap = format!("127.0.0.1:{}", port(kind, folder)?);
        let answered = std::thread::spawn({
            let bootstrap = bootstrap.clone();
            move || knock(&bootstrap)
        });
        let mut command = Command::new(repository.join(script));
        command.arg(folder).stdout(Stdio::null()).stderr(Stdio::inherit());
        command.args(overrides.iter().flat_map(|setting| ["--override", setting]));
        if kind == Kind::Strata {
            command.env("STRATA_BIN", strata()?);
        }
        anyhow::ensure!(command.status().context(script)?.success(), "{script} failed");
        let pid = std::fs::read_to_string(folder.join("server.pid"))?.trim().parse()?;
        let mut server = Self {
            repository: repository.to_path_buf(),
            folder: folder.to_path_buf(),
            bootstrap,
            pid,
            answered_after: Duration::ZERO,
        };
        let answered = answered.join().map_err(|_| anyhow::anyhow!("the first client panicked"))??;
        server.answered_after = usage::age(pid)?.saturating_sub(answered.elapsed());
        Ok(server)
    }

    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// From the process's start to its answer to the client that knocked all the time.
    pub fn answered_after(&self) -> Duration {
        self.answered_after
    }

    /// How many files, sockets and the like it has open.
    pub fn descriptors(&self) -> anyhow::Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.pid))?.count())
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

    /// SIGKILL.
    pub fn kill(self) -> anyhow::Result<()> {
        let status =
            Command::new(self.repository.join("tests/stop")).arg("--kill").arg(&self.folder).status()?;
        anyhow::ensure!(status.success(), "the server could not be killed");
        Ok(())
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
