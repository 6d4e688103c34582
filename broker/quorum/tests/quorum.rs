//! The quorum of one, from outside: what it acknowledges is there again, whatever happened in between.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use strata_metadata::{Image, MetadataRecord};
use strata_protocol::messages::{ConfigRecord, PartitionRecord, TopicRecord};
use strata_quorum::{OpenError, ProposeError, Quorum, QuorumOptions, cluster_id_of};
use strata_types::Offset;
use uuid::Uuid;

const NODE: i32 = 1;
const FOLDER: &str = "__cluster_metadata-0";

async fn open(dir: &Path) -> Quorum {
    Quorum::open(QuorumOptions::single(dir, NODE, "cluster")).await.expect("the quorum opens")
}

/// The records of a topic, if there is none of this name yet.
fn create(image: &Image, name: &str) -> (Vec<MetadataRecord>, bool) {
    if image.topic(name).is_some() {
        return (Vec::new(), false);
    }
    let topic_id = Uuid::from_u128(0x1_0000 + image.topics_count() as u128);
    let topic = TopicRecord { name: name.into(), topic_id, ..Default::default() };
    let partition = PartitionRecord {
        partition_id: 0,
        topic_id,
        replicas: vec![NODE],
        isr: vec![NODE],
        leader: NODE,
        leader_epoch: 0,
        partition_epoch: 0,
        directories: vec![Uuid::nil()],
        ..Default::default()
    };
    (vec![topic.into(), partition.into()], true)
}

async fn create_topics(quorum: &Quorum, names: std::ops::Range<usize>) {
    for name in names {
        let created = quorum.propose(|image| create(image, &format!("t{name}"))).await.expect("acknowledged");
        assert!(created);
    }
}

/// The directory as a crash at this moment would leave it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("writable");
    for item in fs::read_dir(from).expect("readable") {
        let item = item.expect("readable");
        let target = to.join(item.file_name());
        match item.file_type().expect("readable").is_dir() {
            true => copy(&item.path(), &target),
            false => drop(fs::copy(item.path(), target).expect("copied")),
        }
    }
}

#[tokio::test]
async fn a_fresh_directory_leads_when_it_is_open() {
    let dir = tempfile::tempdir().expect("a folder");
    let quorum = open(dir.path()).await;
    assert_eq!(quorum.leader(), Some(NODE));
    assert!(quorum.epoch().0 > 0);
    assert_eq!(quorum.image().topics_count(), 0);
    assert_eq!(cluster_id_of(dir.path()).expect("readable").as_deref(), Some("cluster"));
    quorum.shutdown().await;
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_crash_and_in_a_later_epoch() {
    let dir = tempfile::tempdir().expect("a folder");
    let quorum = open(dir.path()).await;
    create_topics(&quorum, 0..5).await;
    let crashed = tempfile::tempdir().expect("a folder");
    copy(dir.path(), crashed.path());
    let before = (quorum.image(), quorum.epoch(), quorum.directory_id());
    quorum.shutdown().await;

    let quorum = open(crashed.path()).await;
    assert_eq!(quorum.image(), before.0);
    assert!(quorum.epoch() > before.1);
    assert_eq!(quorum.directory_id(), before.2);
    create_topics(&quorum, 5..6).await;
    assert_eq!(quorum.image().topics_count(), 6);
    quorum.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_create_one_name_one_wins() {
    let dir = tempfile::tempdir().expect("a folder");
    let quorum = open(dir.path()).await;
    let racers: Vec<_> = (0..8)
        .map(|_| {
            let quorum = quorum.clone();
            tokio::spawn(
                async move { quorum.propose(|image| create(image, "contested")).await.expect("decided") },
            )
        })
        .collect();
    let mut winners = 0;
    for racer in racers {
        winners += usize::from(racer.await.expect("no panic"));
    }
    assert_eq!(winners, 1);
    assert_eq!(quorum.image().topics_count(), 1);
    quorum.shutdown().await;
}

#[tokio::test]
async fn any_cut_of_the_last_write_costs_only_that_write() {
    let dir = tempfile::tempdir().expect("a folder");
    let quorum = open(dir.path()).await;
    create_topics(&quorum, 0..3).await;
    let log = Path::new(FOLDER).join("00000000000000000000.log");
    let acknowledged = fs::metadata(dir.path().join(&log)).expect("there").len();
    create_topics(&quorum, 3..4).await;
    quorum.shutdown().await;

    let whole = fs::metadata(dir.path().join(&log)).expect("there").len();
    for length in (acknowledged..whole).step_by(29) {
        let crashed = tempfile::tempdir().expect("a folder");
        copy(dir.path(), crashed.path());
        let file = fs::OpenOptions::new().write(true).open(crashed.path().join(&log)).expect("there");
        file.set_len(length).expect("writable");
        let quorum = open(crashed.path()).await;
        assert_eq!(quorum.image().topics_count(), 3, "cut at {length}");
        create_topics(&quorum, 3..4).await;
        quorum.shutdown().await;
    }
}

#[tokio::test]
async fn a_damaged_log_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let quorum = open(dir.path()).await;
    create_topics(&quorum, 0..3).await;
    quorum.shutdown().await;
    let log = dir.path().join(FOLDER).join("00000000000000000000.log");
    let mut content = fs::read(&log).expect("readable");
    content[100] ^= 1;
    fs::write(&log, content).expect("writable");
    let refused = Quorum::open(QuorumOptions::single(dir.path(), NODE, "cluster")).await;
    assert!(matches!(refused.err(), Some(OpenError::Corrupt { .. })));
}

#[tokio::test]
async fn a_snapshot_replaces_the_log_before_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let quorum = open(dir.path()).await;
    create_topics(&quorum, 0..20).await;
    quorum.snapshot().await.expect("written");
    create_topics(&quorum, 20..22).await;
    let (image, next_offset) = (quorum.image(), quorum.image().next_offset());
    quorum.shutdown().await;

    // The snapshot alone tells what it covers: damage the log that it replaced.
    let quorum = open(dir.path()).await;
    assert_eq!(quorum.image(), image);
    assert!(quorum.image().next_offset() > next_offset);
    create_topics(&quorum, 22..23).await;
    quorum.snapshot().await.expect("written");
    quorum.shutdown().await;
    let checkpoints = fs::read_dir(dir.path().join(FOLDER)).expect("readable").filter(|item| {
        item.as_ref().is_ok_and(|item| item.file_name().to_string_lossy().ends_with(".checkpoint"))
    });
    assert_eq!(checkpoints.count(), 1);
    let quorum = open(dir.path()).await;
    assert_eq!(quorum.image().topics_count(), 23);
    quorum.shutdown().await;
}

