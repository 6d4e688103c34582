//! What a share partition does with records, checked case by case.

use strata_coordinator::share::partition::{
    AcknowledgeError, AcknowledgeType, AcknowledgementBatch, AcquireMode, AcquireRequest, Acquired,
    BatchRange, DeliveryState, ShareLimits, SharePartition, StateBatch, Write,
};
use strata_protocol::Str;
use strata_types::Offset;

use AcknowledgeType::{Accept, Gap, Reject, Release, Renew};

/// A partition and a log of batches before it.
struct Case {
    partition: SharePartition,
    log: Vec<BatchRange>,
    now: i64,
    records_max: i32,
    batch_size: i32,
    mode: AcquireMode,
    aborted: Vec<BatchRange>,
}

fn range(first_offset: i64, last_offset: i64) -> BatchRange {
    BatchRange { first_offset, last_offset }
}

/// A log of batches of ten records.
fn case(batches: i64) -> Case {
    Case {
        partition: SharePartition::load(0, &[], ShareLimits::default()),
        log: (0..batches).map(|index| range(index * 10, index * 10 + 9)).collect(),
        now: 1_000,
        records_max: 500,
        batch_size: 500,
        mode: AcquireMode::BatchOptimized,
        aborted: Vec::new(),
    }
}

impl Case {
    /// Acquires from what one read gives: at most `batches` batches.
    fn acquire_of(&mut self, member: &str, batches: usize) -> Vec<(i64, i64, i16)> {
        let fetch_offset = self.partition.next_fetch_offset().0;
        let read = self.log.iter().filter(|batch| batch.last_offset >= fetch_offset).take(batches);
        let read: Vec<BatchRange> = read.copied().collect();
        let request = AcquireRequest {
            member: &Str::from(member),
            mode: self.mode,
            records_max: self.records_max,
            batch_size: self.batch_size,
            fetch_offset,
            batches: &read,
            aborted: &self.aborted,
        };
        let acquired = self.partition.acquire(self.now, &request);
        acquired.iter().map(|a: &Acquired| (a.first_offset, a.last_offset, a.delivery_count)).collect()
    }

    fn acquire(&mut self, member: &str) -> Vec<(i64, i64, i16)> {
        self.acquire_of(member, usize::MAX)
    }

    fn acknowledge(
        &mut self,
        member: &str,
        first_offset: i64,
        last_offset: i64,
        types: &[AcknowledgeType],
    ) -> Result<Option<Write>, AcknowledgeError> {
        let batch = AcknowledgementBatch { first_offset, last_offset, types: types.to_vec() };
        self.partition.acknowledge(self.now, member, &[batch])
    }

    /// Acknowledges, and has it stored.
    fn done(&mut self, member: &str, first: i64, last: i64, types: &[AcknowledgeType]) -> Vec<StateBatch> {
        let write = self.acknowledge(member, first, last, types).unwrap().unwrap();
        self.partition.written(write.id, true);
        write.batches
    }

    fn expire(&mut self) -> Vec<StateBatch> {
        self.now = self.partition.next_deadline().unwrap();
        let write = self.partition.tick(self.now).unwrap();
        self.partition.written(write.id, true);
        write.batches
    }

    fn start(&self) -> i64 {
        self.partition.start_offset().0
    }
}

fn state(first_offset: i64, last_offset: i64, state: DeliveryState, delivery_count: i16) -> StateBatch {
    StateBatch { first_offset, last_offset, state, delivery_count }
}

#[test]
fn members_get_different_records() {
    let mut case = case(2);
    assert_eq!(case.acquire_of("a", 1), [(0, 9, 1)]);
    assert_eq!(case.acquire_of("b", 1), [(10, 19, 1)]);
    assert_eq!(case.acquire("c"), []);
    assert_eq!(case.partition.next_fetch_offset(), Offset(20));
}

#[test]
fn accepted_records_move_the_start_and_never_come_back() {
    let mut case = case(1);
    case.acquire("a");
    assert_eq!(case.done("a", 0, 4, &[Accept]), [state(0, 4, DeliveryState::Acknowledged, 1)]);
    assert_eq!(case.start(), 5);
    case.done("a", 5, 9, &[Accept, Gap, Reject, Accept, Accept]);
    assert_eq!((case.start(), case.partition.in_flight_count()), (10, 0));
    assert_eq!(case.acquire("b"), []);
}

#[test]
fn what_is_said_to_be_done_waits_for_being_stored() {
    let mut case = case(1);
    case.acquire("a");
    let accepted = case.acknowledge("a", 0, 4, &[Accept]).unwrap().unwrap();
    let released = case.acknowledge("a", 5, 9, &[Release]).unwrap().unwrap();
    assert_eq!((accepted.start_offset, accepted.delivery_complete_count), (0, 5));
    assert_eq!(case.start(), 0);
    assert_eq!(case.acquire("b"), [], "not free until it is stored");
    assert_eq!(case.acknowledge("a", 0, 4, &[Accept]), Err(AcknowledgeError::InTransition));
    case.partition.written(released.id, false);
    assert_eq!(case.acquire("b"), [], "acquired again");
    case.partition.written(accepted.id, true);
    assert_eq!(case.start(), 5);
    case.done("a", 5, 9, &[Release]);
    assert_eq!(case.acquire("b"), [(5, 9, 2)]);
}

