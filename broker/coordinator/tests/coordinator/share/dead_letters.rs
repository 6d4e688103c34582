//! Records on their way to a group's dead-letter queue (KIP-1191).

use strata_coordinator::share::partition::{
    AcknowledgeType, AcknowledgementBatch, AcquireMode, AcquireRequest, BatchRange, DeadLetterCause,
    DeadLetters, DeliveryState, ShareLimits, SharePartition, StateBatch, Write,
};
use strata_protocol::Str;
use strata_types::Offset;

use AcknowledgeType::{Accept, Gap, Reject, Release};
use DeadLetterCause::{DeliveryCountExceeded, Rejected};

const LIMITS: ShareLimits = ShareLimits {
    record_locks_max: 2_000,
    delivery_count_limit: 2,
    lock_duration_ms: 1_000,
    renew_enabled: true,
    dead_letters: true,
};

fn acquire(partition: &mut SharePartition, now: i64) -> usize {
    let request = AcquireRequest {
        member: &Str::from("m"),
        mode: AcquireMode::BatchOptimized,
        records_max: 500,
        batch_size: 500,
        fetch_offset: partition.next_fetch_offset().0,
        batches: &[BatchRange { first_offset: 0, last_offset: 9 }],
        aborted: &[],
    };
    partition.acquire(now, &request).iter().map(|acquired| acquired.records() as usize).sum()
}

fn acknowledge(partition: &mut SharePartition, first: i64, last: i64, kind: AcknowledgeType) -> Write {
    let batch = AcknowledgementBatch { first_offset: first, last_offset: last, types: vec![kind] };
    partition.acknowledge(0, "m", &[batch]).expect("acquired").expect("a change")
}

/// The same, and it is stored.
fn done(partition: &mut SharePartition, first: i64, last: i64, kind: AcknowledgeType) -> Vec<StateBatch> {
    let write = acknowledge(partition, first, last, kind);
    partition.written(write.id, true);
    write.batches
}

fn letters(first_offset: i64, last_offset: i64, delivery_count: i16, cause: DeadLetterCause) -> DeadLetters {
    DeadLetters { first_offset, last_offset, delivery_count, cause }
}

fn state(first_offset: i64, last_offset: i64, state: DeliveryState, delivery_count: i16) -> StateBatch {
    StateBatch { first_offset, last_offset, state, delivery_count }
}

#[test]
fn a_rejected_record_is_a_letter_once_that_is_stored_and_archived_once_it_is_written() {
    let mut partition = SharePartition::load(0, &[], LIMITS);
    assert_eq!(acquire(&mut partition, 0), 10);
    let rejected = acknowledge(&mut partition, 0, 3, Reject);
    assert_eq!(rejected.batches, [state(0, 3, DeliveryState::Archiving, 1)]);
    assert_eq!(partition.take_dead_letters(), [], "it may still come back");
    partition.written(rejected.id, true);
    assert_eq!(partition.take_dead_letters(), [letters(0, 3, 1, Rejected)]);
    assert_eq!(partition.take_dead_letters(), [], "once is enough");
    assert_eq!(partition.start_offset(), Offset(0), "until it is written it is in flight");
    let written = partition.dead_lettered(&letters(0, 3, 1, Rejected)).expect("a change");
    assert_eq!(written.batches, [state(0, 3, DeliveryState::Archived, 1)]);
    partition.written(written.id, true);
    assert_eq!(partition.start_offset(), Offset(4));
    assert_eq!(partition.take_dead_letters(), []);
}

#[test]
fn gaps_and_accepted_records_are_none() {
    let mut partition = SharePartition::load(0, &[], LIMITS);
    acquire(&mut partition, 0);
    done(&mut partition, 0, 4, Accept);
    assert_eq!(done(&mut partition, 5, 9, Gap), [state(5, 9, DeliveryState::Archived, 1)]);
    assert_eq!((partition.take_dead_letters(), partition.start_offset()), (vec![], Offset(10)));
}

#[test]
fn without_a_queue_nothing_is() {
    let mut partition = SharePartition::load(0, &[], ShareLimits { dead_letters: false, ..LIMITS });
    acquire(&mut partition, 0);
    assert_eq!(done(&mut partition, 0, 9, Reject), [state(0, 9, DeliveryState::Archived, 1)]);
    assert_eq!((partition.take_dead_letters(), partition.start_offset()), (vec![], Offset(10)));
}

#[test]
fn the_last_delivery_makes_a_letter_by_release_and_by_time() {
    let mut partition = SharePartition::load(0, &[], LIMITS);
    acquire(&mut partition, 0);
    assert_eq!(done(&mut partition, 0, 9, Release), [state(0, 9, DeliveryState::Available, 1)]);
    assert_eq!(partition.take_dead_letters(), []);
    // Records that were delivered come in smaller company.
    assert_eq!(acquire(&mut partition, 0), 10);
    done(&mut partition, 0, 4, Release);
    assert_eq!(partition.take_dead_letters(), [letters(0, 4, 2, DeliveryCountExceeded)]);
    let write = partition.tick(1_000).expect("locks that run out");
    assert_eq!(write.batches, [state(5, 9, DeliveryState::Archiving, 2)]);
    assert_eq!(partition.take_dead_letters(), [letters(5, 9, 2, DeliveryCountExceeded)]);
}

#[test]
fn a_rejection_that_is_not_stored_never_was() {
    let mut partition = SharePartition::load(0, &[], LIMITS);
    acquire(&mut partition, 0);
    let rejected = acknowledge(&mut partition, 0, 9, Reject);
    partition.written(rejected.id, false);
    assert_eq!((partition.take_dead_letters(), partition.holds("m")), (vec![], true));
}

#[test]
fn a_letter_whose_writing_is_not_stored_is_written_again() {
    let mut partition = SharePartition::load(0, &[], LIMITS);
    acquire(&mut partition, 0);
    done(&mut partition, 0, 9, Reject);
    let taken = partition.take_dead_letters();
    let written = partition.dead_lettered(&taken[0]).expect("a change");
    partition.written(written.id, false);
    assert_eq!(partition.take_dead_letters(), taken);
}

#[test]
fn after_a_restart_letters_are_written_that_were_not() {
    let stored = [
        state(0, 1, DeliveryState::Archiving, 1),
        state(2, 3, DeliveryState::Archiving, 2),
        state(4, 5, DeliveryState::Archived, 1),
    ];
    let mut partition = SharePartition::load(0, &stored, LIMITS);
    assert_eq!(
        partition.take_dead_letters(),
        [letters(0, 1, 1, Rejected), letters(2, 3, 2, DeliveryCountExceeded)],
        "the cause follows from the count"
    );
    assert_eq!(acquire(&mut partition, 0), 4, "nobody gets them");
}

#[test]
fn letters_that_retention_has_taken_are_nobodys() {
    let mut partition = SharePartition::load(0, &[], LIMITS);
    acquire(&mut partition, 0);
    done(&mut partition, 0, 9, Reject);
    let taken = partition.take_dead_letters();
    partition.log_start_moved(Offset(6));
    let written = partition.dead_lettered(&taken[0]).expect("those that are left");
    assert_eq!(written.batches, [state(6, 9, DeliveryState::Archived, 1)]);
    partition.log_start_moved(Offset(20));
    assert_eq!(partition.dead_lettered(&taken[0]), None);
}
