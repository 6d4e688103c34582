//! The broker's configuration, under Kafka's names.
//!
//! ```text
//! server.properties ─┐
//! KAFKA_… variables ─┼─▶ Config::load ─▶ Config: checked, typed, immutable
//! key=value options ─┘        │
//!                             └─▶ ConfigError: one line that names key, value and what is allowed
//! ```
//!
//! Later sources win. What Kafka knows and this broker would have to ignore at the price of another meaning (SASL
//! listeners, several voters, classes to load) is refused; what nobody knows is worth a warning, as in Kafka.

mod environment;
mod first_users;
mod jaas_file;
mod keys;
mod listeners;
mod sasl;
mod security;
mod settings;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use strata_types::{NodeId, properties};

pub use first_users::{FirstUser, Secret};
use jaas_file::JaasFile;
pub use keys::{Key, Update, broker_key, broker_keys, broker_synonyms};
pub use listeners::{Endpoint, Listener, SecurityProtocol};
pub use sasl::{KeySource, KeyUrl, Mechanism, MechanismSettings, OauthSettings, SaslSettings, SignedTokens};
pub use security::{AuthorizerSettings, SecuritySettings, TokenSettings};
pub use settings::Settings;
pub use value::{Allowed, Kind, Problem};

/// Why a configuration is not one. Always one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error(transparent)]
    Syntax(#[from] properties::SyntaxError),
    #[error("an override is written key=value, not '{0}'")]
    Override(String),
    #[error("{key}={value}: {why}")]
    Invalid { key: String, value: String, why: String },
    #[error("{key}={value}: {why}")]
    Unsupported { key: String, value: String, why: String },
}

impl ConfigError {
    fn invalid(key: &str, value: &str, why: impl Into<String>) -> Self {
        Self::Invalid { key: key.into(), value: value.escape_debug().to_string(), why: why.into() }
    }

    fn unsupported(key: &str, value: &str, why: impl Into<String>) -> Self {
        Self::Unsupported { key: key.into(), value: value.escape_debug().to_string(), why: why.into() }
    }
}

/// A broker's configuration.
#[derive(Clone)]
pub struct Config {
    pub node_id: NodeId,
    /// The id that a data directory without one gets; `None`: a random one.
    pub cluster_id: Option<String>,
    /// At least one.
    pub listeners: Vec<Listener>,
    /// The first of `log_dirs`: the metadata lives there.
    pub data_dir: PathBuf,
    /// At least one, each once.
    pub log_dirs: Vec<PathBuf>,
    pub settings: Settings,
    pub security: SecuritySettings,
    /// What was said and means nothing here, one line each; for the log.
    pub warnings: Vec<String>,
    given: BTreeMap<String, String>,
}

