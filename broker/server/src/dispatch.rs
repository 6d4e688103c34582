//! From a frame to its handler: the table of API keys, and the one function that decodes, handles and encodes for all.
//!
//! To add a key: write `api/<name>.rs` with a type that implements [`Handler`], and add its line to [`TABLE`].

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use strata_protocol::messages::RequestHeader;
use strata_protocol::{
    ApiKey, DecodeError, Decoder, Encoded, Message, Request, Response, Str, decode_request_header, frame,
};

use crate::api;
use crate::broker::Broker;
use crate::measured::{Measured, timed};
use crate::quotas::Throttle;
use crate::security::Session;
use crate::trace;

/// What a connection sends back, or why not.
pub(crate) type Answer = Result<Encoded, Refusal>;

/// Why a request gets no answer.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// As it asked for: `acks=0`.
    Silent,
    /// The connection is closed, as Kafka does where the protocol has no answer. `cause` groups them in the log.
    Close { cause: &'static str, what: String },
    /// The same, after a last answer.
    Last { answer: Encoded, cause: &'static str, what: String },
}

impl Refusal {
    pub(crate) fn close(cause: &'static str, what: impl Into<String>) -> Self {
        Self::Close { cause, what: what.into() }
    }

    /// A coordinator answered something else than it was asked: our mistake, which must not pass for an answer.
    pub(crate) fn not_an_answer_to(request: &str, answer: &impl std::fmt::Debug) -> Self {
        Self::close("internal", format!("the coordinator answered {request} with {answer:?}"))
    }
}

/// The other end of a connection.
#[derive(Clone)]
pub(crate) struct Peer {
    pub address: SocketAddr,
    /// The name of the listener that it came in by.
    pub listener: Str,
    /// Tells connections apart, also those that are long gone.
    pub connection: u64,
    /// Whom it belongs to.
    pub session: Arc<Session>,
    /// Held by a transactional produce request until its records are in the log: waiting for a transaction's coordinator
    /// must not let later ones overtake.
    pub transactional_turn: Arc<tokio::sync::Mutex<()>>,
    /// For how long nothing more is read from it.
    pub throttle: Arc<Throttle>,
    /// Name and version of its software, once ApiVersions has told.
    pub software: Arc<Mutex<Option<(Str, Str)>>>,
}

/// A request's surroundings.
pub(crate) struct Context {
    pub broker: Arc<Broker>,
    pub peer: Peer,
    pub version: i16,
    pub client_id: Option<Str>,
    /// The request's size with its header.
    pub request_bytes: usize,
}

/// One API key: how a request becomes its response.
pub(crate) trait Handler: 'static {
    type Request: Request;
    /// The versions that are handled.
    const VERSIONS: RangeInclusive<i16>;
    /// The versions that ApiVersions tells clients.
    const ADVERTISED: RangeInclusive<i16> = Self::VERSIONS;

    /// What this does before it first waits happens in the order in which a connection's requests came in.
    fn handle(
        cx: Context,
        request: Self::Request,
    ) -> impl Future<Output = Result<<Self::Request as Request>::Response, Refusal>> + Send + 'static;
}

/// A row of the table.
pub(crate) struct Api {
    pub key: ApiKey,
    pub advertised: RangeInclusive<i16>,
    versions: RangeInclusive<i16>,
    start: fn(Context, i32, Decoder) -> Result<BoxFuture<'static, Answer>, DecodeError>,
}

impl Api {
    const fn of<H: Handler>() -> Self {
        Self {
            key: H::Request::KEY,
            advertised: H::ADVERTISED,
            versions: H::VERSIONS,
            start: start_with::<H>,
        }
    }
}

