use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use strata_client::{Client, ClientOptions};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A broker that has not said `ready` after this has a problem of its own.
const START_MAX: Duration = Duration::from_secs(30);
const STOP_MAX: Duration = Duration::from_secs(30);

/// `strata start`, as a process of its own.
pub struct Broker {
    root: PathBuf,
    child: Child,
    ready: String,
    bootstrap: String,
}

impl Broker {
    /// Starts one on a free port; data, archive and log output go below `root`.
    pub async fn start(root: &Path) -> anyhow::Result<Self> {
        let stderr = std::fs::OpenOptions::new().create(true).append(true).open(root.join("broker.log"))?;
        let mut child = Command::new(std::env::current_exe()?)
            .arg("start")
            .arg("--data-dir")
            .arg(root.join("data"))
            .arg("--object-store")
            .arg(format!("file://{}", root.join("objects").display()))
            .args(["--listeners", "PLAINTEXT://127.0.0.1:0"])
            .args(["--override", "log.retention.check.interval.ms=500"])
            .args(["--override", "group.initial.rebalance.delay.ms=0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().context("the broker has no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let ready =
            tokio::time::timeout(START_MAX, lines.next_line()).await.context("the broker is not ready")??;
        let ready =
            ready.with_context(|| format!("the broker ended: see {}", root.join("broker.log").display()))?;
        let address = ready.strip_prefix("ready on ").and_then(|rest| rest.split(' ').next());
        let bootstrap = address.with_context(|| format!("the broker said {ready:?}"))?.to_owned();
        Ok(Self { root: root.to_path_buf(), child, ready, bootstrap })
    }

    pub fn ready_line(&self) -> String {
        self.ready.clone()
    }

    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    pub async fn client(&self) -> anyhow::Result<Client> {
        let options = ClientOptions { client_id: "strata-demo".to_owned(), ..ClientOptions::default() };
        Ok(Client::connect(&self.bootstrap, options).await?)
    }

    /// SIGKILL, then a new process on the same data.
    pub async fn kill_and_restart(&mut self) -> anyhow::Result<()> {
        self.child.kill().await?;
        *self = Self::start(&self.root).await?;
        Ok(())
    }

    /// SIGTERM; the broker has to end by itself, with status 0.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.child.id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()));
        let pid = pid.context("the broker is gone")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status =
            tokio::time::timeout(STOP_MAX, self.child.wait()).await.context("the broker does not stop")??;
        anyhow::ensure!(status.success(), "the broker ended with {status}");
        Ok(())
    }
}
