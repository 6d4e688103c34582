//! What coordinators answer, as seen of Apache Kafka.

use strata_coordinator::transaction::{
    AddPartitions, EndTxn, InitProducer, TransactionAction, TransactionFilter, TransactionShard,
    TransactionState, TxnPartition, transactional_id_pattern,
};
use strata_coordinator::{Shard, TransactionRequest, TransactionResponse, TxnProducer};
use strata_types::{ErrorCode, ProducerEpoch, ProducerId};

use super::host::Host;
use super::world::config;

type Coordinator = Host<TransactionShard>;

fn coordinator() -> Coordinator {
    Host::new(TransactionShard::new(config()))
}

fn producer(id: i64, epoch: i16) -> TxnProducer {
    TxnProducer { id: ProducerId(id), epoch: ProducerEpoch(epoch) }
}

fn init(at: &mut Coordinator, expected: Option<TxnProducer>) -> Result<TxnProducer, ErrorCode> {
    let request = InitProducer {
        transactional_id: "t".into(),
        timeout_ms: 10_000,
        expected,
        fresh: Some(ProducerId(7)),
    };
    match at.answer(TransactionRequest::InitProducerId(request)) {
        TransactionResponse::InitProducerId(given) => given,
        other => panic!("{other:?}"),
    }
}

fn addition(producer: TxnProducer, version: i16) -> AddPartitions {
    AddPartitions {
        transactional_id: "t".into(),
        producer,
        partitions: vec![TxnPartition { topic: "data".into(), partition: 0 }],
        transaction_version: version,
    }
}

fn add(at: &mut Coordinator, producer: TxnProducer) -> ErrorCode {
    let add = addition(producer, 0);
    match at.answer(TransactionRequest::AddPartitions { add, wait: false }) {
        TransactionResponse::Added(code) => code,
        other => panic!("{other:?}"),
    }
}

fn end(at: &mut Coordinator, of: TxnProducer, commit: bool, version: i16) -> Result<TxnProducer, ErrorCode> {
    let request = EndTxn {
        transactional_id: "t".into(),
        producer: of,
        commit,
        transaction_version: version,
        fresh: Some(ProducerId(8)),
    };
    match at.answer(TransactionRequest::EndTxn(request)) {
        TransactionResponse::EndTxn(ended) => ended,
        other => panic!("{other:?}"),
    }
}

/// The markers that are to be written; they are.
fn complete(at: &mut Coordinator) -> TxnProducer {
    let TransactionAction::WriteMarkers { transactional_id, marker, .. } = at.actions.remove(0);
    let producer = marker.producer;
    let told = at.answer(TransactionRequest::MarkersWritten { transactional_id, producer });
    assert_eq!(told, TransactionResponse::MarkersWritten(ErrorCode::None));
    producer
}

fn state(at: &Coordinator) -> (TransactionState, TxnProducer) {
    let transaction = at.runtime.shard().state().transaction("t").expect("the id is known");
    (transaction.state, transaction.producer)
}

#[test]
fn every_initialisation_raises_the_epoch_and_shuts_out_the_last() {
    let mut at = coordinator();
    assert_eq!(init(&mut at, None), Ok(producer(7, 0)));
    assert_eq!(init(&mut at, None), Ok(producer(7, 1)));
    assert_eq!(add(&mut at, producer(7, 0)), ErrorCode::ProducerFenced);
    assert_eq!(add(&mut at, producer(6, 1)), ErrorCode::InvalidProducerIdMapping);
    assert_eq!(end(&mut at, producer(7, 0), true, 0), Err(ErrorCode::ProducerFenced));
}

#[test]
fn a_producer_that_lost_its_place_goes_on_and_may_ask_twice() {
    let mut at = coordinator();
    let first = init(&mut at, None).unwrap();
    let next = init(&mut at, Some(first)).unwrap();
    assert_eq!(next, producer(7, 1));
    assert_eq!(init(&mut at, Some(first)), Ok(next), "the answer was lost");
    assert_eq!(init(&mut at, None), Ok(producer(7, 2)));
    assert_eq!(init(&mut at, Some(next)), Err(ErrorCode::ProducerFenced), "another one has come");
    assert_eq!(init(&mut at, Some(producer(5, 2))), Err(ErrorCode::ProducerFenced));
}