/// Without the settings as they were given: there are passwords among them.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node_id, listeners, log_dirs, .. } = self;
        f.debug_struct("Config")
            .field("node_id", node_id)
            .field("listeners", listeners)
            .field("log_dirs", log_dirs)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Reads `properties` (the text of a `server.properties`), then the environment's variables, then `overrides` of the
    /// form `key=value`; of what is said twice, the last counts.
    pub fn load<K, V, O>(
        properties: &str,
        environment: impl IntoIterator<Item = (K, V)>,
        overrides: impl IntoIterator<Item = O>,
    ) -> Result<Self, ConfigError>
    where
        K: AsRef<str>,
        V: Into<String>,
        O: AsRef<str>,
    {
        let mut given: BTreeMap<String, String> = properties::parse(properties)?.into_iter().collect();
        let (mut cluster_id, mut jaas_file) = (None, JaasFile::default());
        for (variable, value) in environment {
            if variable.as_ref() == environment::JAVA_OPTIONS {
                jaas_file = JaasFile::of(&value.into())?;
            } else if variable.as_ref() == environment::CLUSTER_ID {
                cluster_id = Some(value.into());
            } else if let Some(key) = environment::setting(variable.as_ref()) {
                given.insert(key, value.into());
            }
        }
        for entry in overrides {
            let entry = entry.as_ref();
            let pair = entry.split_once('=').map(|(key, value)| (key.trim(), value.trim()));
            let (key, value) = pair
                .filter(|(key, _)| !key.is_empty())
                .ok_or_else(|| ConfigError::Override(entry.to_owned()))?;
            given.insert(key.to_owned(), value.to_owned());
        }
        // Our own name for what Kafka is told when its storage is formatted.
        let cluster_id = given.remove("cluster.id").or(cluster_id).filter(|id| !id.is_empty());
        Self::check(given, cluster_id, &jaas_file)
    }

    fn check(
        given: BTreeMap<String, String>,
        cluster_id: Option<String>,
        jaas_file: &JaasFile,
    ) -> Result<Self, ConfigError> {
        let mut warnings = Vec::new();
        for (name, value) in &given {
            match broker_key(without_listener(name).unwrap_or(name)) {
                Some(key) => {
                    key.check(value).map_err(|why| ConfigError::invalid(name, value, why.to_string()))?
                }
                None if KNOWN_ELSEWHERE.contains(&name.as_str()) => {}
                None if crate::configs::listener_key(name).is_some() => {}
                None => warnings.push(format!("{name} is not a known setting and has no effect")),
            }
        }
        let values = Values { given: &given, jaas_file };
        refuse_unsupported(&values)?;
        let node_id = node_id(&values)?;
        check_quorum(&values, node_id)?;
        if let Some(id) = &cluster_id {
            check_cluster_id(id)?;
        }
        let (listeners, log_dirs, settings) =
            (client_listeners(&values)?, log_dirs(&values)?, Settings::new(&values));
        let data_dir = log_dirs[0].clone();
        let security = SecuritySettings::new(&values)?;
        check_inter_broker(&values, &listeners)?;
        let mut given = given;
        // What DescribeConfigs shows, also where nobody said it.
        given.insert("node.id".to_owned(), node_id.to_string());
        Ok(Self { node_id, cluster_id, listeners, data_dir, log_dirs, settings, security, warnings, given })
    }

    /// What the configuration itself says of a setting.
    pub fn given(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(String::as_str)
    }

    /// Everything that the configuration itself says, known or not.
    pub fn all_given(&self) -> impl Iterator<Item = (&str, &str)> {
        self.given.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// What counts: what is said, or the default.
    pub fn effective(&self, name: &str) -> Option<&str> {
        Values::of(&self.given).effective(name)
    }

    /// What counts for one listener.
    pub fn effective_for(&self, listener: &str, name: &str) -> Option<&str> {
        Values::of(&self.given).of_listener(listener, name)
    }

    /// The broker's defaults of topic settings: for each `(topic setting, broker setting)` pair given, the topic setting
    /// and the value that the broker's own configuration, with `dynamic` changes on top, gives it; pairs that
    /// nothing is said about are left out.
    pub fn topic_defaults<'a>(
        &'a self,
        pairs: impl IntoIterator<Item = (&'a str, &'a str)> + 'a,
        dynamic: &'a dyn Fn(&str) -> Option<String>,
    ) -> impl Iterator<Item = (&'a str, String)> + 'a {
        pairs.into_iter().filter_map(move |(topic_key, server_key)| {
            let said = dynamic(server_key).or_else(|| self.given_in_unit_of(server_key));
            said.map(|value| (topic_key, value))
        })
    }

    /// What is said of `server_key` or of one of its synonyms, in milliseconds where `server_key` has that unit.
    pub fn given_in_unit_of(&self, server_key: &str) -> Option<String> {
        let synonyms = broker_synonyms(server_key);
        if synonyms.is_empty() {
            return self.given(server_key).map(str::to_owned);
        }
        synonyms.iter().find_map(|name| {
            let value = self.given(name)?.trim();
            let factor = match name.rsplit_once('.') {
                Some((_, "hours")) => 3_600_000,
                Some((_, "minutes")) => 60_000,
                _ => 1,
            };
            let number: i64 = value.parse().ok()?;
            // −1 is "without limit" in every unit.
            Some(if number < 0 { number } else { number.saturating_mul(factor) }.to_string())
        })
    }

    /// How long `shutdown` waits for what is in flight.
    pub fn shutdown_wait_max(&self) -> Duration {
        Duration::from_secs(10)
    }
}

/// What a checked configuration says, with Kafka's defaults below it.
struct Values<'a> {
    given: &'a BTreeMap<String, String>,
    jaas_file: &'a JaasFile,
}

