//! Listeners: where the broker listens, and what it tells clients to connect to.
//!
//! ```text
//! listeners                     = PLAINTEXT://:9092,CONTROLLER://:9093
//! advertised.listeners          = PLAINTEXT://broker-1.example:9092
//! listener.security.protocol.map = CONTROLLER:PLAINTEXT
//! controller.listener.names     = CONTROLLER
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{ConfigError, SaslSettings, value};

/// `NAME://host:port`. An empty host means every address of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name, in capitals.
    pub name: String,
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, host, port } = self;
        if host.contains(':') {
            write!(f, "{name}://[{host}]:{port}")
        } else {
            write!(f, "{name}://{host}:{port}")
        }
    }
}

/// What is spoken on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SecurityProtocol {
    #[default]
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

impl SecurityProtocol {
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "PLAINTEXT" => Some(Self::Plaintext),
            "SSL" => Some(Self::Ssl),
            "SASL_PLAINTEXT" => Some(Self::SaslPlaintext),
            "SASL_SSL" => Some(Self::SaslSsl),
            _ => None,
        }
    }

    /// The number that a broker registers with.
    pub const fn code(self) -> i16 {
        match self {
            Self::Plaintext => 0,
            Self::Ssl => 1,
            Self::SaslPlaintext => 2,
            Self::SaslSsl => 3,
        }
    }

    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    pub const fn is_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

/// A listener for clients.
#[derive(Clone)]
pub struct Listener {
    pub bind: Endpoint,
    pub protocol: SecurityProtocol,
    /// Where the protocol has SASL.
    pub sasl: Option<Arc<SaslSettings>>,
    /// What Metadata answers. Port 0 stands for the port that the bound one got.
    pub advertised: Endpoint,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as {} ({:?})", self.bind, self.advertised, self.protocol)
    }
}

/// What the settings say about listeners.
pub(super) struct Settings<'a> {
    pub listeners: &'a str,
    pub advertised: Option<&'a str>,
    pub protocols: &'a str,
    pub controller_names: &'a str,
    pub host_name: &'a str,
}

/// The listeners that serve clients; those of the controller are checked and left out, as a node whose quorum is itself
/// has nobody to talk to there.
pub(super) fn listeners(settings: &Settings<'_>) -> Result<Vec<Listener>, ConfigError> {
    let bound = endpoints("listeners", settings.listeners)?;
    let advertised = match settings.advertised {
        Some(text) => endpoints("advertised.listeners", text)?,
        None => Vec::new(),
    };
    let protocols = protocols(settings.protocols)?;
    let controllers: Vec<String> =
        value::list(settings.controller_names).map(str::to_ascii_uppercase).collect();
    for endpoint in &bound {
        protocol_of(endpoint, &protocols, &controllers)?;
        let same_port = |other: &&Endpoint| {
            endpoint.port != 0 && other.port == endpoint.port && other.host == endpoint.host
        };
        if bound.iter().filter(same_port).count() > 1 {
            let why = "each listener wants a port of its own";
            return Err(ConfigError::invalid("listeners", settings.listeners, why));
        }
    }
    for endpoint in &advertised {
        if !bound.iter().any(|b| b.name == endpoint.name) {
            let why = format!("{} is not one of the listeners", endpoint.name);
            return Err(ConfigError::invalid("advertised.listeners", &endpoint.to_string(), why));
        }
        if is_everywhere(&endpoint.host) {
            let why = "clients cannot connect to that address: name a host that they can reach";
            return Err(ConfigError::invalid("advertised.listeners", &endpoint.to_string(), why));
        }
    }
    let clients: Vec<Listener> = bound
        .into_iter()
        .filter(|endpoint| !controllers.contains(&endpoint.name))
        .map(|bind| {
            let protocol = protocol_of(&bind, &protocols, &controllers)?;
            let advertised = advertise(&bind, &advertised, settings.host_name);
            Ok(Listener { advertised, bind, protocol, sasl: None })
        })
        .collect::<Result<_, ConfigError>>()?;
    if clients.is_empty() {
        return Err(ConfigError::invalid(
            "listeners",
            settings.listeners,
            "one that is not the controller's is needed",
        ));
    }
    Ok(clients)
}

fn advertise(bind: &Endpoint, advertised: &[Endpoint], host_name: &str) -> Endpoint {
    if let Some(given) = advertised.iter().find(|a| a.name == bind.name) {
        return given.clone();
    }
    let host = if is_everywhere(&bind.host) { host_name.to_owned() } else { bind.host.clone() };
    Endpoint { host, ..bind.clone() }
}

fn is_everywhere(host: &str) -> bool {
    matches!(host, "" | "0.0.0.0" | "::")
}

fn protocol_of(
    endpoint: &Endpoint,
    protocols: &BTreeMap<String, SecurityProtocol>,
    controllers: &[String],
) -> Result<SecurityProtocol, ConfigError> {
    // As in Kafka, a controller's listener that the map does not name is PLAINTEXT.
    match protocols.get(&endpoint.name) {
        Some(protocol) => Ok(*protocol),
        None if controllers.contains(&endpoint.name) => Ok(SecurityProtocol::Plaintext),
        None => {
            let why = "listener.security.protocol.map does not say which protocol this listener speaks";
            Err(ConfigError::invalid("listeners", &endpoint.to_string(), why))
        }
    }
}

