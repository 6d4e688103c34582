//! TLS on a listener: what it offers, and how that changes while the broker runs.
//!
//! ```text
//! server.properties ─┐
//! IncrementalAlterConfigs ─┼─▶ stores (PEM, PKCS12) ─▶ rustls configuration ─▶ new connections
//! files that changed ─┘        └ cannot be read: one log line, and the last good one stays
//! ```

mod identity;
mod principal;
mod stores;

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustls::server::WebPkiClientVerifier;
use rustls::{ServerConfig, SupportedProtocolVersion};
use strata_metadata::{ConfigMap, ConfigResource, Image};
use strata_types::NodeId;

use crate::config::{Config, Listener, broker_key, listener_key};

use identity::Identity;
pub(crate) use principal::MappingRules;
use stores::{KeyStore, Lookup};

/// Files are looked at this often at most.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Sessions that can be resumed without a full handshake.
const SESSIONS_KEPT_MAX: usize = 1024;

/// The TLS settings of a listener, without the listener's prefix: those that may change while the broker runs.
pub(crate) const DYNAMIC: [&str; 14] = [
    "ssl.keystore.type",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.key.password",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.truststore.type",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.certificates",
    "ssl.enabled.protocols",
    "ssl.protocol",
    "ssl.cipher.suites",
    "ssl.client.auth",
];

/// Why TLS cannot be spoken so. Always one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct TlsError {
    pub key: String,
    pub why: String,
}

impl TlsError {
    fn new(key: &str, why: impl ToString) -> Self {
        Self { key: key.to_owned(), why: why.to_string() }
    }
}

/// What files looked like when they were read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Stamp(Vec<Option<(i64, i64, u64, u64)>>);

impl Stamp {
    pub(crate) fn of<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Self {
        let stamp = |meta: Metadata| (meta.mtime(), meta.mtime_nsec(), meta.len(), meta.ino());
        Self(paths.into_iter().map(|path| std::fs::metadata(path).ok().map(stamp)).collect())
    }
}

/// TLS on one listener.
pub(crate) struct TlsListener {
    config: Arc<Config>,
    listener: String,
    node_id: NodeId,
    rules: MappingRules,
    current: Mutex<Current>,
}

struct Current {
    loaded: Loaded,
    stamp: Stamp,
    dynamic: [ConfigMap; 2],
    looked: Instant,
}

/// What a listener's settings and files come to.
struct Loaded {
    server: Arc<ServerConfig>,
    /// Whom its certificate names.
    identity: Identity,
    files: Vec<PathBuf>,
}

impl TlsListener {
    /// # Errors
    /// When the stores cannot be read, or what they hold cannot be used.
    pub(crate) fn new(config: Arc<Config>, listener: &Listener, image: &Image) -> Result<Self, TlsError> {
        let name = &listener.bind.name;
        let dynamic = dynamic(image, config.node_id);
        let rules = config.effective_for(name, "ssl.principal.mapping.rules").unwrap_or("DEFAULT");
        let rules =
            MappingRules::parse(rules).map_err(|why| TlsError::new("ssl.principal.mapping.rules", why))?;
        let loaded = load(&config, name, &dynamic)?;
        let stamp = Stamp::of(&loaded.files);
        let current = Mutex::new(Current { loaded, stamp, dynamic, looked: Instant::now() });
        Ok(Self { node_id: config.node_id, config, listener: name.clone(), rules, current })
    }

    /// What new connections are offered: settings and files are looked at again.
    pub(crate) fn current(&self, image: &Image) -> Arc<ServerConfig> {
        let mut current = self.current.lock();
        let dynamic = dynamic(image, self.node_id);
        let same = |(a, b): (&ConfigMap, &ConfigMap)| Arc::ptr_eq(a, b) || a == b;
        let mut changed = !current.dynamic.iter().zip(&dynamic).all(same);
        if !changed && current.looked.elapsed() >= LOOK_INTERVAL {
            current.looked = Instant::now();
            let stamp = Stamp::of(&current.loaded.files);
            changed = stamp != current.stamp;
            current.stamp = stamp;
        }
        if changed {
            let loaded = load(&self.config, &self.listener, &dynamic);
            match loaded.and_then(|loaded| self.stays(&current.loaded, loaded)) {
                Ok(loaded) => {
                    tracing::info!(listener = self.listener, "the listener's certificates are loaded anew");
                    current.stamp = Stamp::of(&loaded.files);
                    current.loaded = loaded;
                }
                Err(error) => tracing::error!(
                    listener = self.listener,
                    "new TLS settings cannot be used, the old ones stay: {error}"
                ),
            }
            current.dynamic = dynamic;
        }
        current.loaded.server.clone()
    }

    fn stays(&self, before: &Loaded, after: Loaded) -> Result<Loaded, TlsError> {
        after.identity.stays_that_of(&before.identity, &self.config, &self.listener)?;
        Ok(after)
    }

    /// The name of whoever shows this certificate.
    pub(crate) fn principal(&self, certificate: &[u8]) -> Result<super::Principal, String> {
        let name = principal::distinguished_name(certificate)?;
        let mapped = self.rules.apply(&name).ok_or_else(|| format!("no rule applies to {name}"))?;
        Ok(super::Principal::user(&mapped))
    }
}