impl<'a> Values<'a> {
    /// Of a configuration whose JAAS file has been looked at before.
    fn of(given: &'a BTreeMap<String, String>) -> Self {
        static NONE: JaasFile = JaasFile::none();
        Self { given, jaas_file: &NONE }
    }

    fn given(&self, name: &str) -> Option<&'a str> {
        self.given.get(name).map(|value| value.trim())
    }

    fn effective(&self, name: &str) -> Option<&'a str> {
        self.given(name).or_else(|| broker_key(name).and_then(|key| key.default))
    }

    /// What counts for one listener.
    fn of_listener(&self, listener: &str, key: &str) -> Option<&'a str> {
        self.given(&listener_key(listener, key)).or_else(|| self.effective(key))
    }

    /// What counts for one mechanism on one listener.
    fn of_mechanism(&self, listener: &str, mechanism: Mechanism, key: &str) -> Option<&'a str> {
        let mechanism = mechanism.name().to_ascii_lowercase();
        self.given(&listener_key(listener, &format!("{mechanism}.{key}")))
            .or_else(|| self.of_listener(listener, key))
    }
}

/// The name of a setting that counts for one listener only.
pub fn listener_key(listener: &str, key: &str) -> String {
    format!("listener.name.{}.{key}", listener.to_ascii_lowercase())
}

/// Of a setting that counts for one listener, or for one mechanism on it, the name that it has without that.
pub fn without_listener(name: &str) -> Option<&str> {
    let (_, key) = name.strip_prefix("listener.name.")?.split_once('.')?;
    let mechanisms = ["plain.", "scram-sha-256.", "scram-sha-512.", "oauthbearer.", "gssapi."];
    Some(mechanisms.iter().find_map(|mechanism| key.strip_prefix(mechanism)).unwrap_or(key))
}

/// Settings of Kafka's that its own table does not show, because the binary's other parts read them.
const KNOWN_ELSEWHERE: &[&str] = &[
    first_users::KEY,
    "strata.archive.url",
    "strata.client.config",
    "zookeeper.connect",
    "inter.broker.protocol.version",
    "super.users",
    "allow.everyone.if.no.acl.found",
];

/// Java classes that would change what the broker does; we cannot load them.
const JAVA_CLASSES: &[&str] = &[
    "alter.config.policy.class.name",
    "client.quota.callback.class",
    "config.providers",
    "create.topic.policy.class.name",
    "principal.builder.class",
];

fn refuse_unsupported(values: &Values<'_>) -> Result<(), ConfigError> {
    for &key in JAVA_CLASSES {
        let default = broker_key(key).and_then(|key| key.default).unwrap_or_default();
        if let Some(class) = values.given(key).filter(|class| !class.is_empty() && *class != default) {
            return Err(ConfigError::unsupported(key, class, "Java classes cannot be loaded; leave it out"));
        }
    }
    if let Some(zk) = values.given("zookeeper.connect") {
        let why = "there is no ZooKeeper here: the broker keeps its own metadata; leave it out";
        return Err(ConfigError::unsupported("zookeeper.connect", zk, why));
    }
    Ok(())
}

fn node_id(values: &Values<'_>) -> Result<NodeId, ConfigError> {
    const DEFAULT: NodeId = 1;
    let node = values.given("node.id").map(|text| ("node.id", text));
    let said = node.or_else(|| values.given("broker.id").map(|text| ("broker.id", text)));
    let Some((key, text)) = said else { return Ok(DEFAULT) };
    match text.parse() {
        Ok(id) if id >= 0 => Ok(id),
        _ => Err(ConfigError::invalid(key, text, "allowed is 0 or more")),
    }
}

