//! A broker's life: start, run, shut down.
//!
//! ```text
//! start     listeners bound ─▶ logs recovered ─▶ metadata recovered ─▶ registered ─▶ partitions led ─▶ requests served
//! shutdown  no new requests ─▶ what is in flight answered ─▶ metadata closed ─▶ logs flushed, marked as cleanly closed
//! ```

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use strata_log::{ArchiveHost, LogDirs, LogDirsOptions, RemoteLog, StorageError};
use strata_metadata::{Image, controller};
use strata_protocol::Str;
use strata_protocol::messages::broker_registration_request::{Feature, Listener as RegisteredListener};
use strata_protocol::messages::{BrokerHeartbeatRequest, BrokerRegistrationRequest};
use strata_quorum::{OpenError, ProposeError, Quorum, QuorumOptions};
use strata_types::{ErrorCode, NodeId, TopicId};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::archive_host::Host;
use crate::broker::{Broker, now};
use crate::cleaner;
use crate::config::{Config, Endpoint, SecurityProtocol};
use crate::configs::Configs;
use crate::coordinators::Coordinators;
use crate::features;
use crate::fetch_sessions::FetchSessions;
use crate::housekeeping;
use crate::loopback::Loopback;
use crate::metrics::{self, Health};
use crate::net::{self, Bound, Causes, Limits};
use crate::partitions::Partitions;
use crate::producer_ids::ProducerIds;
use crate::quotas::{Quotas, Windows};
use crate::security::first_users;
use crate::security::{Authorizer, TlsError, Tokens};
use crate::share::ShareGroups;
use crate::telemetry::Telemetry;