/// Whether a listener's TLS settings would work with these values set for this broker, and its certificate still name whom
/// it names now.
pub(crate) fn check(
    config: &Config,
    listener: &str,
    image: &Image,
    overrides: ConfigMap,
) -> Result<(), TlsError> {
    let before = dynamic(image, config.node_id);
    let [_, defaults] = &before;
    let after = load(config, listener, &[overrides, defaults.clone()])?;
    // Files that have gone since they were read do not keep others from taking their place.
    match load(config, listener, &before) {
        Ok(before) => after.identity.stays_that_of(&before.identity, config, listener),
        Err(_) => Ok(()),
    }
}

fn dynamic(image: &Image, node_id: NodeId) -> [ConfigMap; 2] {
    [image.config(&ConfigResource::Broker(node_id)), image.config(&ConfigResource::BrokerDefault)]
}

fn load(config: &Config, listener: &str, dynamic: &[ConfigMap; 2]) -> Result<Loaded, TlsError> {
    let get = |key: &str| {
        let own = listener_key(listener, key);
        let found = dynamic.iter().find_map(|map| map.get(own.as_str()).map(|value| value.to_string()));
        let given = || config.given(&own).map(str::to_owned);
        let shared = || dynamic.iter().find_map(|map| map.get(key).map(|value| value.to_string()));
        found
            .or_else(given)
            .or_else(shared)
            .or_else(|| config.effective(key).map(str::to_owned))
            .filter(|value| !value.is_empty())
    };
    build(&get)
}

fn build(get: &Lookup<'_>) -> Result<Loaded, TlsError> {
    let mut files = Vec::new();
    let KeyStore { chain, key } = stores::key_store(get, &mut files)?;
    let identity = Identity::of(chain.first())?;
    let provider = Arc::new(provider(get)?);
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&protocols(get)?)
        .map_err(|error| TlsError::new("ssl.enabled.protocols", error))?;
    const CLIENT_AUTH: &str = "ssl.client.auth";
    let builder = match get(CLIENT_AUTH).as_deref().unwrap_or("none") {
        "none" => builder.with_no_client_auth(),
        wanted => {
            let roots = stores::trust_store(get, &mut files)?
                .ok_or_else(|| TlsError::new(CLIENT_AUTH, "clients' certificates need a trust store"))?;
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier = match wanted {
                "required" => verifier,
                "requested" => verifier.allow_unauthenticated(),
                _ => return Err(TlsError::new(CLIENT_AUTH, "allowed are none, requested and required")),
            };
            let verifier = verifier.build().map_err(|error| TlsError::new("ssl.truststore", error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut server =
        builder.with_single_cert(chain, key).map_err(|error| TlsError::new("ssl.keystore", error))?;
    server.session_storage = rustls::server::ServerSessionMemoryCache::new(SESSIONS_KEPT_MAX);
    Ok(Loaded { server: Arc::new(server), identity, files })
}

/// How to be a client, by the same settings: whom to trust, and the certificate to show, if there is one.
pub(super) fn client(get: &Lookup<'_>) -> Result<rustls::ClientConfig, TlsError> {
    let mut files = Vec::new();
    let roots = stores::trust_store(get, &mut files)?
        .ok_or_else(|| TlsError::new("ssl.truststore.location", "a client needs a trust store"))?;
    let with_default = |key: &str| get(key).or_else(|| Some(broker_key(key)?.default?.to_owned()));
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(provider(get)?))
        .with_protocol_versions(&protocols(&with_default)?)
        .map_err(|error| TlsError::new("ssl.enabled.protocols", error))?
        .with_root_certificates(roots);
    if get("ssl.keystore.location").or_else(|| get("ssl.keystore.key")).is_none() {
        return Ok(builder.with_no_client_auth());
    }
    let KeyStore { chain, key } = stores::key_store(get, &mut files)?;
    builder.with_client_auth_cert(chain, key).map_err(|error| TlsError::new("ssl.keystore", error))
}

fn provider(get: &Lookup<'_>) -> Result<rustls::crypto::CryptoProvider, TlsError> {
    const KEY: &str = "ssl.cipher.suites";
    let mut provider = rustls::crypto::ring::default_provider();
    if let Some(names) = get(KEY) {
        let names: Vec<&str> = names.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        provider.cipher_suites.retain(|suite| {
            // rustls names those of TLS 1.3 as its own enumeration does.
            let own = suite.suite().as_str().unwrap_or_default().replacen("TLS13_", "TLS_", 1);
            names.contains(&own.as_str())
        });
        if provider.cipher_suites.is_empty() {
            return Err(TlsError::new(KEY, "none of these is supported"));
        }
    }
    Ok(provider)
}

fn protocols(get: &Lookup<'_>) -> Result<Vec<&'static SupportedProtocolVersion>, TlsError> {
    const KEY: &str = "ssl.enabled.protocols";
    let names = get(KEY).unwrap_or_default();
    let mut versions = Vec::new();
    for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        match name {
            "TLSv1.2" => versions.push(&rustls::version::TLS12),
            "TLSv1.3" => versions.push(&rustls::version::TLS13),
            other => {
                let why = format!("{other} is not supported; allowed are TLSv1.2 and TLSv1.3");
                return Err(TlsError::new(KEY, why));
            }
        }
    }
    if versions.is_empty() { Err(TlsError::new(KEY, "at least one is needed")) } else { Ok(versions) }
}