fn check_quorum(values: &Values<'_>, node_id: NodeId) -> Result<(), ConfigError> {
    const ROLES: &str = "process.roles";
    if let Some(roles) = values.given(ROLES).filter(|roles| !roles.is_empty()) {
        let has = |role| value::list(roles).any(|r| r == role);
        if !has("broker") || !has("controller") {
            let why = "a node that is only one of broker and controller is not supported yet; allowed is broker,controller";
            return Err(ConfigError::unsupported(ROLES, roles, why));
        }
    }
    const VOTERS: &str = "controller.quorum.voters";
    let voters = values.given(VOTERS).unwrap_or_default();
    let mut entries = value::list(voters);
    if let Some(voter) = entries.next() {
        let id = voter.split_once('@').and_then(|(id, _)| id.parse::<NodeId>().ok());
        let id = id.ok_or_else(|| ConfigError::invalid(VOTERS, voter, "allowed is ID@HOST:PORT"))?;
        if entries.next().is_some() {
            return Err(ConfigError::unsupported(
                VOTERS,
                voters,
                "only one voter, this node, is supported yet",
            ));
        }
        if id != node_id {
            let why = format!("the voter must be this node, whose node.id is {node_id}");
            return Err(ConfigError::invalid(VOTERS, voters, why));
        }
    }
    const BOOTSTRAP: &str = "controller.quorum.bootstrap.servers";
    match values.given(BOOTSTRAP) {
        Some(servers) if value::list(servers).count() > 1 => Err(ConfigError::unsupported(
            BOOTSTRAP,
            servers,
            "only this node's own controller is supported yet",
        )),
        _ => Ok(()),
    }
}

fn check_cluster_id(id: &str) -> Result<(), ConfigError> {
    const BYTES_MAX: usize = 64;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if id.len() <= BYTES_MAX && id.bytes().all(plain) {
        return Ok(());
    }
    let why = format!("allowed are at most {BYTES_MAX} letters, digits, - and _");
    Err(ConfigError::invalid("cluster.id", id, why))
}

/// Which listener brokers would use among themselves must be one of those that there are.
fn check_inter_broker(values: &Values<'_>, listeners: &[Listener]) -> Result<(), ConfigError> {
    const NAME: &str = "inter.broker.listener.name";
    const PROTOCOL: &str = "security.inter.broker.protocol";
    let name = values.given(NAME).filter(|name| !name.is_empty());
    if let Some(name) = name.filter(|name| !listeners.iter().any(|l| l.bind.name.eq_ignore_ascii_case(name)))
    {
        return Err(ConfigError::invalid(NAME, name, "it is not one of the listeners"));
    }
    match values.given(PROTOCOL) {
        Some(protocol) if SecurityProtocol::from_name(protocol).is_none() => {
            let why = "allowed are PLAINTEXT, SSL, SASL_PLAINTEXT and SASL_SSL";
            Err(ConfigError::invalid(PROTOCOL, protocol, why))
        }
        _ => Ok(()),
    }
}

fn client_listeners(values: &Values<'_>) -> Result<Vec<Listener>, ConfigError> {
    // Nothing said at all is somebody's first try on this machine, whose name may not even resolve.
    let host_name = match values.given("listeners") {
        None => "localhost".to_owned(),
        Some(_) => machine_name(),
    };
    let mut found = listeners::listeners(&listeners::Settings {
        listeners: values.effective("listeners").unwrap_or_default(),
        advertised: values.given("advertised.listeners").filter(|text| !text.is_empty()),
        protocols: values.effective("listener.security.protocol.map").unwrap_or_default(),
        controller_names: values.given("controller.listener.names").unwrap_or("CONTROLLER"),
        host_name: &host_name,
    })?;
    for listener in found.iter_mut().filter(|listener| listener.protocol.is_sasl()) {
        listener.sasl = Some(Arc::new(SaslSettings::new(values, &listener.bind.name)?));
    }
    Ok(found)
}

/// This machine's name, which clients elsewhere may be able to resolve.
fn machine_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}

fn log_dirs(values: &Values<'_>) -> Result<Vec<PathBuf>, ConfigError> {
    let key =
        if values.given("log.dirs").is_some_and(|dirs| !dirs.is_empty()) { "log.dirs" } else { "log.dir" };
    let text = values.effective(key).unwrap_or_default();
    let dirs: Vec<_> = value::list(text).map(PathBuf::from).collect();
    if dirs.is_empty() {
        return Err(ConfigError::invalid(key, text, "the name of a directory is needed"));
    }
    if dirs.iter().enumerate().any(|(at, dir)| dirs[..at].contains(dir)) {
        return Err(ConfigError::invalid(key, text, "a directory is named twice"));
    }
    Ok(dirs)
}

#[cfg(test)]
mod tests;