#[tokio::test]
async fn a_crash_while_a_snapshot_is_written_costs_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let quorum = open(dir.path()).await;
    create_topics(&quorum, 0..3).await;
    quorum.snapshot().await.expect("written");
    let image = quorum.image();
    quorum.shutdown().await;
    let folder = dir.path().join(FOLDER);
    let checkpoint = fs::read_dir(&folder)
        .expect("readable")
        .filter_map(|item| Some(item.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "checkpoint"))
        .expect("there");
    // The rename had not happened yet, and the log was not cut.
    let part = folder.join("00000000000000000099-0000000001.checkpoint.part");
    fs::rename(&checkpoint, &part).expect("writable");
    let quorum = open(dir.path()).await;
    assert_eq!(quorum.image(), image);
    assert!(!part.exists());
    quorum.shutdown().await;
}

#[tokio::test]
async fn a_lost_vote_or_a_damaged_snapshot_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let quorum = open(dir.path()).await;
    create_topics(&quorum, 0..3).await;
    quorum.snapshot().await.expect("written");
    quorum.shutdown().await;
    let damaged = |file: fn(&str) -> bool, damage: fn(&Path)| {
        let crashed = tempfile::tempdir().expect("a folder");
        copy(dir.path(), crashed.path());
        for item in fs::read_dir(crashed.path().join(FOLDER)).expect("readable") {
            let path = item.expect("readable").path();
            if file(&path.to_string_lossy()) {
                damage(&path);
            }
        }
        crashed
    };
    let cut = |path: &Path| {
        let content = fs::read(path).expect("readable");
        fs::write(path, &content[..content.len() - 1]).expect("writable");
    };
    let flip = |path: &Path| {
        let mut content = fs::read(path).expect("readable");
        content[200] ^= 1;
        fs::write(path, content).expect("writable");
    };
    let lose = |path: &Path| fs::remove_file(path).expect("writable");
    for crashed in [
        damaged(|name| name.ends_with("quorum-state"), lose),
        damaged(|name| name.ends_with(".checkpoint"), cut),
        damaged(|name| name.ends_with(".checkpoint"), flip),
    ] {
        let opened = Quorum::open(QuorumOptions::single(crashed.path(), NODE, "cluster")).await;
        assert!(matches!(opened.err(), Some(OpenError::Corrupt { .. })));
    }
}

