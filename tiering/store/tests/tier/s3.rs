//! The same over a real S3 server, where `STRATA_TEST_S3` names a bucket (`s3://BUCKET`) and the `AWS_*` variables a
//! server; and over a local folder, always.

use strata_log::RemoteLog;
use strata_store::{ObjectStoreUrl, Store, Tier};
use strata_types::Offset;
use uuid::Uuid;

use crate::host::{TestHost, consume, options};

async fn archive_and_read(store: Store) {
    let host = TestHost::new();
    let (first, second) = (Tier::new(store.clone(), options()), Tier::new(store.clone(), options()));
    for _ in 0..3 {
        host.produce(5);
    }
    first.run_once(&*host, 0).await;
    host.produce(5);
    let (a, b) = tokio::join!(first.run_once(&*host, 0), second.run_once(&*host, 0));
    assert!(a.failures.is_empty() && b.failures.is_empty(), "{a:?} {b:?}");
    second.load(&*host).await.expect("the index loads");
    assert_eq!(second.archived_until(&host.id), Some(Offset(20)));
    // Large enough for an upload in parts.
    host.produce_noise(17 << 20);
    let report = second.run_once(&*host, 0).await;
    assert!(report.failures.is_empty(), "{report:?}");
    assert_eq!(consume(&second, &host.id, Offset(0)).await, host.log_records(&[]));
    first.attach(host.clone());
    first.topic_deleted(host.id.topic_id, &host.id.partition.topic).await.expect("deleted");
}

#[tokio::test]
async fn a_local_folder_holds_the_archive() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = ObjectStoreUrl::local(dir.path().join("archive")).open().expect("a store");
    archive_and_read(store).await;
}

#[tokio::test]
async fn an_s3_server_holds_the_archive() {
    let Ok(bucket) = std::env::var("STRATA_TEST_S3") else { return };
    let url: ObjectStoreUrl = format!("{bucket}/{}", Uuid::new_v4()).parse().expect("an address");
    archive_and_read(url.open().expect("a store")).await;
}
