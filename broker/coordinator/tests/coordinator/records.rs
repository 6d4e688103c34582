//! The bytes in `__consumer_offsets`, against those that Kafka 4.3's `GroupCoordinatorRecordSerde` writes.

use bytes::Bytes;
use strata_coordinator::{GroupRequest, RawRecord, ReplayError};
use strata_protocol::messages::OffsetCommitRequest;
use strata_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use uuid::Uuid;

use crate::harness::{GROUP, Join, Shell};

const OFFSET_KEY: &str = "000100016700017400000003";
const GROUP_KEY: &str = "0002000167";

fn commit(retention_time_ms: i64) -> GroupRequest {
    let partition = OffsetCommitRequestPartition {
        partition_index: 3,
        committed_offset: 42,
        committed_leader_epoch: 7,
        committed_metadata: Some("m".into()),
        ..Default::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: "t".into(),
        topic_id: Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: GROUP.into(),
        retention_time_ms,
        topics: vec![topic],
        ..Default::default()
    };
    GroupRequest::OffsetCommit { request, version: 4 }
}

fn hex(record: &RawRecord) -> (String, Option<String>) {
    let hex = |bytes: &Bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    (hex(&record.key), record.value.as_ref().map(hex))
}

fn expected(key: &str, value: &str) -> (String, Option<String>) {
    (key.to_owned(), Some(value.to_owned()))
}

#[test]
fn an_offset_is_written_as_kafka_writes_it() {
    let mut shell = Shell::new();
    shell.ask(commit(-1));
    let value = "0004000000000000002a00000007026d00000000000f42400100100102030405060708090a0b0c0d0e0f10";
    assert_eq!(hex(&shell.log[0]), expected(OFFSET_KEY, value));
}

#[test]
fn an_offset_with_its_own_retention_is_written_in_version_1() {
    let mut shell = Shell::new();
    shell.ask(commit(5_000));
    let value = "0001000000000000002a00016d00000000000f424000000000000f55c8";
    assert_eq!(hex(&shell.log[0]), expected(OFFSET_KEY, value));
}

#[test]
fn a_group_is_written_as_kafka_writes_it() {
    let mut shell = Shell::new();
    let join = Join { instance: Some("one"), ..Join::default() };
    let reply = shell.ask(join.request(Uuid::from_u128(1)));
    let empty = "0003000000000000ffffffff00000000000f424000000000";
    assert_eq!(hex(&shell.log[0]), expected(GROUP_KEY, empty));

    shell.advance(3_000);
    let member = shell.joined(reply).member_id;
    shell.sync(&member, 1, &[(&member, b"mine")]);
    let value = "00030008636f6e73756d657200000001000572616e676500286f6e652d30303030303030302d303030302d303030302d30\
        3030302d30303030303030303030303100000000000f4df80000000100286f6e652d30303030303030302d303030302d303030302d30\
        3030302d30303030303030303030303100036f6e65000163000a2f3132372e302e302e310000ea600000271000000006746f70696373\
        000000046d696e65";
    assert_eq!(hex(&shell.log[1]), expected(GROUP_KEY, value));
}

#[test]
fn deletions_are_tombstones_of_offsets_and_group() {
    let mut shell = Shell::new();
    shell.ask(commit(-1));
    shell.ask(GroupRequest::DeleteGroups { group_ids: vec![GROUP.into()] });
    assert_eq!(hex(&shell.log[1]), (OFFSET_KEY.to_owned(), None));
    assert_eq!(hex(&shell.log[2]), (GROUP_KEY.to_owned(), None));
}

#[test]
fn records_of_other_kinds_are_passed_over_and_broken_ones_told_of() {
    let shell = Shell::new();
    let mut coordinator = shell.reloaded();
    let bytes = |bytes: &'static [u8]| Some(Bytes::from_static(bytes));
    assert!(
        coordinator.load(bytes(&[0, 99, 0, 1, b'g']), bytes(&[0, 0, 0]), None).is_ok(),
        "a newer Kafka's"
    );
    assert!(matches!(coordinator.load(None, None, None), Err(ReplayError::NoKey)));
    assert!(matches!(coordinator.load(bytes(&[0]), None, None), Err(ReplayError::Truncated)));
    assert!(matches!(
        coordinator.load(bytes(&[0, 2, 0, 9, b'g']), None, None),
        Err(ReplayError::Malformed { .. })
    ));
    let newer = coordinator.load(bytes(&[0, 2, 0, 1, b'g']), bytes(&[0, 99]), None);
    assert!(matches!(newer, Err(ReplayError::UnknownVersion { version: 99, .. })));
}