/// Every API key that this broker serves, in the order of the numbers.
pub(crate) static TABLE: &[Api] = &[
    Api::of::<api::produce::Produce>(),
    Api::of::<api::fetch::Fetch>(),
    Api::of::<api::list_offsets::ListOffsets>(),
    Api::of::<api::metadata::Metadata>(),
    Api::of::<api::offset_commit::OffsetCommit>(),
    Api::of::<api::offset_fetch::OffsetFetch>(),
    Api::of::<api::find_coordinator::FindCoordinator>(),
    Api::of::<api::join_group::JoinGroup>(),
    Api::of::<api::heartbeat::Heartbeat>(),
    Api::of::<api::leave_group::LeaveGroup>(),
    Api::of::<api::sync_group::SyncGroup>(),
    Api::of::<api::describe_groups::DescribeGroups>(),
    Api::of::<api::list_groups::ListGroups>(),
    Api::of::<api::sasl_handshake::SaslHandshake>(),
    Api::of::<api::api_versions::ApiVersions>(),
    Api::of::<api::create_topics::CreateTopics>(),
    Api::of::<api::delete_topics::DeleteTopics>(),
    Api::of::<api::delete_records::DeleteRecords>(),
    Api::of::<api::init_producer_id::InitProducerId>(),
    Api::of::<api::offset_for_leader_epoch::OffsetForLeaderEpoch>(),
    Api::of::<api::add_partitions_to_txn::AddPartitionsToTxn>(),
    Api::of::<api::add_offsets_to_txn::AddOffsetsToTxn>(),
    Api::of::<api::end_txn::EndTxn>(),
    Api::of::<api::write_txn_markers::WriteTxnMarkers>(),
    Api::of::<api::txn_offset_commit::TxnOffsetCommit>(),
    Api::of::<api::describe_acls::DescribeAcls>(),
    Api::of::<api::create_acls::CreateAcls>(),
    Api::of::<api::delete_acls::DeleteAcls>(),
    Api::of::<api::describe_configs::DescribeConfigs>(),
    Api::of::<api::alter_configs::AlterConfigs>(),
    Api::of::<api::alter_replica_log_dirs::AlterReplicaLogDirs>(),
    Api::of::<api::describe_log_dirs::DescribeLogDirs>(),
    Api::of::<api::sasl_authenticate::SaslAuthenticate>(),
    Api::of::<api::create_partitions::CreatePartitions>(),
    Api::of::<api::create_delegation_token::CreateDelegationToken>(),
    Api::of::<api::renew_delegation_token::RenewDelegationToken>(),
    Api::of::<api::expire_delegation_token::ExpireDelegationToken>(),
    Api::of::<api::describe_delegation_token::DescribeDelegationToken>(),
    Api::of::<api::delete_groups::DeleteGroups>(),
    Api::of::<api::elect_leaders::ElectLeaders>(),
    Api::of::<api::incremental_alter_configs::IncrementalAlterConfigs>(),
    Api::of::<api::alter_partition_reassignments::AlterPartitionReassignments>(),
    Api::of::<api::list_partition_reassignments::ListPartitionReassignments>(),
    Api::of::<api::offset_delete::OffsetDelete>(),
    Api::of::<api::describe_client_quotas::DescribeClientQuotas>(),
    Api::of::<api::alter_client_quotas::AlterClientQuotas>(),
    Api::of::<api::describe_user_scram_credentials::DescribeUserScramCredentials>(),
    Api::of::<api::alter_user_scram_credentials::AlterUserScramCredentials>(),
    Api::of::<api::describe_quorum::DescribeQuorum>(),
    Api::of::<api::update_features::UpdateFeatures>(),
    Api::of::<api::describe_cluster::DescribeCluster>(),
    Api::of::<api::describe_producers::DescribeProducers>(),
    Api::of::<api::unregister_broker::UnregisterBroker>(),
    Api::of::<api::describe_transactions::DescribeTransactions>(),
    Api::of::<api::list_transactions::ListTransactions>(),
    Api::of::<api::consumer_group_heartbeat::ConsumerGroupHeartbeat>(),
    Api::of::<api::consumer_group_describe::ConsumerGroupDescribe>(),
    Api::of::<api::get_telemetry_subscriptions::GetTelemetrySubscriptions>(),
    Api::of::<api::push_telemetry::PushTelemetry>(),
    Api::of::<api::list_config_resources::ListConfigResources>(),
    Api::of::<api::describe_topic_partitions::DescribeTopicPartitions>(),
    Api::of::<api::share_group_heartbeat::ShareGroupHeartbeat>(),
    Api::of::<api::share_group_describe::ShareGroupDescribe>(),
    Api::of::<api::share_fetch::ShareFetch>(),
    Api::of::<api::share_acknowledge::ShareAcknowledge>(),
    Api::of::<api::add_raft_voter::AddRaftVoter>(),
    Api::of::<api::remove_raft_voter::RemoveRaftVoter>(),
    Api::of::<api::initialize_share_group_state::InitializeShareGroupState>(),
    Api::of::<api::read_share_group_state::ReadShareGroupState>(),
    Api::of::<api::write_share_group_state::WriteShareGroupState>(),
    Api::of::<api::delete_share_group_state::DeleteShareGroupState>(),
    Api::of::<api::read_share_group_state_summary::ReadShareGroupStateSummary>(),
    Api::of::<api::streams_group_heartbeat::StreamsGroupHeartbeat>(),
    Api::of::<api::streams_group_describe::StreamsGroupDescribe>(),
    Api::of::<api::describe_share_group_offsets::DescribeShareGroupOffsets>(),
    Api::of::<api::alter_share_group_offsets::AlterShareGroupOffsets>(),
    Api::of::<api::delete_share_group_offsets::DeleteShareGroupOffsets>(),
    Api::of::<api::streams_group_topology_description_update::StreamsGroupTopologyDescriptionUpdate>(),
    Api::of::<api::unregister_controller::UnregisterController>(),
];

