//! What operators change beside topics and configs: quotas, features, replica assignments.

mod cluster;

use cluster::{Cluster, error};
use strata_metadata::controller::{self, SupportedFeature};
use strata_metadata::{Image, QuotaEntity};
use strata_protocol::Str;
use strata_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use strata_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use strata_protocol::messages::update_features_request::FeatureUpdateKey;
use strata_protocol::messages::{
    AlterClientQuotasRequest, AlterPartitionReassignmentsRequest, UpdateFeaturesRequest,
};
use strata_types::ErrorCode;

type Outcome = (i16, Option<Str>);
type Part = (&'static str, Option<&'static str>);

const OK: Outcome = (0, None);
const ALICE: &[Part] = &[("user", Some("alice"))];
const SUPPORTED: &[SupportedFeature] = &[
    SupportedFeature { name: "group.version", min: 0, max: 1 },
    SupportedFeature { name: "metadata.version", min: 7, max: 30 },
    SupportedFeature { name: "share.version", min: 0, max: 1 },
];

fn entry(entity: &[Part], ops: &[(&'static str, Option<f64>)]) -> EntryData {
    let part = |&(kind, name): &Part| EntityData {
        entity_type: kind.into(),
        entity_name: name.map(Str::from),
        ..Default::default()
    };
    let op = |&(key, value): &(&'static str, Option<f64>)| OpData {
        key: key.into(),
        value: value.unwrap_or_default(),
        remove: value.is_none(),
        ..Default::default()
    };
    EntryData {
        entity: entity.iter().map(part).collect(),
        ops: ops.iter().map(op).collect(),
        ..Default::default()
    }
}

fn altered(cluster: &mut Cluster, entries: Vec<EntryData>, validate_only: bool) -> Vec<Outcome> {
    let request = AlterClientQuotasRequest { entries, validate_only, ..Default::default() };
    let decision = controller::alter_client_quotas(&cluster.image, &request);
    let response = cluster.commit(decision);
    response.entries.into_iter().map(|entry| (entry.error_code, entry.error_message)).collect()
}

fn quota(cluster: &Cluster, entity: &[Part], key: &str) -> Option<f64> {
    let parts: Vec<_> = entity.iter().map(|(kind, name)| (Str::from(*kind), name.map(Str::from))).collect();
    let entity = QuotaEntity::parse(parts.iter().map(|(kind, name)| (kind, name.as_ref()))).unwrap();
    cluster.image.client_quota(&entity).get(key).copied()
}

#[test]
fn quotas_are_set_changed_and_removed() {
    let mut cluster = Cluster::of(1);
    let set = entry(ALICE, &[("producer_byte_rate", Some(1024.0)), ("request_percentage", Some(12.5))]);
    assert_eq!(altered(&mut cluster, vec![set.clone()], true), [OK]);
    assert_eq!(quota(&cluster, ALICE, "producer_byte_rate"), None, "only looked at");
    let default = entry(&[("user", None), ("client-id", Some("c"))], &[("consumer_byte_rate", Some(5.0))]);
    assert_eq!(altered(&mut cluster, vec![set.clone(), default], false), [OK, OK]);
    assert_eq!(quota(&cluster, ALICE, "request_percentage"), Some(12.5));
    let records = cluster.log.len();
    assert_eq!(altered(&mut cluster, vec![set], false), [OK]);
    assert_eq!(cluster.log.len(), records, "what is set already needs no record");
    let removed = entry(ALICE, &[("producer_byte_rate", None), ("request_percentage", None)]);
    assert_eq!(altered(&mut cluster, vec![removed], false), [OK]);
    assert_eq!(cluster.image.client_quotas().count(), 1);
}

#[test]
fn an_image_with_quotas_is_rebuilt_from_its_records() {
    let mut cluster = Cluster::of(1);
    let set = entry(&[("ip", None)], &[("connection_creation_rate", Some(7.0))]);
    altered(&mut cluster, vec![set, entry(ALICE, &[("producer_byte_rate", Some(1.0))])], false);
    let mut rebuilt = Image::default();
    for record in cluster.image.to_records() {
        rebuilt.apply(&record).unwrap();
    }
    assert_eq!(rebuilt, cluster.image);
}

#[test]
fn quotas_that_cannot_be_are_refused_in_kafkas_words() {
    let refused = |message| error(ErrorCode::InvalidRequest, message);
    for (entity, key, value, why) in [
        (ALICE, "producer_byte_rate", 0.0, "Quota producer_byte_rate must be greater than 0"),
        (ALICE, "request_percentage", f64::NAN, "Quota request_percentage must be greater than 0"),
        (ALICE, "producer_byte_rate", 0.5, "producer_byte_rate cannot be a fractional value."),
        (ALICE, "producer_byte_rate", 1e30, "Proposed value for producer_byte_rate is too large for a LONG."),
        (ALICE, "connection_creation_rate", 1.0, "Invalid configuration key connection_creation_rate"),
        (&[("ip", Some("h"))], "connection_creation_rate", 1.0, "h is not a valid IP or resolvable host."),
        (
            &[("ip", None)],
            "connection_creation_rate",
            3e9,
            "Proposed value for connection_creation_rate is too large for an INT.",
        ),
        (&[("group", None)], "producer_byte_rate", 1.0, "Unhandled client quota entity type: group"),
    ] {
        let mut cluster = Cluster::of(1);
        let good = entry(&[("client-id", None)], &[("producer_byte_rate", Some(1.0))]);
        let outcomes = altered(&mut cluster, vec![entry(entity, &[(key, Some(value))]), good], false);
        assert_eq!(outcomes, [refused(why), OK]);
        assert_eq!(cluster.image.client_quotas().count(), 1);
    }
}

fn updated(cluster: &mut Cluster, updates: &[(&'static str, i16, i8)]) -> Outcome {
    let update = |&(feature, max_version_level, upgrade_type): &(&'static str, i16, i8)| FeatureUpdateKey {
        feature: feature.into(),
        max_version_level,
        upgrade_type,
        ..Default::default()
    };
    let request =
        UpdateFeaturesRequest { feature_updates: updates.iter().map(update).collect(), ..Default::default() };
    let decision = controller::update_features(&cluster.image, &request, 1, SUPPORTED);
    let response = cluster.commit(decision);
    (response.error_code, response.error_message)
}

#[test]
fn features_change_together_or_not_at_all() {
    const ALL: &str =
        "The update failed for all features since the following feature had an error: Invalid update version";
    let mut cluster = Cluster::of(1);
    let refused = |why: &str| error(ErrorCode::InvalidUpdateVersion, &format!("{ALL} {why}"));
    for (feature, level, kind, why) in [
        ("x", 1, 1, "1 for feature x. Local controller 1 does not support this feature."),
        ("group.version", 9, 1, "9 for feature group.version. Local controller 1 only supports versions 0-1"),
        ("group.version", 1, 2, ""),
        ("group.version", -1, 1, "-1 for feature group.version. A feature version cannot be less than 0."),
        ("share.version", 1, 1, "1 for feature share.version. Broker 1 only supports versions 0-0"),
        (
            "group.version",
            0,
            1,
            "0 for feature group.version. Can't downgrade the version of this feature without setting the upgrade type to \
             either safe or unsafe downgrade.",
        ),
    ] {
        let outcome = updated(&mut cluster, &[("metadata.version", 30, 1), (feature, level, kind)]);
        let expected = if why.is_empty() { OK } else { refused(why) };
        assert_eq!(outcome, expected, "{feature} {level}");
        assert_eq!(cluster.image.feature("group.version"), Some(1));
    }
    assert_eq!(updated(&mut cluster, &[("group.version", 0, 2)]), OK);
    assert_eq!(cluster.image.feature("group.version"), None);
    assert_eq!(updated(&mut cluster, &[("group.version", 1, 1)]), OK);
    assert_eq!(cluster.image.feature("group.version"), Some(1));
}

#[test]
fn a_restart_leaves_features_where_an_operator_has_put_them() {
    let mut cluster = Cluster::of(1);
    assert_eq!(updated(&mut cluster, &[("group.version", 0, 2)]), OK);
    let decision = controller::bootstrap(&cluster.image, &[("group.version", 1)], &[]);
    cluster.commit(decision);
    assert_eq!(cluster.image.feature("group.version"), None);
}

#[test]
fn a_reassignment_to_the_same_replicas_succeeds_and_others_are_refused() {
    let mut cluster = Cluster::of(1);
    cluster.create_ok("t", 1, 1);
    let reassigned = |cluster: &mut Cluster, topic: &str, index: i32, replicas: Option<&[i32]>| {
        let partition = ReassignablePartition {
            partition_index: index,
            replicas: replicas.map(<[i32]>::to_vec),
            ..Default::default()
        };
        let request = AlterPartitionReassignmentsRequest {
            topics: vec![ReassignableTopic {
                name: topic.into(),
                partitions: vec![partition],
                ..Default::default()
            }],
            ..Default::default()
        };
        let decision = controller::alter_partition_reassignments(&cluster.image, &request);
        let mut response = cluster.commit(decision);
        let partition = response.responses.remove(0).partitions.remove(0);
        (partition.error_code, partition.error_message)
    };
    assert_eq!(reassigned(&mut cluster, "t", 0, Some(&[1])), OK);
    for (topic, index, replicas, code) in [
        ("t", 0, Some(&[2][..]), ErrorCode::InvalidReplicaAssignment),
        ("t", 0, Some(&[1, 1]), ErrorCode::InvalidReplicaAssignment),
        ("t", 0, Some(&[]), ErrorCode::InvalidReplicaAssignment),
        ("t", 9, Some(&[1]), ErrorCode::UnknownTopicOrPartition),
        ("x", 0, Some(&[1]), ErrorCode::UnknownTopicOrPartition),
        ("t", 0, None, ErrorCode::NoReassignmentInProgress),
    ] {
        assert_eq!(reassigned(&mut cluster, topic, index, replicas).0, code.code(), "{topic} {index}");
    }
}
