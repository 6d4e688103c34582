//! What Apache Kafka's own tools say of our files. Needs its `kafka-dump-log`, named by `KAFKA_DUMP_LOG`.

use std::process::Command;

use strata_protocol::records::Compression;

use super::*;

#[test]
fn kafkas_tool_reads_every_file_of_a_log() {
    let Some(tool) = std::env::var_os("KAFKA_DUMP_LOG") else { return };
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), LogConfig { segment_bytes: 6_000, ..small() });
    for n in 0..120 {
        let compression = Compression::ALL[n % 5];
        let options = BuilderOptions { compression, ..sequenced(3, 0, n as i32 * 2) };
        let timestamps = [1_000 + n as i64, if n == 50 { 5_000 } else { 1_001 + n as i64 }];
        log.append(batch_with(options, &timestamps), LeaderEpoch(n as i32 / 40), 1_000, Origin::Client)
            .unwrap();
    }
    let options = BuilderOptions { transactional: true, ..sequenced(4, 0, 0) };
    log.append(batch_with(options, &[1_500]), LeaderEpoch(3), 1_000, Origin::Client).unwrap();
    log.append(marker(4, 0, false), LeaderEpoch(3), 1_600, Origin::Coordinator).unwrap();
    log.close().unwrap();
    assert!(log.segments().len() > 2);

    let mut files: Vec<_> =
        std::fs::read_dir(dir.path().join("orders-3")).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| {
        let known = ["log", "index", "timeindex", "txnindex", "snapshot"];
        path.extension().is_some_and(|extension| known.iter().any(|known| *known == extension))
    });
    files.sort();
    let names: Vec<_> = files.iter().map(|path| path.to_str().unwrap()).collect();
    let run = |extra: &[&str]| {
        let output = Command::new(&tool).args(["--files", &names.join(",")]).args(extra).output().unwrap();
        let text =
            String::from_utf8_lossy(&output.stdout).to_string() + &String::from_utf8_lossy(&output.stderr);
        for word in ["Mismatches", "Exception", "isvalid: false", "out of order", "not found"] {
            assert!(!text.contains(word), "{word}: {text}");
        }
        text
    };
    let text = run(&["--print-data-log", "--deep-iteration"]);
    assert_eq!(text.matches("payload: value").count(), 241, "{text}");
    assert!(text.contains("endTxnMarker: ABORT"), "{text}");
    assert!(text.contains("producerId: 4"), "{text}");
    let sane = run(&["--index-sanity-check"]);
    assert!(sane.matches("passed sanity check").count() >= 6, "{sane}");
}