/// How long `shutdown` waits for connections to finish what they have in flight.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Why a broker did not start. Always one line.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the configuration's defaults for topics: {0}")]
    Config(#[from] strata_log::ConfigError),
    #[error("the data directory {} cannot be used: {error}", path.display())]
    DataDir { path: PathBuf, error: io::Error },
    #[error("cannot listen on {listener}: {error}")]
    Bind { listener: Endpoint, error: io::Error },
    #[error("the logs cannot be opened: {0}")]
    Logs(#[from] StorageError),
    #[error("the metadata cannot be opened: {0}")]
    Quorum(#[from] OpenError),
    #[error("the broker cannot join its cluster: {0}")]
    Propose(#[from] ProposeError),
    #[error("the controller refused this broker: {0}")]
    Refused(ErrorCode),
    #[error("TLS cannot be spoken: {0}")]
    Tls(#[from] TlsError),
    #[error("metrics cannot be served on {listener}: {error}")]
    Metrics { listener: String, error: io::Error },
    #[error("starting was interrupted")]
    Interrupted,
}

/// A running broker.
pub struct Server {
    broker: Arc<Broker>,
    local_addrs: Vec<SocketAddr>,
    connections: TaskTracker,
    stop: CancellationToken,
    /// Answers until the very end; then it is known that the broker stops.
    metrics: Option<metrics::Endpoint>,
}

impl Server {
    /// Starts a broker and returns once it serves requests. `remote` is the archive, if there is one.
    ///
    /// Boxed, so that the whole broker is compiled with this crate, and not again with each that starts one.
    pub fn start(
        config: Config,
        remote: Option<Arc<dyn RemoteLog>>,
    ) -> BoxFuture<'static, Result<Self, StartError>> {
        Box::pin(Self::start_here(config, remote))
    }

    async fn start_here(config: Config, remote: Option<Arc<dyn RemoteLog>>) -> Result<Self, StartError> {
        let config = Arc::new(config);
        config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let configs = Configs::new(config.clone())?;
        let cluster_id = cluster_id(&config)?;
        // Before everything that takes its time: whoever asks learns that the broker starts.
        let health = Arc::<Health>::default();
        let metrics = metrics_endpoint(&config, &health).await?;
        let bound = bind(&config)?;
        let partitions = Partitions::new(config.node_id);
        partitions.set_manager(open_logs(&config, &configs, partitions.clone()).await?);
        let started = Self::serve(config, configs, cluster_id, bound, partitions.clone(), remote).await;
        if started.is_err() {
            close_logs(&partitions).await;
        }
        let mut started = started?;
        health.serves(&started.broker);
        if metrics.is_some() {
            started.broker.tasks.spawn(metrics::follow_lag(started.broker.clone()));
        }
        started.metrics = metrics;
        Ok(started)
    }

    async fn serve(
        config: Arc<Config>,
        configs: Configs,
        cluster_id: Str,
        bound: Vec<Bound>,
        partitions: Arc<Partitions>,
        remote: Option<Arc<dyn RemoteLog>>,
    ) -> Result<Self, StartError> {
        let advertised: Vec<Endpoint> = bound.iter().map(|bound| bound.advertised.clone()).collect();
        let options = QuorumOptions::single(&config.data_dir, config.node_id, cluster_id.clone());
        let quorum = Quorum::open(options).await?;
        let epoch = match join(&quorum, &config, &cluster_id, &advertised).await {
            Ok(epoch) => epoch,
            Err(error) => {
                quorum.shutdown().await;
                return Err(error);
            }
        };
        let image = quorum.image();
        blocking({
            let (partitions, configs, image) = (partitions.clone(), configs.clone(), image.clone());
            move || {
                partitions.delete_strays(&image);
                partitions.follow(&Image::default(), &image, &configs);
            }
        })
        .await?;
        let cleaner = cleaner::start(&partitions, &configs, &image)?;
        let names = config.listeners.iter().map(|listener| listener.bind.name.clone());
        let limits = Limits::new(&configs, &image, names.collect());
        let windows = Windows {
            clients: config.settings.quota_window,
            controller: config.settings.controller_quota_window,
        };
        let broker = Arc::new(Broker {
            configs,
            cluster_id,
            node_id: config.node_id,
            advertised,
            quorum,
            epoch,
            partitions,
            groups: Coordinators::default(),
            transactions: Coordinators::default(),
            cleaner,
            views: Default::default(),
            persister: Coordinators::default(),
            share: ShareGroups::new(config.settings.share_sessions_max),
            fetch_sessions: FetchSessions::new(config.settings.fetch_session_slots_max),
            producer_ids: ProducerIds::default(),
            authorizer: Authorizer::new(config.security.authorizer.as_ref()),
            quotas: Quotas::new(windows, &image),
            limits,
            metrics: Arc::default(),
            telemetry: Telemetry::default(),
            denials: Causes::default(),
            tokens: config.security.tokens.as_ref().map(Tokens::new),
            remote,
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            config,
        });
        housekeeping::start(&broker, image);
        // Ends that were prepared are carried on with, and transactions time out, whether or not their producers come back.
        broker.transactions.start_all(&broker);
        let (connections, stop) = (TaskTracker::new(), CancellationToken::new());
        let local_addrs = bound.iter().map(|bound| bound.address).collect();
        net::serve(&broker, bound, &connections, &stop)?;
        tracing::info!(node = broker.node_id, cluster = %broker.cluster_id, listeners = ?local_addrs, "serving");
        Ok(Self { broker, local_addrs, connections, stop, metrics: None })
    }

    /// Where the first listener listens, with its real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addrs[0]
    }

    /// Where metrics and health are served, if they are.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(|metrics| metrics.address)
    }

    /// What clients are told to connect to: `host:port` of every listener, by commas.
    pub fn bootstrap(&self) -> String {
        let hosts = self.broker.advertised.iter().map(|endpoint| match endpoint.host.contains(':') {
            true => format!("[{}]:{}", endpoint.host, endpoint.port),
            false => format!("{}:{}", endpoint.host, endpoint.port),
        });
        hosts.collect::<Vec<_>>().join(",")
    }

    /// The first listener that asks for nothing: neither TLS nor SASL.
    pub fn plain_bootstrap(&self) -> Option<String> {
        let listeners = self.broker.config.listeners.iter().zip(&self.broker.advertised);
        let mut plain = listeners.filter(|(listener, _)| listener.protocol == SecurityProtocol::Plaintext);
        plain.next().map(|(_, endpoint)| format!("{}:{}", endpoint.host, endpoint.port))
    }

    /// A client within this process, on the first listener that asks for nothing.
    pub fn loopback(&self) -> Option<Loopback> {
        let mut listeners = self.broker.config.listeners.iter();
        let plain = listeners.find(|listener| listener.protocol == SecurityProtocol::Plaintext)?;
        Some(Loopback::new(self.broker.clone(), plain))
    }

    pub fn cluster_id(&self) -> &str {
        &self.broker.cluster_id
    }

    pub fn node_id(&self) -> NodeId {
        self.broker.node_id
    }

    /// What the archiver works with. Stop the archiver before [`Server::shutdown`].
    pub fn archive_host(&self) -> Arc<dyn ArchiveHost> {
        Arc::new(Host::new(self.broker.clone()))
    }

    /// Resolves when the broker cannot go on, with the reason; the process should then end.
    pub async fn failed(&self) -> String {
        tokio::select! {
            // A directory that fails may take the metadata's log with it: then it is the cause.
            biased;
            reason = self.broker.partitions.failed() => reason,
            reason = self.broker.quorum.stopped() => format!("the metadata quorum has stopped: {reason}"),
        }
    }

    /// Stops: no new requests, what is in flight is answered within a bound, everything is flushed, and the logs are
    /// marked as cleanly closed, so that the next start need not look at them.
    pub fn shutdown(self) -> BoxFuture<'static, ()> {
        Box::pin(self.shut_down())
    }

    async fn shut_down(self) {
        let broker = &self.broker;
        self.stop.cancel();
        broker.stopping.cancel();
        self.connections.close();
        if tokio::time::timeout(DRAIN_MAX, self.connections.wait()).await.is_err() {
            tracing::warn!(connections = self.connections.len(), "connections still had requests in flight");
        }
        broker.tasks.close();
        if tokio::time::timeout(DRAIN_MAX, broker.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = broker.tasks.len(), "background tasks did not end in time");
        }
        broker.quorum.shutdown().await;
        let closing = broker.clone();
        if let Err(error) = blocking(move || closing.cleaner.close()).await {
            tracing::error!("the cleaner could not be stopped: {error}");
        }
        close_logs(&broker.partitions).await;
    }
}