/// An API key and its versions, for the documentation.
#[derive(Debug)]
pub struct ServedApi {
    pub key: ApiKey,
    pub versions: RangeInclusive<i16>,
    /// What ApiVersions tells clients.
    pub advertised: RangeInclusive<i16>,
}

/// Every API key that this broker serves, in the order of the numbers.
pub fn served_apis() -> impl Iterator<Item = ServedApi> {
    TABLE.iter().map(|api| ServedApi {
        key: api.key,
        versions: api.versions.clone(),
        advertised: api.advertised.clone(),
    })
}

/// Decodes a frame and starts its handler; nothing of it has run yet.
pub(crate) fn start(
    broker: &Arc<Broker>,
    peer: &Peer,
    frame: Bytes,
) -> Result<BoxFuture<'static, Answer>, Refusal> {
    if let Some(answer) = peer.session.bare(broker, &frame) {
        return Ok(Box::pin(std::future::ready(answer)));
    }
    let request_bytes = frame.len();
    let mut decoder = Decoder::new(frame);
    let malformed = |error: DecodeError| Refusal::close("malformed", format!("a malformed request: {error}"));
    let header = decode_request_header(&mut decoder).map_err(|error| match error {
        DecodeError::UnknownApiKey(key) => {
            Refusal::close("unknown key", format!("there is no API key {key}"))
        }
        error => malformed(error),
    })?;
    let RequestHeader {
        request_api_key: key, request_api_version: version, correlation_id, client_id, ..
    } = header;
    let api = TABLE.iter().find(|api| api.key as i16 == key);
    let api =
        api.ok_or_else(|| Refusal::close("unsupported key", format!("API key {key} is not supported yet")))?;
    peer.session.admits(api.key)?;
    if !api.versions.contains(&version) {
        // The one request that a client sends before it knows what we speak (KIP-511).
        if api.key == ApiKey::ApiVersions {
            return Ok(Box::pin(std::future::ready(api::api_versions::unsupported_version(correlation_id))));
        }
        return Err(Refusal::close(
            "unsupported version",
            format!("{} has no version {version} here", api.key),
        ));
    }
    let cx = Context { broker: broker.clone(), peer: peer.clone(), version, client_id, request_bytes };
    (api.start)(cx, correlation_id, decoder).map_err(malformed)
}

fn start_with<H: Handler>(
    cx: Context,
    correlation_id: i32,
    mut decoder: Decoder,
) -> Result<BoxFuture<'static, Answer>, DecodeError> {
    let version = cx.version;
    let span = trace::request(H::Request::KEY, &cx, correlation_id);
    // Bytes that follow the request are let be, as in Kafka: librdkafka sends some.
    let request = H::Request::decode(&mut decoder, version)?;
    let measured = Measured::of(&cx);
    let traced = span.clone();
    let work = Box::pin(async move {
        let session = is_sasl(H::Request::KEY).then(|| cx.peer.session.clone());
        let (handled, busy) = timed(H::handle(cx, request)).await;
        measured.count(H::Request::KEY, busy, &handled);
        trace::answered(&traced, || match &handled {
            Ok(response) => Ok(response.first_error()),
            Err(Refusal::Silent) => Ok(None),
            Err(Refusal::Close { cause, .. } | Refusal::Last { cause, .. }) => Err(cause),
        });
        let mut response = handled?;
        measured.charge(busy, &mut response);
        let answer = encode::<H::Request>(correlation_id, version, &response)?;
        match session.as_ref().and_then(|session| session.failure()) {
            Some(why) => Err(Refusal::Last { answer, cause: "authentication", what: why.to_owned() }),
            None => Ok(answer),
        }
    });
    Ok(trace::within(span, work))
}

const fn is_sasl(key: ApiKey) -> bool {
    matches!(key, ApiKey::SaslHandshake | ApiKey::SaslAuthenticate)
}

/// The response's frame.
pub(crate) fn encode<R: Request>(correlation_id: i32, version: i16, response: &R::Response) -> Answer {
    frame::encode_response(correlation_id, R::KEY, version, response).map_err(|error| {
        Refusal::close("encode", format!("the answer to {} cannot be encoded: {error}", R::KEY))
    })
}
