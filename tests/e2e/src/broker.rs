//! A broker process of our own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tempfile::TempDir;

use crate::{Usage, Wire};

/// From the start of the process to its `ready` line, on a busy machine.
const READY_MAX: Duration = Duration::from_secs(90);
/// From SIGTERM to the end of the process.
const STOP_MAX: Duration = Duration::from_secs(30);
/// How much of its log a broker that fails is quoted with.
const LOG_LINES_MAX: usize = 20;

/// What it keeps is below this, in its folder.
const DATA: &str = "data";

#[derive(Debug, Clone, Default)]
pub struct BrokerOptions {
    /// `--override KEY=VALUE`, each.
    pub overrides: Vec<String>,
    /// `--object-store URL`; a folder beside the data unless given.
    pub object_store: Option<String>,
    /// Environment variables, beside those of the test itself.
    pub environment: Vec<(String, String)>,
}

impl BrokerOptions {
    pub fn with(mut self, setting: &str) -> Self {
        self.overrides.push(setting.to_owned());
        self
    }

    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A running broker, with a folder for all that it keeps. Dropped, it is killed and the folder removed.
#[derive(Debug)]
pub struct Broker {
    folder: TempDir,
    options: BrokerOptions,
    child: Child,
    address: SocketAddr,
}

impl Broker {
    /// Starts a broker on a free port and an empty folder, and waits until it is ready.
    pub fn start(options: BrokerOptions) -> anyhow::Result<Self> {
        Self::start_in(tempfile::tempdir()?, options)
    }

    fn start_in(folder: TempDir, options: BrokerOptions) -> anyhow::Result<Self> {
        let log = folder.path().join("server.log");
        let store = match &options.object_store {
            Some(url) => url.clone(),
            None => {
                let objects = folder.path().join("objects");
                fs::create_dir_all(&objects)?;
                format!("file://{}", objects.display())
            }
        };
        let binary = binary()?;
        let mut command = Command::new(&binary);
        command.arg("start").arg("--data-dir").arg(folder.path().join(DATA));
        command.args(["--listeners", "PLAINTEXT://127.0.0.1:0", "--object-store", &store]);
        for setting in &options.overrides {
            command.args(["--override", setting]);
        }
        command.envs(options.environment.iter().map(|(name, value)| (name, value)));
        let errors = File::options().create(true).append(true).open(&log)?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .with_context(|| binary.display().to_string())?;
        let address = match await_ready(&mut child) {
            Ok(address) => address,
            Err(why) => {
                child.kill()?;
                child.wait()?;
                let log = fs::read_to_string(&log)?;
                let lines: Vec<_> = log.lines().collect();
                bail!(
                    "{why}; its log ends:\n{}",
                    lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join("\n")
                );
            }
        };
        Ok(Self { folder, options, child, address })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new connection.
    pub fn connect(&self) -> anyhow::Result<Wire> {
        Wire::connect(self.address)
    }

    /// Memory and CPU time up to now.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(self.child.id())
    }

    /// What it has logged up to now.
    pub fn log(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(self.folder.path().join("server.log"))?)
    }

    /// SIGKILL, and a new process on the same folder, on another port.
    pub fn kill_and_restart(mut self) -> anyhow::Result<Self> {
        self.child.kill()?;
        self.child.wait()?;
        self.restart()
    }

    /// SIGKILL, a look at the data folder, and a new process on it, on another port.
    pub fn kill_look_and_restart<T>(
        mut self,
        look: impl FnOnce(&Path) -> anyhow::Result<T>,
    ) -> anyhow::Result<(Self, T)> {
        self.child.kill()?;
        self.child.wait()?;
        let seen = look(&self.folder.path().join(DATA))?;
        Ok((self.restart()?, seen))
    }

    /// SIGTERM, and a new process on the same folder, on another port.
    pub fn stop_and_restart(mut self) -> anyhow::Result<Self> {
        let status = self.terminate()?;
        ensure!(status.success(), "SIGTERM ended it with {status}");
        self.restart()
    }

    /// SIGTERM, a change to the data folder, and a new process on it, on another port.
    pub fn stop_change_and_restart(
        mut self,
        change: impl FnOnce(&Path) -> std::io::Result<()>,
    ) -> anyhow::Result<Self> {
        let status = self.terminate()?;
        ensure!(status.success(), "SIGTERM ended it with {status}");
        change(&self.folder.path().join(DATA))?;
        self.restart()
    }

    /// SIGTERM, and the status with which it ends.
    pub fn stop(mut self) -> anyhow::Result<ExitStatus> {
        self.terminate()
    }

    fn terminate(&mut self) -> anyhow::Result<ExitStatus> {
        let pid = Pid::from_child(&self.child);
        let handle = pidfd_open(pid, PidfdFlags::empty())?;
        kill_process(pid, Signal::TERM)?;
        let limit = Timespec { tv_sec: STOP_MAX.as_secs().try_into()?, tv_nsec: 0 };
        // A process's descriptor is readable once the process has ended.
        let ended = poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&limit))?;
        ensure!(ended == 1, "it still runs {STOP_MAX:?} after SIGTERM");
        Ok(self.child.wait()?)
    }

    fn restart(mut self) -> anyhow::Result<Self> {
        // `Drop` finds an ended process and an empty folder.
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir()?);
        Self::start_in(folder, std::mem::take(&mut self.options))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for the line `ready on HOST:PORT ...`. What is printed after it is read and dropped, as a full pipe would stop
/// the broker.
fn await_ready(child: &mut Child) -> anyhow::Result<SocketAddr> {
    let output = child.stdout.take().context("no standard output")?;
    let (found, ready) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if line.starts_with("ready") {
                // Nobody listens any more when the time is over.
                let _ = found.send(line);
            }
        }
    });
    let line = match ready.recv_timeout(READY_MAX) {
        Ok(line) => line,
        Err(mpsc::RecvTimeoutError::Timeout) => bail!("it is not ready after {READY_MAX:?}"),
        Err(mpsc::RecvTimeoutError::Disconnected) => bail!("it ended before it was ready"),
    };
    let address = line.split_whitespace().find_map(|word| word.parse().ok());
    address.with_context(|| format!("no address in `{line}`"))
}

/// The binary under test.
pub fn binary() -> anyhow::Result<PathBuf> {
    if let Some(given) = std::env::var_os("STRATA_BIN") {
        return Ok(given.into());
    }
    let test = std::env::current_exe()?; // <target>/<profile>/deps/<test>
    let profile = test.parent().and_then(|deps| deps.parent()).context("a test has a folder")?;
    let beside = profile.join("strata");
    ensure!(beside.exists(), "{} is missing: run `cargo build` first, or set STRATA_BIN", beside.display());
    Ok(beside)
}