fn protocols(text: &str) -> Result<BTreeMap<String, SecurityProtocol>, ConfigError> {
    const KEY: &str = "listener.security.protocol.map";
    const KNOWN: [&str; 4] = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];
    let known =
        KNOWN.iter().filter_map(|name| Some(((*name).to_owned(), SecurityProtocol::from_name(name)?)));
    let mut map: BTreeMap<String, SecurityProtocol> = known.collect();
    for entry in value::list(text) {
        let pair = entry.split_once(':').and_then(|(name, protocol)| {
            let protocol = SecurityProtocol::from_name(&protocol.trim().to_ascii_uppercase())?;
            Some((name.trim(), protocol))
        });
        match pair {
            Some((name, protocol)) if !name.is_empty() => {
                map.insert(name.to_ascii_uppercase(), protocol);
            }
            _ => {
                return Err(ConfigError::invalid(
                    KEY,
                    entry,
                    "allowed is NAME:PROTOCOL with PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL",
                ));
            }
        }
    }
    Ok(map)
}

fn endpoints(key: &str, text: &str) -> Result<Vec<Endpoint>, ConfigError> {
    let mut found: Vec<Endpoint> = Vec::new();
    for entry in value::list(text) {
        let endpoint = endpoint(entry).ok_or_else(|| {
            ConfigError::invalid(key, entry, "allowed is NAME://HOST:PORT with a port from 0 to 65535")
        })?;
        if found.iter().any(|other| other.name == endpoint.name) {
            return Err(ConfigError::invalid(key, text, format!("{} is there twice", endpoint.name)));
        }
        found.push(endpoint);
    }
    if found.is_empty() {
        return Err(ConfigError::invalid(key, text, "at least one listener is needed"));
    }
    Ok(found)
}

fn endpoint(entry: &str) -> Option<Endpoint> {
    let (name, address) = entry.split_once("://")?;
    let (host, port) = address.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b'@' | b'"'));
    (!name.is_empty() && plain(name) && plain(host)).then(|| {
        Some(Endpoint { name: name.to_ascii_uppercase(), host: host.to_owned(), port: port.parse().ok()? })
    })?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        listeners: &str,
        advertised: Option<&str>,
        protocols: &str,
    ) -> Result<Vec<Listener>, ConfigError> {
        let (controller_names, host_name) = ("CONTROLLER", "here.example");
        super::listeners(&Settings { listeners, advertised, protocols, controller_names, host_name })
    }

    #[test]
    fn the_official_images_listeners_are_understood() {
        let found =
            read("PLAINTEXT://:9092,CONTROLLER://:9093", Some("PLAINTEXT://localhost:9092"), "").unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].bind.to_string(), "PLAINTEXT://:9092");
        assert_eq!(found[0].advertised.to_string(), "PLAINTEXT://localhost:9092");
    }

    #[test]
    fn several_names_may_be_plaintext() {
        let map = "CONTROLLER:PLAINTEXT,PLAINTEXT_HOST:PLAINTEXT,PLAINTEXT:PLAINTEXT";
        let listeners = "PLAINTEXT_HOST://0.0.0.0:9092,CONTROLLER://broker:29093,PLAINTEXT://[::1]:19092";
        let found = read(listeners, Some("PLAINTEXT_HOST://localhost:9092"), map).unwrap();
        let advertised: Vec<_> = found.iter().map(|l| l.advertised.to_string()).collect();
        assert_eq!(advertised, ["PLAINTEXT_HOST://localhost:9092", "PLAINTEXT://[::1]:19092"]);
    }

    #[test]
    fn without_an_advertised_host_it_is_this_machines_name() {
        assert_eq!(read("PLAINTEXT://:0", None, "").unwrap()[0].advertised.host, "here.example");
    }

    #[test]
    fn what_cannot_be_served_is_refused_in_one_line() {
        for (listeners, advertised, map, words) in [
            ("EXTERNAL://:9092", None, "", "does not say which protocol"),
            ("PLAINTEXT://:9092", Some("PLAINTEXT://0.0.0.0:9092"), "", "cannot connect"),
            ("PLAINTEXT://:9092", Some("OTHER://h:9092"), "", "OTHER is not one"),
            ("PLAINTEXT://:9092,PLAINTEXT://:9093", None, "", "twice"),
            ("PLAINTEXT://:9092,CONTROLLER://:9092", None, "", "port of its own"),
            ("CONTROLLER://:9093", None, "", "not the controller's"),
            ("PLAINTEXT://:90922", None, "", "0 to 65535"),
            ("localhost:9092", None, "", "NAME://HOST:PORT"),
            ("", None, "", "at least one"),
            ("PLAINTEXT://:9092", None, "A:B", "NAME:PROTOCOL"),
        ] {
            let error = read(listeners, advertised, map).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains('\n'), "{listeners}: {error}");
        }
    }
}