/// A server that is dropped without a shutdown stops serving; its logs are as after a crash.
impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        self.broker.stopping.cancel();
    }
}

async fn close_logs(partitions: &Partitions) {
    let Some(manager) = partitions.take_manager() else { return };
    match blocking(move || manager.close()).await {
        Ok(Ok(())) => tracing::info!("the logs are closed"),
        Ok(Err(error)) => tracing::error!("the logs could not be closed: {error}"),
        Err(error) => tracing::error!("the logs could not be closed: {error}"),
    }
}

/// Runs what touches the disk for long off the threads that serve requests.
pub(crate) async fn blocking<R: Send + 'static>(
    run: impl FnOnce() -> R + Send + 'static,
) -> Result<R, StartError> {
    tokio::task::spawn_blocking(run).await.map_err(|_| StartError::Interrupted)
}

/// The cluster that the data directory belongs to; a new one belongs to the one that the configuration names, or to one of
/// its own. Whether both agree, the quorum checks.
fn cluster_id(config: &Config) -> Result<Str, StartError> {
    let path = &config.data_dir;
    let found = std::fs::create_dir_all(path).and_then(|()| strata_quorum::cluster_id_of(path));
    let found = found.map_err(|error| StartError::DataDir { path: path.clone(), error })?;
    Ok(config.cluster_id.as_deref().map(Str::from).or(found).unwrap_or_else(new_cluster_id))
}

/// A random id that does not start with `-`, which command lines would take for an option.
fn new_cluster_id() -> Str {
    loop {
        let id = TopicId(Uuid::new_v4()).to_string();
        if !id.starts_with('-') {
            return Str::from(id);
        }
    }
}

async fn metrics_endpoint(
    config: &Config,
    health: &Arc<Health>,
) -> Result<Option<metrics::Endpoint>, StartError> {
    let at = config.effective("strata.metrics.listener").unwrap_or_default();
    if at.is_empty() {
        return Ok(None);
    }
    let started = metrics::Endpoint::start(at, health.clone()).await;
    started.map(Some).map_err(|error| StartError::Metrics { listener: at.to_owned(), error })
}

