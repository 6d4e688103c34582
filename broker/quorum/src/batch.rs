//! Entries of Raft's log as record batches of Kafka's, and back.
//!
//! | entry | batch |
//! |---|---|
//! | records | one record for each, as `MetadataRecord` frames them |
//! | blank (a new leader's first) | control batch with a `LeaderChangeMessage` |
//! | membership | control batch with a `VotersRecord` for each config (two while they change) |
//!
//! The epoch in the batch's header is the entry's term. Its index stands in a header of the first record, [`INDEX_HEADER`],
//! because offsets count records and Raft counts batches.

use std::collections::BTreeSet;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use strata_protocol::messages::{LeaderChangeMessage, VotersRecord, leader_change_message, voters_record};
use strata_protocol::records::{
    Batch, BatchBuilder, BatchError, BuildError, BuilderOptions, DecompressLimit, Header, Record,
};
use strata_protocol::{DecodeError, EncodeError, Message, Str};
use strata_types::{LeaderEpoch, NodeId, Offset, TimestampMs};

use crate::raft::{Command, Entry, EntryPayload, Membership, log_id};

/// The header that carries an entry's index, as a big-endian 64-bit number.
const INDEX_HEADER: &str = "raft-index";

/// The most voters that a membership may have; a bound for what is read back.
const VOTERS_MAX: usize = 1024;

/// Kafka's types of control records (`ControlRecordType`).
pub(crate) mod control {
    pub(crate) const LEADER_CHANGE: i16 = 2;
    pub(crate) const SNAPSHOT_HEADER: i16 = 3;
    pub(crate) const SNAPSHOT_FOOTER: i16 = 4;
    pub(crate) const VOTERS: i16 = 6;
}

/// Why an entry is no batch, or a batch no entry.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BatchFormatError {
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("an epoch is out of range")]
    Epoch,
    #[error("the batch does not say which entry it is")]
    NoIndex,
    #[error("a record has no value")]
    NoValue,
    #[error("control record {0} has no place here")]
    Control(i16),
    #[error("a control record has no type")]
    NoControlType,
    #[error("the membership is empty, too large, or has members without a vote")]
    Membership,
}

/// How many offsets an entry takes.
pub(crate) fn offsets_of(payload: &EntryPayload) -> i64 {
    match payload {
        EntryPayload::Blank => 1,
        EntryPayload::Normal(Command(records)) => records.len() as i64,
        EntryPayload::Membership(membership) => membership.get_joint_config().len() as i64,
    }
}

/// The batch that holds an entry, starting at `base_offset`. `leader` is the node that writes it.
pub(crate) fn encode(
    entry: &Entry,
    base_offset: Offset,
    leader: NodeId,
    now: TimestampMs,
) -> Result<Bytes, BatchFormatError> {
    let records: Vec<(Option<Bytes>, Bytes)> = match &entry.payload {
        EntryPayload::Blank => vec![(Some(control_key(control::LEADER_CHANGE)), leader_change(leader)?)],
        EntryPayload::Normal(Command(values)) => values.iter().map(|value| (None, value.clone())).collect(),
        EntryPayload::Membership(membership) => voters(membership)?
            .into_iter()
            .map(|voters| (Some(control_key(control::VOTERS)), voters))
            .collect(),
    };
    let control = !matches!(entry.payload, EntryPayload::Normal(_));
    let mut builder = builder(base_offset, epoch(entry.log_id.leader_id.term)?, control);
    let mut headers = vec![number_header(INDEX_HEADER, &[entry.log_id.index])];
    for (key, value) in &records {
        builder.push_next(now, key.as_deref(), Some(value), &headers)?;
        headers.clear();
    }
    Ok(builder.build()?)
}

/// The entry that a batch holds. Its CRC is checked first.
pub(crate) fn decode(batch: &Batch) -> Result<Entry, BatchFormatError> {
    batch.check_crc()?;
    let records = records_of(batch)?;
    let first = records.first().ok_or(BatchFormatError::NoIndex)?;
    let [index] = numbers_of(first, INDEX_HEADER).ok_or(BatchFormatError::NoIndex)?;
    let term = u64::try_from(batch.header().leader_epoch.0).map_err(|_| BatchFormatError::Epoch)?;
    let payload = match batch.header().is_control() {
        false => {
            let values = records.into_iter().map(|record| record.value.ok_or(BatchFormatError::NoValue));
            EntryPayload::Normal(Command(values.collect::<Result<_, _>>()?))
        }
        true => match control_type(first)? {
            control::LEADER_CHANGE => EntryPayload::Blank,
            control::VOTERS => EntryPayload::Membership(membership(&records)?),
            other => return Err(BatchFormatError::Control(other)),
        },
    };
    Ok(Entry { log_id: log_id(term, index), payload })
}

