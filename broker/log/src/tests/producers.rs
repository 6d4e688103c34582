use strata_types::ErrorCode;

use super::*;
use crate::{PRODUCER_ID_EXPIRATION_MS, TxnCheck};

fn send(log: &Log, epoch: i16, sequence: i32, records: usize) -> Result<Appended, AppendError> {
    try_append(log, batch_with(sequenced(7, epoch, sequence), &vec![1; records]))
}

fn code(result: Result<Appended, AppendError>) -> ErrorCode {
    result.unwrap_err().error_code()
}

#[test]
fn a_batch_sent_twice_is_written_once() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), small());
    let first: Vec<_> = (0..5).map(|n| send(&log, 0, n * 2, 2).unwrap()).collect();
    for (n, first) in first.iter().enumerate() {
        let again = send(&log, 0, n as i32 * 2, 2).unwrap();
        assert!(again.duplicate);
        assert_eq!((again.first_offset, again.last_offset), (first.first_offset, first.last_offset));
    }
    assert_eq!(log.end_offset(), Offset(10));
    send(&log, 0, 10, 2).unwrap();
    assert_eq!(code(send(&log, 0, 0, 2)), ErrorCode::OutOfOrderSequenceNumber, "only five are remembered");
}

#[test]
fn sequences_have_no_gaps_within_an_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), small());
    send(&log, 1, 0, 3).unwrap();
    assert_eq!(code(send(&log, 1, 4, 1)), ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(code(send(&log, 1, 2, 1)), ErrorCode::OutOfOrderSequenceNumber);
    send(&log, 1, 3, 1).unwrap();
    assert_eq!(code(send(&log, 0, 4, 1)), ErrorCode::InvalidProducerEpoch);
    assert_eq!(code(send(&log, 2, 4, 1)), ErrorCode::OutOfOrderSequenceNumber);
    send(&log, 2, 0, 1).unwrap();
    assert_eq!(log.end_offset(), Offset(5));
}

#[test]
fn an_unknown_producer_may_start_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), small());
    send(&log, 4, 100, 1).unwrap();
    assert_eq!(code(send(&log, 4, 102, 1)), ErrorCode::OutOfOrderSequenceNumber);
}

#[test]
fn sequences_go_on_with_zero_after_the_largest() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), small());
    send(&log, 0, i32::MAX - 1, 2).unwrap();
    let first = send(&log, 0, 0, 2).unwrap();
    assert!(!first.duplicate);
    assert!(send(&log, 0, i32::MAX - 1, 2).unwrap().duplicate);
    send(&log, 0, 2, 1).unwrap();

    let across = open(&dir.path().join("across"), small());
    send(&across, 0, i32::MAX, 3).unwrap();
    assert!(send(&across, 0, i32::MAX, 3).unwrap().duplicate);
    send(&across, 0, 2, 1).unwrap();
}

#[test]
fn producers_are_remembered_however_the_process_ended() {
    for (trust, close) in [(Trust::Clean, true), (Trust::PageCache, false), (Trust::RecoveryPoint, false)] {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path(), small());
        for n in 0..40 {
            send(&log, 0, n, 1).unwrap();
        }
        if close {
            log.close().unwrap();
        }
        let again = open_with(dir.path(), small(), trusting(trust));
        assert!(send(&again, 0, 39, 1).unwrap().duplicate, "{trust:?}");
        assert_eq!(code(send(&again, 0, 41, 1)), ErrorCode::OutOfOrderSequenceNumber);
        send(&again, 0, 40, 1).unwrap();
        assert_eq!(again.end_offset(), Offset(41));
    }
}

#[test]
fn a_damaged_snapshot_is_replaced_by_an_older_one_and_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), small());
    for n in 0..40 {
        send(&log, 0, n, 1).unwrap();
    }
    log.close().unwrap();
    for entry in std::fs::read_dir(dir.path().join("orders-3")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "snapshot") {
            std::fs::write(path, b"\0\x01garbage").unwrap();
        }
    }
    let again = open_with(dir.path(), small(), trusting(Trust::Clean));
    assert!(send(&again, 0, 39, 1).unwrap().duplicate);
}

#[test]
fn a_cut_forgets_the_batches_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), small());
    for n in 0..40 {
        send(&log, 0, n, 1).unwrap();
    }
    log.truncate_to(Offset(25)).unwrap();
    assert_eq!(code(send(&log, 0, 39, 1)), ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(send(&log, 0, 25, 1).unwrap().first_offset, Offset(25));
}

