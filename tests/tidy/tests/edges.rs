//! Dependencies point one way (docs/ARCHITECTURE.md, "The house"). A new edge is a decision: add it here, with the
//! crate that now knows more.

use std::collections::BTreeSet;

use strata_tidy::{house, source};

/// Which crates of ours each crate may use. A crate that is not listed fails the test, so nobody joins unseen.
const ALLOWED: &[(&str, &[&str])] = &[
    ("strata-types", &[]),
    ("strata-protocol", &["types"]),
    ("strata-log", &["types", "protocol"]),
    ("strata-replica", &["types"]),
    ("strata-metadata", &["types", "protocol"]),
    ("strata-quorum", &["types", "protocol", "log", "metadata"]),
    ("strata-coordinator", &["types", "protocol"]),
    ("strata-client", &["types", "protocol"]),
    ("strata-server", &["types", "protocol", "log", "replica", "metadata", "quorum", "coordinator"]),
    ("strata-archive", &["types", "protocol"]),
    ("strata-store", &["types", "protocol", "log", "archive"]),
    ("strata-query", &["types", "protocol", "client", "archive", "store"]),
    ("strata-plugin-sdk", &[]),
    ("strata-plugin-host", &["types", "protocol"]),
    ("strata-topology", &["types"]),
    ("strata-state", &["types"]),
    ("strata-runtime", &["types", "protocol", "client", "plugin-host", "topology", "state"]),
    ("strata-worker", &["types", "protocol", "client", "plugin-host"]),
    ("strata-rest", &["types", "worker"]),
    // Tests, benches and the binary that joins the parts stand outside: nothing may depend on them.
    ("strata-e2e", &["types", "protocol", "client"]),
    ("strata-fuzz", &["types", "protocol", "metadata", "coordinator"]),
    ("strata-tidy", &[]),
    ("strata-instructions", &["types", "protocol", "server"]),
    ("strata-sxs", &[]),
];

/// Crates that take events and the time, and return effects.
const SANS_IO: &[&str] = &[
    "strata-types",
    "strata-protocol",
    "strata-replica",
    "strata-metadata",
    "strata-coordinator",
    "strata-archive",
    "strata-topology",
];

/// Libraries that do IO, and so have no place in a sans-IO crate.
const IO_LIBRARIES: &[&str] = &["tokio", "rustix", "socket2", "object_store", "rand", "tempfile"];

/// What such a crate may not say either.
const IO_WORDS: &[&str] = &[
    "std::net",
    "std::process",
    "Instant::now",
    "SystemTime::now",
    "Uuid::new_v4",
    "File::open",
    "File::create",
    "thread::spawn",
];

#[test]
fn dependencies_point_one_way() {
    let crates = house::crates();
    let mut wrong = Vec::new();
    for (name, found) in &crates {
        if name == "strata" {
            continue;
        }
        let Some((_, allowed)) = ALLOWED.iter().find(|(listed, _)| listed == name) else {
            wrong.push(format!("{name} is not listed in tests/tidy/tests/edges.rs"));
            continue;
        };
        let allowed: BTreeSet<String> = allowed.iter().map(|short| format!("strata-{short}")).collect();
        for edge in found.dependencies.iter().filter(|d| crates.contains_key(*d) && !allowed.contains(*d)) {
            wrong.push(format!("{name} may not use {edge}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn sans_io_crates_do_no_io() {
    let crates = house::crates();
    let mut wrong = Vec::new();
    for name in SANS_IO {
        let found = &crates[*name];
        for library in IO_LIBRARIES.iter().filter(|library| found.dependencies.contains(**library)) {
            wrong.push(format!("{name} may not use {library}"));
        }
        for file in source::files(&found.folder.join("src")) {
            for word in IO_WORDS.iter().filter(|word| file.text.contains(**word)) {
                wrong.push(format!("{} says {word}", file.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
