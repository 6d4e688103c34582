use strata_protocol::Str;
use strata_protocol::messages::register_broker_record;
use strata_protocol::messages::{BrokerRegistrationChangeRecord, RegisterBrokerRecord};
use strata_types::NodeId;
use uuid::Uuid;

/// A broker that has registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    pub id: NodeId,
    /// The metadata log's offset at its registration; a later incarnation has a greater one.
    pub epoch: i64,
    /// Chosen at random by the process when it starts.
    pub incarnation_id: Uuid,
    pub endpoints: Vec<Endpoint>,
    pub features: Vec<BrokerFeature>,
    pub rack: Option<Str>,
    /// A fenced broker leads nothing and is hidden from clients.
    pub fenced: bool,
    pub in_controlled_shutdown: bool,
    /// The ids of its log directories (KIP-858).
    pub log_dirs: Vec<Uuid>,
}

/// Where a listener of a broker is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name, such as `PLAINTEXT`.
    pub listener: Str,
    pub host: Str,
    pub port: u16,
    /// Kafka's number of the security protocol: 0 plaintext, 1 TLS, 2 SASL, 3 SASL over TLS.
    pub security_protocol: i16,
}

/// A range of versions that a broker understands of a feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerFeature {
    pub name: Str,
    pub min_supported_version: i16,
    pub max_supported_version: i16,
}

/// A change record's state field holds a number without a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the state change {0} is not known")]
pub struct UnknownStateChange(pub i8);

impl Broker {
    /// Whether partitions may be given to it and led by it.
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    /// Where new replicas go: the directory if there is just one, else nil, for the broker to choose (KIP-858).
    pub(crate) fn default_dir(&self) -> Uuid {
        match self.log_dirs[..] {
            [only] => only,
            _ => Uuid::nil(),
        }
    }

    pub(crate) fn from_record(record: &RegisterBrokerRecord) -> Self {
        let endpoint = |e: &register_broker_record::BrokerEndpoint| Endpoint {
            listener: e.name.detached(),
            host: e.host.detached(),
            port: e.port,
            security_protocol: e.security_protocol,
        };
        let feature = |f: &register_broker_record::BrokerFeature| BrokerFeature {
            name: f.name.detached(),
            min_supported_version: f.min_supported_version,
            max_supported_version: f.max_supported_version,
        };
        Self {
            id: record.broker_id,
            epoch: record.broker_epoch,
            incarnation_id: record.incarnation_id,
            endpoints: record.end_points.iter().map(endpoint).collect(),
            features: record.features.iter().map(feature).collect(),
            rack: record.rack.as_ref().map(Str::detached),
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
            log_dirs: record.log_dirs.clone(),
        }
    }

    pub(crate) fn to_record(&self) -> RegisterBrokerRecord {
        let endpoint = |e: &Endpoint| register_broker_record::BrokerEndpoint {
            name: e.listener.clone(),
            host: e.host.clone(),
            port: e.port,
            security_protocol: e.security_protocol,
            ..Default::default()
        };
        let feature = |f: &BrokerFeature| register_broker_record::BrokerFeature {
            name: f.name.clone(),
            min_supported_version: f.min_supported_version,
            max_supported_version: f.max_supported_version,
            ..Default::default()
        };
        RegisterBrokerRecord {
            broker_id: self.id,
            broker_epoch: self.epoch,
            incarnation_id: self.incarnation_id,
            end_points: self.endpoints.iter().map(endpoint).collect(),
            features: self.features.iter().map(feature).collect(),
            rack: self.rack.clone(),
            fenced: self.fenced,
            in_controlled_shutdown: self.in_controlled_shutdown,
            log_dirs: self.log_dirs.clone(),
            ..Default::default()
        }
    }

    pub(crate) fn changed(
        &self,
        record: &BrokerRegistrationChangeRecord,
    ) -> Result<Self, UnknownStateChange> {
        let mut next = self.clone();
        next.fenced = state_after(self.fenced, record.fenced)?;
        // A broker does not come back from a shutdown, except as a new incarnation.
        next.in_controlled_shutdown = match record.in_controlled_shutdown {
            0 => self.in_controlled_shutdown,
            1 => true,
            other => return Err(UnknownStateChange(other)),
        };
        if !record.log_dirs.is_empty() {
            next.log_dirs.clone_from(&record.log_dirs);
        }
        Ok(next)
    }
}

fn state_after(state: bool, change: i8) -> Result<bool, UnknownStateChange> {
    match change {
        0 => Ok(state),
        1 => Ok(true),
        -1 => Ok(false),
        other => Err(UnknownStateChange(other)),
    }
}