#[test]
fn idle_producers_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), small());
    send(&log, 0, 0, 1).unwrap();
    log.housekeep(PRODUCER_ID_EXPIRATION_MS, PRODUCER_ID_EXPIRATION_MS);
    assert_eq!(log.active_producers().len(), 1);
    log.housekeep(PRODUCER_ID_EXPIRATION_MS + 1, PRODUCER_ID_EXPIRATION_MS);
    assert!(log.active_producers().is_empty());
}

fn transactional(log: &Log, producer: i64, sequence: i32, records: usize) -> Appended {
    let options = BuilderOptions { transactional: true, ..sequenced(producer, 0, sequence) };
    append(log, batch_with(options, &vec![1; records]))
}

fn end(log: &Log, producer: i64, commit: bool) -> Appended {
    log.append(marker(producer, 0, commit), EPOCH, 1, Origin::Coordinator).unwrap()
}

#[test]
fn an_open_transaction_holds_the_last_stable_offset_back() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), small());
    append(&log, batch(&[1, 1]));
    transactional(&log, 1, 0, 2);
    transactional(&log, 2, 0, 1);
    transactional(&log, 1, 2, 1);
    log.set_high_watermark(ALL);
    assert_eq!(log.last_stable_offset(), Offset(2));
    end(&log, 1, true);
    assert_eq!(log.last_stable_offset(), Offset(2), "the marker is not committed");
    log.set_high_watermark(ALL);
    assert_eq!(log.last_stable_offset(), Offset(4));
    end(&log, 2, false);
    log.set_high_watermark(ALL);
    assert_eq!(log.last_stable_offset(), log.end_offset());
}

#[test]
fn aborted_transactions_are_told_however_the_log_was_opened() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), small());
    transactional(&log, 1, 0, 2);
    transactional(&log, 2, 0, 1);
    for n in 0..30 {
        append(&log, batch(&[n]));
    }
    end(&log, 1, true);
    let abort = end(&log, 2, false);
    transactional(&log, 2, 1, 1);
    log.set_high_watermark(ALL);
    let check = |log: &Log| {
        let aborted = log.aborted_transactions(Offset(0), Offset(10));
        let found: Vec<_> =
            aborted.iter().map(|a| (a.producer_id.0, a.first_offset, a.last_offset)).collect();
        assert_eq!(found, [(2, Offset(2), abort.first_offset)]);
        assert!(log.aborted_transactions(Offset(0), Offset(2)).is_empty());
        assert!(log.aborted_transactions(abort.first_offset.next(), ALL).is_empty());
        log.set_high_watermark(ALL);
        assert_eq!(log.last_stable_offset(), Offset(35));
    };
    check(&log);
    check(&open(dir.path(), small()));
    std::fs::remove_file(dir.path().join("orders-3/00000000000000000022.txnindex")).ok();
    log.close().unwrap();
    check(&open_with(dir.path(), small(), trusting(Trust::Clean)));
}

#[test]
fn clients_do_not_end_transactions() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), small());
    transactional(&log, 1, 0, 2);
    assert_eq!(try_append(&log, marker(1, 0, true)).unwrap_err().error_code(), ErrorCode::InvalidRecord);
    assert_eq!(log.end_offset(), Offset(2));
}

/// A producer of transaction version 2 goes on as soon as its transaction's end is answered, and that is before the
/// marker is written: what it asked of the next transaction stands (KIP-890).
#[test]
fn a_marker_voids_what_was_asked_of_its_own_transaction_only() {
    let of = |epoch, sequence| BuilderOptions { transactional: true, ..sequenced(7, epoch, sequence) };
    let write = |log: &Log, records, origin, txn| log.append_checked(records, EPOCH, 1_000, origin, txn);
    for (marker_epoch, check, stands) in [(1, TxnCheck::EpochBumped, true), (0, TxnCheck::Off, false)] {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path(), small());
        let asked = log.begin_verification(ProducerId(7), ProducerEpoch(0));
        write(&log, batch_with(of(0, 0), &[1]), Origin::Client, TxnCheck::Verified(asked)).unwrap();
        let next = ProducerEpoch(marker_epoch);
        let asked_early = log.begin_verification(ProducerId(7), next);
        assert_eq!(asked_early.is_some(), stands, "the same epoch's transaction is open still");
        write(&log, marker(7, marker_epoch, true), Origin::Coordinator, check).unwrap();
        let begun = write(
            &log,
            batch_with(of(marker_epoch, i32::from(!stands)), &[1]),
            Origin::Client,
            TxnCheck::Verified(asked_early),
        );
        assert_eq!(
            begun.map(|_| ()).map_err(|error| error.error_code()),
            match stands {
                true => Ok(()),
                false => Err(ErrorCode::InvalidTxnState),
            }
        );
    }
}
