//! docs/compatibility.md says what the code does. Write it anew with
//!
//!     UPDATE_DOCS=1 cargo test -p strata-server --test compatibility

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use strata_log::LogConfig;
use strata_protocol::ApiKey;
use strata_server::config::{Update, broker_keys};

/// Keys of a broker's listener that are not served, and why. One that is neither served nor here fails the test.
const LEFT_OUT: &[(ApiKey, &str)] = &[];

/// What differs from Apache Kafka on purpose.
const DIFFERENCES: &[&str] = &[
    "One node: no replicas on other brokers, so reassignments to other brokers are refused; voters are fixed, as in a Kafka cluster whose \
     `kraft.version` is 0.",
    "`metadata.version` cannot be changed: metadata records are written at one version (4.3-IV0).",
    "UnregisterBroker refuses the node that serves the request; Kafka takes its leaders away.",
    "IP quotas name addresses, not host names: a name may mean another address tomorrow.",
    "Client telemetry is asked for as sums since the client's start, shown in `/metrics`, and passed to no plugin.",
    "Java classes (authorizers other than Kafka's own, policies, quota callbacks, reporters, config providers) cannot be loaded; settings \
     that would name one are refused.",
    "AlterReplicaLogDirs does not move a log between directories; a full disk refuses appends and leaves its directory online.",
    "Transactions: InitProducerId stops at version 5 (KIP-939's version 6 is unstable in Kafka too).",
    "Share groups have no dead-letter queue, as in Kafka 4.3; streams groups refuse what Kafka 4.3 refuses (static members, warm-up tasks).",
    "OAUTHBEARER without keys to verify tokens does not start; JKS stores are refused with the command that converts them; no GSSAPI.",
];

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// Every Rust source of the product below these folders, without its tests.
fn sources() -> String {
    fn collect(folder: &Path, out: &mut String) {
        let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !matches!(name.as_str(), "target" | "tests" | "golden") {
                collect(&path, out);
            } else if name.ends_with(".rs") && !name.contains("tests") {
                let text = fs::read_to_string(&path).unwrap();
                out.push_str(text.split("#[cfg(test)]").next().unwrap());
            }
        }
    }
    let mut out = String::new();
    for folder in
        ["src", "../coordinator/src", "../log/src", "../quorum/src", "../../src", "../../tiering/store/src"]
    {
        collect(&source_folder().join(folder), &mut out);
    }
    out
}

/// What an API's file says of it first: `//! Name (key): …`, up to the end of the sentence.
fn notes() -> BTreeMap<i16, String> {
    let mut notes = BTreeMap::new();
    for entry in fs::read_dir(source_folder().join("src/api")).unwrap() {
        let Ok(text) = fs::read_to_string(entry.unwrap().path()) else { continue };
        let head: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//!")).collect();
        let paragraph = head.iter().take_while(|line| !line.trim().is_empty()).map(|line| line.trim());
        let paragraph = paragraph.collect::<Vec<_>>().join(" ");
        let Some((name, note)) = paragraph.split_once("): ") else { continue };
        let Some(key) = name.rsplit_once('(').and_then(|(_, key)| key.parse().ok()) else { continue };
        let sentence = note.split_inclusive(['.', ';']).next().unwrap_or(note).trim_end_matches([';', '.']);
        notes.insert(key, sentence.trim().to_owned());
    }
    notes
}

fn kafka_43() -> BTreeMap<i16, RangeInclusive<i16>> {
    let rows = include_str!("facts/kafka-4.3-apis.tsv").lines().filter(|line| !line.starts_with('#'));
    let row = |line: &str| {
        let mut cells = line.split('\t').map(|cell| cell.parse::<i16>().unwrap());
        let mut cell = || cells.next().unwrap();
        (cell(), cell()..=cell())
    };
    rows.map(row).collect()
}

fn shown(range: &RangeInclusive<i16>) -> String {
    match range.start() == range.end() {
        true => range.start().to_string(),
        false => format!("{}–{}", range.start(), range.end()),
    }
}

