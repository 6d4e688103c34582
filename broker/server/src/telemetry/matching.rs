//! The selectors of a metrics subscription: `client_id=app.*,client_software_name=librdkafka`.

use std::net::IpAddr;

use regex::{Regex, RegexBuilder};

/// The most memory that one pattern may take when compiled.
const PATTERN_BYTES_MAX: usize = 256 * 1024;
/// There are as many selectors as there are labels.
const SELECTORS_MAX: usize = 6;

/// What selectors look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Client<'a> {
    pub client_id: &'a str,
    pub instance_id: &'a str,
    pub software_name: &'a str,
    pub software_version: &'a str,
    pub address: IpAddr,
    pub port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    ClientId,
    InstanceId,
    SoftwareName,
    SoftwareVersion,
    SourceAddress,
    SourcePort,
}

impl Label {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "client_id" => Self::ClientId,
            "client_instance_id" => Self::InstanceId,
            "client_software_name" => Self::SoftwareName,
            "client_software_version" => Self::SoftwareVersion,
            "client_source_address" => Self::SourceAddress,
            "client_source_port" => Self::SourcePort,
            _ => return None,
        })
    }

    fn matches(self, client: &Client<'_>, pattern: &Regex) -> bool {
        match self {
            Self::ClientId => pattern.is_match(client.client_id),
            Self::InstanceId => pattern.is_match(client.instance_id),
            Self::SoftwareName => pattern.is_match(client.software_name),
            Self::SoftwareVersion => pattern.is_match(client.software_version),
            Self::SourceAddress => pattern.is_match(&client.address.to_string()),
            Self::SourcePort => pattern.is_match(&client.port.to_string()),
        }
    }
}

/// All of a subscription's selectors; a client must fit every one. Patterns match whole values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Match(Vec<(Label, Regex)>);

impl Match {
    /// Reads the value of `match`. The words of a refusal are Kafka's.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut selectors: Vec<(Label, Regex)> = Vec::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let selector = entry.split_once('=').and_then(|(label, pattern)| {
                let label = Label::parse(label.trim())?;
                let pattern = pattern.trim();
                let whole =
                    RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(PATTERN_BYTES_MAX).build();
                // A pattern that closes our bracket and opens one of its own is none.
                Regex::new(pattern).ok().filter(|_| !pattern.is_empty())?;
                Some((label, whole.ok()?))
            });
            let (label, pattern) =
                selector.ok_or_else(|| format!("Illegal client matching pattern: {entry}"))?;
            selectors.retain(|(known, _)| *known != label);
            selectors.push((label, pattern));
        }
        debug_assert!(selectors.len() <= SELECTORS_MAX);
        Ok(Self(selectors))
    }

    pub(crate) fn fits(&self, client: &Client<'_>) -> bool {
        self.0.iter().all(|(label, pattern)| label.matches(client, pattern))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: Client<'_> = Client {
        client_id: "app-7",
        instance_id: "id",
        software_name: "apache-kafka-java",
        software_version: "4.3.1",
        address: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        port: 1234,
    };

    fn fits(text: &str) -> bool {
        Match::parse(text).unwrap().fits(&CLIENT)
    }

    #[test]
    fn a_client_must_fit_every_selector_wholly() {
        assert!(fits("") && fits("client_id=app.*") && fits("client_id=app.*, client_source_port=12[0-9]+"));
        assert!(fits("client_source_address=127\\.0\\.0\\.1,client_software_version=4\\..*"));
        assert!(!fits("client_id=app") && !fits("client_id=app.*,client_software_name=librdkafka"));
        assert!(fits("client_id=x|app-7") && !fits("client_id=x|app"));
    }

    #[test]
    fn what_is_no_selector_is_named() {
        for bad in ["client_id=[", "no_such_label=x", "client_id=", "client_id", "client_id=a)|(b", "=x"] {
            let why = Match::parse(bad).unwrap_err();
            assert_eq!(why, format!("Illegal client matching pattern: {bad}"));
        }
    }
}