#[test]
fn released_records_are_archived_after_their_last_delivery() {
    let mut case = case(1);
    case.partition.set_limits(ShareLimits { delivery_count_limit: 2, ..ShareLimits::default() });
    case.acquire("a");
    assert_eq!(case.done("a", 0, 9, &[Release]), [state(0, 9, DeliveryState::Available, 1)]);
    assert_eq!(case.acquire("b"), [(0, 9, 2)]);
    assert_eq!(case.done("b", 0, 9, &[Release]), [state(0, 9, DeliveryState::Archived, 2)]);
    assert_eq!((case.start(), case.acquire("c")), (10, vec![]));
}

#[test]
fn records_that_fail_often_come_in_smaller_company() {
    let mut case = case(1);
    // At most 5 deliveries: from the third on, records are throttled.
    for delivery in 1..=3 {
        assert_eq!(case.acquire("a"), [(0, 9, delivery)]);
        case.done("a", 0, 9, &[Release]);
    }
    assert_eq!(case.acquire("a"), [(0, 4, 4)], "half of the batch");
    assert_eq!(case.acquire("b"), [(5, 9, 4)]);
    case.done("a", 0, 4, &[Release]);
    assert_eq!(case.acquire("a"), [(0, 0, 5)], "alone at the last delivery");
    assert_eq!(case.acquire("a"), [(1, 1, 5)]);
}

#[test]
fn locks_that_run_out_free_their_records() {
    let mut case = case(1);
    case.acquire("a");
    case.now += 10_000;
    case.acknowledge("a", 5, 9, &[Renew]).unwrap();
    assert!(case.partition.tick(case.now).is_none());
    assert_eq!(case.expire(), [state(0, 4, DeliveryState::Available, 1)]);
    assert_eq!(case.acknowledge("a", 0, 4, &[Accept]), Err(AcknowledgeError::NotAcquired));
    assert_eq!(case.acquire("b"), [(0, 4, 2)]);
    assert_eq!(case.acknowledge("a", 0, 0, &[Accept]), Err(AcknowledgeError::NotOwner));
    case.now += 15_000;
    assert_eq!(case.expire(), [state(5, 9, DeliveryState::Available, 1)], "renewed, not for ever");
}

#[test]
fn a_lock_that_runs_out_while_its_release_fails_is_over_all_the_same() {
    let mut case = case(1);
    case.acquire("a");
    let write = case.acknowledge("a", 0, 9, &[Accept]).unwrap().unwrap();
    case.now += 60_000;
    assert!(case.partition.tick(case.now).is_none(), "its acknowledgement is on its way");
    case.partition.written(write.id, false);
    assert_eq!(case.expire(), [state(0, 9, DeliveryState::Available, 1)]);
}

#[test]
fn a_member_that_goes_gives_back_what_it_did_not_see() {
    let mut case = case(2);
    case.acquire_of("a", 1);
    case.acquire_of("b", 1);
    let write = case.partition.release("a").unwrap();
    assert_eq!(write.batches, [state(0, 9, DeliveryState::Available, 0)]);
    case.partition.written(write.id, true);
    assert!(!case.partition.holds("a") && case.partition.holds("b"));
    assert_eq!(case.acquire("c"), [(0, 9, 1)]);
    assert!(case.partition.release("a").is_none());
}

#[test]
fn whole_batches_are_given_unless_the_member_counts_records() {
    let mut case = case(3);
    case.records_max = 15;
    assert_eq!(case.acquire("a"), [(0, 19, 1)], "the second batch is not cut");
    case.mode = AcquireMode::RecordLimit;
    case.records_max = 4;
    assert_eq!(case.acquire("b"), [(20, 23, 1)]);
    assert_eq!(case.acquire("b"), [(24, 27, 1)]);
    assert_eq!(case.acquire("b"), [(28, 29, 1)]);
}

#[test]
fn acquired_records_are_told_in_pieces_of_the_batch_size() {
    let mut case = case(4);
    case.batch_size = 15;
    assert_eq!(case.acquire("a"), [(0, 19, 1), (20, 39, 1)], "cut only where batches begin");
}

#[test]
fn no_more_are_in_flight_than_may_be() {
    let mut case = case(4);
    case.partition.set_limits(ShareLimits { record_locks_max: 15, ..ShareLimits::default() });
    assert_eq!(case.acquire("a"), [(0, 19, 1)]);
    assert!(!case.partition.can_acquire());
    assert_eq!(case.acquire("b"), []);
    case.done("a", 5, 6, &[Release]);
    assert!(case.partition.can_acquire());
    assert_eq!(case.acquire("b"), [(5, 6, 2)], "what is in flight and free may be had");
    case.done("a", 0, 4, &[Accept]);
    assert_eq!(case.acquire("b"), [], "15 of them still are");
}