fn apis(out: &mut String) {
    let (notes, kafka_43) = (notes(), kafka_43());
    let served: BTreeMap<i16, _> = strata_server::served_apis().map(|api| (api.key as i16, api)).collect();
    out.push_str(
        "| key | API | Strata | Kafka 4.3 | Kafka 4.4 | what it does here |\n|--:|---|---|---|---|---|\n",
    );
    for &key in ApiKey::ALL {
        let Some(api) = served.get(&(key as i16)) else { continue };
        let mut ours = shown(&api.versions);
        if api.advertised != api.versions {
            ours = format!("{ours} (advertised {})", shown(&api.advertised));
        }
        let then = kafka_43.get(&(key as i16)).map_or("–".to_owned(), shown);
        let now = shown(&key.versions());
        let note = notes.get(&(key as i16)).map(String::as_str).unwrap_or_default();
        let _ = writeln!(out, "| {} | {key} | {ours} | {then} | {now} | {note} |", key as i16);
    }
    out.push_str("\n### Left out\n\n| key | API | why |\n|--:|---|---|\n");
    for &key in ApiKey::ALL.iter().filter(|key| !served.contains_key(&(**key as i16))) {
        let why = match LEFT_OUT.iter().find(|(left_out, _)| *left_out == key) {
            Some((_, why)) => why,
            None if !kafka_43.contains_key(&(key as i16)) => {
                "not on a broker's client listener in Kafka either"
            }
            None => panic!("{key} is neither served nor left out for a reason: add it to LEFT_OUT"),
        };
        let _ = writeln!(out, "| {} | {key} | {why} |", key as i16);
    }
}

fn settings(out: &mut String) {
    let sources = sources();
    let topic_defaults: BTreeSet<&str> =
        LogConfig::DEFINITIONS.iter().filter_map(|def| def.broker_synonym).collect();
    let is_read = |name: &str| topic_defaults.contains(name) || sources.contains(&format!("\"{name}\""));
    let (followed, ignored): (Vec<_>, Vec<_>) = broker_keys().partition(|key| is_read(key.name));
    let _ = writeln!(
        out,
        "All {} broker settings of Kafka 4.3 are known, checked and shown; {} are read by the code (those marked † may be changed while the \
         broker runs), the others are accepted and have no effect. A name that nobody knows is worth a warning in `server.properties`, and is \
         kept, hidden, when set dynamically, as in Kafka.\n",
        followed.len() + ignored.len(),
        followed.len()
    );
    let mut list = |title: &str, keys: &[&strata_server::config::Key]| {
        let _ = writeln!(out, "### {title}\n");
        let names = keys.iter().map(|key| match key.update {
            Update::ReadOnly => format!("`{}`", key.name),
            _ => format!("`{}`†", key.name),
        });
        let _ = writeln!(out, "{}\n", names.collect::<Vec<_>>().join(", "));
    };
    list("With effect", &followed);
    list("Accepted, without effect", &ignored);
    let topics = LogConfig::DEFINITIONS.iter().filter(|def| !def.is_internal());
    let topics: Vec<_> = topics.map(|def| format!("`{}`", def.name)).collect();
    let _ = writeln!(out, "### Of topics\n\n{}", topics.join(", "));
}

fn document() -> String {
    let mut out = String::from(
        "# Compatibility with Apache Kafka\n\nWritten from the code by `UPDATE_DOCS=1 cargo test -p strata-server --test compatibility`; a \
         test fails when it is stale.\n\n## APIs\n\n",
    );
    apis(&mut out);
    out.push_str("\n## What differs on purpose\n\n");
    for difference in DIFFERENCES {
        let _ = writeln!(out, "- {}", difference.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    out.push_str("\n## Settings\n\n");
    settings(&mut out);
    out
}

#[test]
fn the_document_is_what_the_code_says() {
    let path = source_folder().join("../../docs/compatibility.md");
    let document = document();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &document).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == document,
        "docs/compatibility.md is stale: UPDATE_DOCS=1 cargo test -p strata-server --test compatibility"
    );
}
