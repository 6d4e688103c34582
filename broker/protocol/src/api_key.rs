//! API keys and what Kafka publishes about each.

use std::ops::RangeInclusive;

include!(concat!(env!("OUT_DIR"), "/api_key.rs"));

struct ApiFacts {
    name: &'static str,
    versions: (i16, i16),
    /// The first flexible version; `i16::MAX` where there is none.
    flexible_request: i16,
    flexible_response: i16,
    on_broker: bool,
    on_controller: bool,
    latest_unstable: bool,
}

impl ApiKey {
    /// Kafka's name without a suffix: `Produce`, `ListOffsets`.
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// The versions whose messages we can decode and encode. What a server offers is its own matter.
    pub const fn versions(self) -> RangeInclusive<i16> {
        let (first, last) = self.facts().versions;
        first..=last
    }

    /// The version of the header before a request of this version.
    pub const fn request_header_version(self, version: i16) -> i16 {
        if version >= self.facts().flexible_request { 2 } else { 1 }
    }

    /// The version of the header before a response of this version. Always 0 for ApiVersions: its reader does not know
    /// yet what the other side understands (KIP-511).
    pub const fn response_header_version(self, version: i16) -> i16 {
        if matches!(self, Self::ApiVersions) {
            return 0;
        }
        if version >= self.facts().flexible_response { 1 } else { 0 }
    }

    /// Whether brokers serve it.
    pub const fn on_broker(self) -> bool {
        self.facts().on_broker
    }

    /// Whether controllers serve it.
    pub const fn on_controller(self) -> bool {
        self.facts().on_controller
    }

    /// Whether the newest version may still change, so that Kafka does not advertise it.
    pub const fn latest_unstable(self) -> bool {
        self.facts().latest_unstable
    }
}

impl std::fmt::Display for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lead_to_keys_and_back() {
        for &key in ApiKey::ALL {
            assert_eq!(ApiKey::from_i16(key as i16), Some(key));
        }
        assert_eq!(ApiKey::from_i16(-1), None);
        assert_eq!(ApiKey::from_i16(4), None, "LeaderAndIsr left with ZooKeeper");
    }

    #[test]
    fn api_versions_answers_with_the_oldest_header() {
        assert_eq!(ApiKey::ApiVersions.request_header_version(4), 2);
        assert_eq!(ApiKey::ApiVersions.response_header_version(4), 0);
        assert_eq!(ApiKey::Fetch.response_header_version(11), 0);
        assert_eq!(ApiKey::Fetch.response_header_version(12), 1);
        assert_eq!(ApiKey::SaslHandshake.request_header_version(1), 1);
    }
}