#[test]
fn compaction_and_retention_do_not_hold_the_start() {
    let mut case = case(4);
    case.acquire("a");
    case.done("a", 0, 39, &[Release]);
    // Compaction takes the first two batches; the next read starts behind them.
    case.log.drain(..2);
    assert_eq!(case.acquire("a"), [(20, 39, 2)]);
    assert_eq!(case.start(), 20);
    assert!(case.partition.log_start_moved(Offset(25)));
    assert_eq!((case.start(), case.partition.in_flight_count()), (25, 15));
    assert_eq!(case.acknowledge("a", 20, 24, &[Accept]), Ok(None), "gone, and nobody minds");
    case.done("a", 20, 39, &[Accept]);
    assert_eq!(case.start(), 40);
    assert!(case.partition.log_start_moved(Offset(100)));
    assert_eq!((case.start(), case.partition.next_fetch_offset()), (100, Offset(100)));
}

#[test]
fn a_stretch_without_records_is_passed() {
    let mut case = case(1);
    case.partition.nothing_between(0, 20);
    assert_eq!((case.start(), case.partition.next_fetch_offset()), (20, Offset(20)));
    let mut case = self::case(1);
    case.acquire("a");
    case.partition.nothing_between(10, 20);
    assert_eq!((case.start(), case.partition.next_fetch_offset()), (0, Offset(20)));
    case.done("a", 0, 9, &[Accept]);
    assert_eq!((case.start(), case.partition.in_flight_count()), (20, 0));
}

#[test]
fn records_of_aborted_transactions_are_nobodys() {
    let mut case = case(4);
    case.aborted = vec![range(10, 19)];
    assert_eq!(case.acquire("a"), [(0, 9, 1), (20, 39, 1)]);
    assert_eq!(case.acknowledge("a", 10, 19, &[Accept]), Err(AcknowledgeError::NotAcquired));
    case.done("a", 0, 9, &[Accept]);
    assert_eq!(case.start(), 20);
    // A partition that has nothing else does not come to a halt.
    let mut case = self::case(1);
    case.aborted = vec![range(0, 9)];
    assert_eq!((case.acquire("a"), case.start()), (vec![], 10));
}

#[test]
fn acknowledgements_are_taken_together_or_not_at_all() {
    let mut case = case(2);
    case.acquire_of("a", 1);
    case.acquire_of("b", 1);
    let batch =
        |first_offset, last_offset| AcknowledgementBatch { first_offset, last_offset, types: vec![Accept] };
    let both = [batch(0, 9), batch(10, 19)];
    assert_eq!(case.partition.acknowledge(0, "a", &both), Err(AcknowledgeError::NotOwner));
    assert!(case.partition.holds("a"));
    assert_eq!(case.acknowledge("a", 20, 25, &[Accept]), Err(AcknowledgeError::FirstPastAcquired));
    assert_eq!(case.acknowledge("b", 15, 25, &[Accept]), Err(AcknowledgeError::LastPastAcquired));
    assert_eq!(
        case.partition.acknowledge(0, "a", &[batch(5, 9), batch(0, 4)]),
        Err(AcknowledgeError::Malformed)
    );
    assert_eq!(case.acknowledge("a", 0, 3, &[Accept, Accept]), Err(AcknowledgeError::Malformed));
    let no_renewal = ShareLimits { renew_enabled: false, ..ShareLimits::default() };
    case.partition.set_limits(no_renewal);
    assert_eq!(case.acknowledge("a", 0, 0, &[Renew]), Err(AcknowledgeError::RenewDisabled));
}

#[test]
fn stored_state_comes_back_and_what_was_acquired_is_read_again() {
    let stored = [
        state(10, 19, DeliveryState::Acknowledged, 1),
        state(30, 34, DeliveryState::Available, 2),
        state(35, 39, DeliveryState::Archived, 5),
    ];
    let mut case = case(5);
    case.partition = SharePartition::load(0, &stored, ShareLimits::default());
    assert_eq!((case.start(), case.partition.delivery_complete_count()), (0, 15));
    assert_eq!(case.acquire("a"), [(0, 9, 1), (20, 29, 1), (30, 34, 3), (40, 49, 1)]);
    case.partition = SharePartition::load(10, &stored, ShareLimits::default());
    assert_eq!(case.start(), 20);
}

#[test]
fn a_read_from_the_middle_of_a_batch_gives_the_rest_of_it() {
    let mut case = case(2);
    case.partition = SharePartition::load(5, &[], ShareLimits::default());
    assert_eq!(case.acquire("a"), [(5, 19, 1)]);
    assert_eq!(case.start(), 5);
}

#[test]
fn a_lowered_limit_holds_for_what_is_in_flight() {
    let mut case = case(1);
    for _ in 0..3 {
        case.acquire("a");
        case.done("a", 0, 9, &[Release]);
    }
    case.partition.set_limits(ShareLimits { delivery_count_limit: 3, ..ShareLimits::default() });
    assert_eq!(case.acquire("a"), []);
    assert_eq!(case.start(), 10);
}