#[test]
fn an_open_transaction_is_aborted_for_the_next_producer() {
    let mut at = coordinator();
    let first = init(&mut at, None).unwrap();
    assert_eq!(add(&mut at, first), ErrorCode::None);
    assert_eq!(init(&mut at, None), Err(ErrorCode::ConcurrentTransactions));
    assert_eq!(state(&at).0, TransactionState::PrepareAbort);
    assert_eq!(
        init(&mut at, None),
        Err(ErrorCode::ConcurrentTransactions),
        "markers are still being written"
    );
    assert_eq!(end(&mut at, first, true, 0), Err(ErrorCode::ProducerFenced));
    let marked = complete(&mut at);
    assert!(marked.epoch > first.epoch);
    let second = init(&mut at, None).unwrap();
    assert!(second.epoch > marked.epoch);
}

#[test]
fn a_transaction_that_takes_too_long_is_aborted() {
    let mut at = coordinator();
    let first = init(&mut at, None).unwrap();
    add(&mut at, first);
    at.advance(10_000);
    assert_eq!(state(&at).0, TransactionState::Ongoing);
    at.advance(5_000);
    assert_eq!(state(&at).0, TransactionState::PrepareAbort);
    complete(&mut at);
    assert_eq!(end(&mut at, first, true, 0), Err(ErrorCode::ProducerFenced));
}

#[test]
fn version_1_keeps_the_epoch_and_takes_an_end_for_done_when_it_is_asked_again() {
    let mut at = coordinator();
    let first = init(&mut at, None).unwrap();
    assert_eq!(end(&mut at, first, false, 0), Err(ErrorCode::InvalidTxnState), "there is none");
    add(&mut at, first);
    assert_eq!(end(&mut at, first, true, 0), Ok(first));
    assert_eq!(end(&mut at, first, true, 0), Err(ErrorCode::ConcurrentTransactions));
    assert_eq!(end(&mut at, first, false, 0), Err(ErrorCode::InvalidTxnState));
    complete(&mut at);
    assert_eq!(state(&at), (TransactionState::CompleteCommit, first));
    assert_eq!(end(&mut at, first, true, 0), Ok(first));
    assert_eq!(end(&mut at, first, false, 0), Err(ErrorCode::InvalidTxnState));
}

#[test]
fn version_2_raises_the_epoch_with_every_end() {
    let mut at = coordinator();
    let first = init(&mut at, None).unwrap();
    add(&mut at, first);
    let second = end(&mut at, first, true, 2).unwrap();
    assert_eq!(second, producer(7, 1));
    assert_eq!(end(&mut at, first, true, 2), Err(ErrorCode::ConcurrentTransactions), "asked again");
    assert_eq!(complete(&mut at), second);
    assert_eq!(end(&mut at, first, true, 2), Ok(second), "asked again");
    assert_eq!(end(&mut at, first, false, 2), Err(ErrorCode::InvalidTxnState));
    assert_eq!(end(&mut at, second, true, 2), Err(ErrorCode::InvalidTxnState), "there is none");
    let third = end(&mut at, second, false, 2).unwrap();
    assert_eq!(third, producer(7, 2), "nothing is aborted, and the epoch raised");
    complete(&mut at);
    assert_eq!(state(&at).0, TransactionState::CompleteAbort);
    assert_eq!(end(&mut at, first, true, 2), Err(ErrorCode::ProducerFenced));
}

#[test]
fn a_producer_whose_epochs_are_used_up_gets_another_id() {
    let mut at = coordinator();
    init(&mut at, None).unwrap();
    // The last epoch is the coordinator's, to fence with.
    for epoch in 1..i16::MAX {
        assert_eq!(init(&mut at, None), Ok(producer(7, epoch)));
    }
    let last = producer(7, i16::MAX - 1);
    add(&mut at, last);
    assert_eq!(end(&mut at, last, true, 2), Ok(producer(8, 0)));
    assert_eq!(complete(&mut at), producer(7, i16::MAX), "the marker is still the old one's");
    assert_eq!(end(&mut at, last, true, 2), Ok(producer(8, 0)), "asked again");
    assert_eq!(state(&at), (TransactionState::CompleteCommit, producer(8, 0)));
}

#[test]
fn who_begins_a_transaction_can_wait_for_the_last_one_to_be_complete() {
    let mut at = coordinator();
    let first = init(&mut at, None).unwrap();
    add(&mut at, first);
    let second = end(&mut at, first, true, 2).unwrap();
    let begin = || TransactionRequest::AddPartitions { add: addition(second, 2), wait: true };
    let early = at.ask(begin());
    assert_eq!(at.take(early), None);
    at.advance(100);
    assert_eq!(
        at.take(early),
        Some(TransactionResponse::Added(ErrorCode::ConcurrentTransactions)),
        "not for ever"
    );
    let waiting = at.ask(begin());
    assert_eq!(at.take(waiting), None);
    complete(&mut at);
    assert_eq!(at.take(waiting), Some(TransactionResponse::Added(ErrorCode::None)));
    assert_eq!(state(&at), (TransactionState::Ongoing, second));
}