fn bind(config: &Config) -> Result<Vec<Bound>, StartError> {
    let bind = |listener| {
        Bound::bind(listener, config.settings.listen_backlog)
            .map_err(|error| StartError::Bind { listener: listener.bind.clone(), error })
    };
    config.listeners.iter().map(bind).collect()
}

async fn open_logs(
    config: &Config,
    configs: &Configs,
    listener: Arc<Partitions>,
) -> Result<LogDirs, StartError> {
    let options = LogDirsOptions {
        dirs: config.log_dirs.clone(),
        default_config: Arc::new(configs.log_config(&Image::default(), "")),
        open_files_max: config.settings.open_files_max,
        listener: Some(listener),
        now: now(),
    };
    Ok(blocking(move || LogDirs::open(options)).await??)
}

/// The ids of the broker's directories; one that is offline is left out.
fn directories(quorum: &Quorum, config: &Config, cluster_id: &Str) -> Result<Vec<Uuid>, StartError> {
    let mut ids = vec![quorum.directory_id()];
    for dir in &config.log_dirs[1..] {
        match strata_quorum::claim(dir, cluster_id, config.node_id) {
            Ok(id) => ids.push(id),
            Err(error @ (OpenError::ClusterId { .. } | OpenError::NodeId { .. })) => return Err(error.into()),
            Err(error) => tracing::error!(dir = %dir.display(), "the log directory has no id: {error}"),
        }
    }
    Ok(ids)
}

/// Registers this run of the broker and takes up work. Answers the broker's epoch.
async fn join(
    quorum: &Quorum,
    config: &Config,
    cluster_id: &Str,
    advertised: &[Endpoint],
) -> Result<i64, StartError> {
    let initial = features::SUPPORTED.iter().filter(|feature| feature.initial > 0);
    let initial: Vec<_> = initial.map(|feature| (feature.name, feature.initial)).collect();
    let users = first_users(&config.security.first_users);
    quorum.propose(|image| controller::bootstrap(image, &initial, &users)).await?;
    let registration = BrokerRegistrationRequest {
        broker_id: config.node_id,
        cluster_id: cluster_id.clone(),
        incarnation_id: Uuid::new_v4(),
        listeners: advertised
            .iter()
            .zip(config.listeners.iter().map(|listener| listener.protocol))
            .map(registered)
            .collect(),
        features: features::SUPPORTED
            .iter()
            .map(|feature| Feature {
                name: Str::from_static(feature.name),
                min_supported_version: feature.min,
                max_supported_version: feature.max,
                ..Default::default()
            })
            .collect(),
        rack: config.settings.broker_rack.as_deref().map(Str::from),
        log_dirs: directories(quorum, config, cluster_id)?,
        ..Default::default()
    };
    // Nobody else can be this broker: the data directory is locked.
    let session_alive = false;
    let given = quorum
        .propose(|image| controller::register_broker(image, cluster_id, &registration, session_alive))
        .await?;
    accepted(given.error_code)?;
    let heartbeat = BrokerHeartbeatRequest {
        broker_id: config.node_id,
        broker_epoch: given.broker_epoch,
        current_metadata_offset: quorum.image().next_offset().0 - 1,
        want_fence: false,
        ..Default::default()
    };
    let answer = quorum.propose(|image| controller::broker_heartbeat(image, &heartbeat)).await?;
    accepted(answer.error_code)?;
    Ok(given.broker_epoch)
}

fn registered((endpoint, protocol): (&Endpoint, SecurityProtocol)) -> RegisteredListener {
    RegisteredListener {
        name: Str::from(endpoint.name.as_str()),
        host: Str::from(endpoint.host.as_str()),
        port: endpoint.port,
        security_protocol: protocol.code(),
        ..Default::default()
    }
}

fn accepted(code: i16) -> Result<(), StartError> {
    match ErrorCode::from_code(code) {
        Some(ErrorCode::None) => Ok(()),
        code => Err(StartError::Refused(code.unwrap_or(ErrorCode::UnknownServerError))),
    }
}