/// Starts a batch of the metadata log.
pub(crate) fn builder(base_offset: Offset, leader_epoch: LeaderEpoch, control: bool) -> BatchBuilder {
    BatchBuilder::new(BuilderOptions { base_offset, leader_epoch, control, ..Default::default() })
}

/// A term as the log has it.
pub(crate) fn epoch(term: u64) -> Result<LeaderEpoch, BatchFormatError> {
    i32::try_from(term).map(LeaderEpoch).map_err(|_| BatchFormatError::Epoch)
}

/// The records of a batch.
pub(crate) fn records_of(batch: &Batch) -> Result<Vec<Record>, BatchFormatError> {
    Ok(batch.records(DecompressLimit::default())?.collect::<Result<_, _>>()?)
}

/// A control record's key: version 0 and the type.
pub(crate) fn control_key(control_type: i16) -> Bytes {
    let mut key = BytesMut::with_capacity(4);
    key.put_i16(0);
    key.put_i16(control_type);
    key.freeze()
}

/// A control record's type.
pub(crate) fn control_type(record: &Record) -> Result<i16, BatchFormatError> {
    let mut key = record.key.clone().filter(|key| key.len() >= 4).ok_or(BatchFormatError::NoControlType)?;
    let _version = key.get_i16();
    Ok(key.get_i16())
}

/// A header that carries numbers.
pub(crate) fn number_header(name: &'static str, numbers: &[u64]) -> Header {
    let mut value = BytesMut::with_capacity(8 * numbers.len());
    numbers.iter().for_each(|&number| value.put_u64(number));
    Header { key: Str::from_static(name), value: Some(value.freeze()) }
}

/// The numbers in a header, if it is there and has just that many.
pub(crate) fn numbers_of<const N: usize>(record: &Record, name: &str) -> Option<[u64; N]> {
    let header = record.headers.iter().find(|header| header.key.as_str() == name)?;
    let mut value = header.value.clone().filter(|value| value.len() == 8 * N)?;
    Some(std::array::from_fn(|_| value.get_u64()))
}

/// The configs of a membership, each as a `VotersRecord`.
pub(crate) fn voters(membership: &Membership) -> Result<Vec<Bytes>, BatchFormatError> {
    if membership.get_joint_config().is_empty() || membership.learner_ids().next().is_some() {
        return Err(BatchFormatError::Membership);
    }
    let voter = |&voter_id: &NodeId| voters_record::Voter { voter_id, ..Default::default() };
    let configs = membership.get_joint_config().iter();
    let records = configs
        .map(|config| VotersRecord { voters: config.iter().map(voter).collect(), ..Default::default() });
    records.map(|record| Ok(record.to_bytes(0)?)).collect()
}

/// The membership whose configs these `VotersRecord`s are.
pub(crate) fn membership(records: &[Record]) -> Result<Membership, BatchFormatError> {
    let mut configs = Vec::with_capacity(records.len());
    for record in records {
        let value = record.value.clone().ok_or(BatchFormatError::NoValue)?;
        let voters = VotersRecord::from_bytes(value, 0)?.voters;
        if voters.is_empty() || voters.len() > VOTERS_MAX {
            return Err(BatchFormatError::Membership);
        }
        configs.push(voters.iter().map(|voter| voter.voter_id).collect());
    }
    Ok(Membership::new(configs, BTreeSet::<NodeId>::new()))
}

fn leader_change(leader_id: NodeId) -> Result<Bytes, EncodeError> {
    let voter = leader_change_message::Voter { voter_id: leader_id, ..Default::default() };
    let message = LeaderChangeMessage {
        leader_id,
        voters: vec![voter.clone()],
        granting_voters: vec![voter],
        ..Default::default()
    };
    message.to_bytes(0)
}