#[test]
fn brokers_are_told_whether_a_partition_is_part_of_a_transaction() {
    let mut at = coordinator();
    let first = init(&mut at, None).unwrap();
    let verify = |at: &mut Coordinator, producer| match at
        .answer(TransactionRequest::Verify { add: addition(producer, 0) })
    {
        TransactionResponse::Verified(codes) => codes[0],
        other => panic!("{other:?}"),
    };
    assert_eq!(verify(&mut at, first), ErrorCode::TransactionAbortable);
    add(&mut at, first);
    assert_eq!(verify(&mut at, first), ErrorCode::None);
    assert_eq!(verify(&mut at, producer(7, 5)), ErrorCode::ProducerFenced);
    end(&mut at, first, true, 0).unwrap();
    assert_eq!(verify(&mut at, first), ErrorCode::ConcurrentTransactions);
}

#[test]
fn a_coordinator_that_has_loaded_carries_on_with_prepared_ends() {
    let mut at = coordinator();
    let first = init(&mut at, None).unwrap();
    add(&mut at, first);
    end(&mut at, first, true, 2).unwrap();
    let asked = at.actions.clone();
    assert_eq!(asked.len(), 1);
    at.restart(TransactionShard::new(config()));
    assert_eq!(at.actions, asked);
    complete(&mut at);
    at.restart(TransactionShard::new(config()));
    assert_eq!(at.actions, [], "what is complete is left alone");
}

#[test]
fn markers_wait_until_the_end_is_committed_and_are_not_written_for_one_that_is_undone() {
    let mut at = coordinator();
    let first = init(&mut at, None).unwrap();
    add(&mut at, first);
    at.failing = true;
    assert_eq!(end(&mut at, first, true, 2), Err(ErrorCode::CoordinatorNotAvailable));
    assert_eq!(state(&at), (TransactionState::Ongoing, first));
    assert_eq!(at.actions, []);
    at.hold_commits = true;
    let request = EndTxn {
        transactional_id: "t".into(),
        producer: first,
        commit: false,
        transaction_version: 2,
        fresh: None,
    };
    let reply = at.ask(TransactionRequest::EndTxn(request));
    assert!(at.take(reply).is_none() && at.actions.is_empty());
    at.commit();
    assert!(at.take(reply).is_some() && at.actions.len() == 1);
}

#[test]
fn ids_that_are_no_longer_used_are_forgotten() {
    let mut at = coordinator();
    init(&mut at, None).unwrap();
    at.advance(604_800_000 - 3_600_000);
    assert!(at.runtime.shard().state().transaction("t").is_some());
    at.advance(2 * 3_600_000);
    assert!(at.runtime.shard().state().transaction("t").is_none());
}

#[test]
fn transactions_are_listed_by_what_is_asked_for() {
    let mut at = coordinator();
    let first = init(&mut at, None).unwrap();
    add(&mut at, first);
    let now = at.now + 5_000;
    let mut list = |filter: TransactionFilter| match at.answer(TransactionRequest::List { filter, now }) {
        TransactionResponse::Listed(Ok(listed)) => listed.len(),
        other => panic!("{other:?}"),
    };
    let all = || TransactionFilter { duration_ms: -1, ..Default::default() };
    assert_eq!(list(all()), 1);
    assert_eq!(list(TransactionFilter { states: vec!["Empty".into()], ..all() }), 0);
    assert_eq!(list(TransactionFilter { states: vec!["Ongoing".into()], ..all() }), 1);
    assert_eq!(list(TransactionFilter { producer_ids: vec![6], ..all() }), 0);
    assert_eq!(list(TransactionFilter { duration_ms: 5_000, ..all() }), 1);
    assert_eq!(list(TransactionFilter { duration_ms: 5_001, ..all() }), 0);
    assert_eq!(list(TransactionFilter { pattern: transactional_id_pattern("t|u"), ..all() }), 1);
    assert_eq!(list(TransactionFilter { pattern: transactional_id_pattern("u|v"), ..all() }), 0);
    assert!(transactional_id_pattern("t)(").is_none());
    let filter = TransactionFilter { states: vec!["Ongoing".into(), "Open".into()], ..all() };
    assert_eq!(filter.unknown_states(), ["Open"]);
}