#[tokio::test]
async fn a_long_log_snapshots_itself() {
    let dir = tempfile::tempdir().expect("a folder");
    let quorum = open(dir.path()).await;
    create_topics(&quorum, 0..1).await;
    // Values of 30 kB, 100 to a decision: two decisions fill a segment.
    let fill = |round: usize| {
        move |_: &Image| {
            let config = |key: usize| ConfigRecord {
                resource_type: 2,
                resource_name: "t0".into(),
                name: format!("k{key}").into(),
                value: Some(format!("{round}{}", "x".repeat(30_000)).into()),
                ..Default::default()
            };
            ((0..100).map(|key| config(key).into()).collect(), ())
        }
    };
    for round in 0..6 {
        quorum.propose(fill(round)).await.expect("acknowledged");
    }
    let image = quorum.image();
    quorum.snapshot().await.expect("written");
    let logs: u64 = fs::read_dir(dir.path().join(FOLDER))
        .expect("readable")
        .filter_map(|item| item.ok().filter(|item| item.file_name().to_string_lossy().ends_with(".log")))
        .map(|item| item.metadata().expect("there").len())
        .sum();
    assert!(logs < 10_000_000, "{logs} bytes of log are left of 18 MB");
    quorum.shutdown().await;
    let quorum = open(dir.path()).await;
    assert_eq!(quorum.image(), image);
    quorum.shutdown().await;
}

#[tokio::test]
async fn records_that_do_not_fit_never_reach_the_log() {
    let dir = tempfile::tempdir().expect("a folder");
    let quorum = open(dir.path()).await;
    let orphan = PartitionRecord { topic_id: Uuid::from_u128(9), replicas: vec![1], ..Default::default() };
    let refused = quorum.propose(|_| (vec![orphan.into()], ())).await;
    assert!(matches!(refused, Err(ProposeError::Unfit(_))));
    create_topics(&quorum, 0..1).await;
    quorum.shutdown().await;
    let quorum = open(dir.path()).await;
    assert_eq!(quorum.image().topics_count(), 1);
    quorum.shutdown().await;
}

#[tokio::test]
async fn watchers_see_the_image_before_the_proposer_is_answered() {
    let dir = tempfile::tempdir().expect("a folder");
    let quorum = open(dir.path()).await;
    let mut images = quorum.images();
    let before: Offset = images.borrow_and_update().next_offset();
    create_topics(&quorum, 0..1).await;
    assert!(images.has_changed().expect("open"));
    let image = Arc::clone(&images.borrow_and_update());
    assert_eq!(image.next_offset(), before + 2);
    assert!(image.topic("t0").is_some());
    quorum.shutdown().await;
    assert!(matches!(
        quorum.propose(|image| create(image, "late")).await,
        Err(ProposeError::Stopped(_) | ProposeError::NotLeader { .. })
    ));
}

#[tokio::test]
async fn a_disk_that_fails_stops_the_quorum() {
    let dir = tempfile::tempdir().expect("a folder");
    let quorum = open(dir.path()).await;
    create_topics(&quorum, 0..1).await;
    fs::remove_dir_all(dir.path().join(FOLDER)).expect("writable");
    let lost = quorum.propose(|image| create(image, "t1")).await;
    assert!(matches!(lost, Err(ProposeError::Stopped(_))));
    quorum.stopped().await;
    assert!(quorum.image().topic("t1").is_none());
    quorum.shutdown().await;
}

#[tokio::test]
async fn a_directory_opens_only_as_what_it_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let quorum = open(dir.path()).await;
    let again = |node, cluster| Quorum::open(QuorumOptions::single(dir.path(), node, cluster));
    assert!(matches!(again(NODE, "cluster").await.err(), Some(OpenError::Locked { .. })));
    quorum.shutdown().await;
    assert!(matches!(again(NODE, "other").await.err(), Some(OpenError::ClusterId { .. })));
    assert!(matches!(again(2, "cluster").await.err(), Some(OpenError::NodeId { .. })));
    let mut many = QuorumOptions::single(dir.path(), NODE, "cluster");
    many.voters = vec![NODE, 2, 3];
    assert!(matches!(Quorum::open(many.clone()).await.err(), Some(OpenError::ManyVoters)));
    many.voters = vec![2];
    assert!(matches!(Quorum::open(many).await.err(), Some(OpenError::NotAVoter { node_id: NODE })));
    again(NODE, "cluster").await.expect("still ours").shutdown().await;
}
