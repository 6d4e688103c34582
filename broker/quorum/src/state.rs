//! Two small files: whose directory this is, and the vote.

use std::io;
use std::path::Path;

use serde_json::{Value, json};
use strata_protocol::Str;
use strata_types::NodeId;
use uuid::Uuid;

use crate::OpenError;
use crate::disk::write_atomically;
use crate::raft::Vote;

const META_FILE: &str = "meta.properties";
const STATE_FILE: &str = "quorum-state";

/// The most bytes that either file may have; they have some hundred.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// What `meta.properties` says (version 1, KIP-858).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) cluster_id: String,
    pub(crate) node_id: String,
    pub(crate) directory_id: Uuid,
}

/// The id of the cluster that a data directory belongs to, or nothing if it is a fresh one.
///
/// # Errors
/// The file is there but cannot be read, or says nothing about a cluster (`InvalidData`).
pub fn cluster_id_of(dir: &Path) -> io::Result<Option<Str>> {
    Ok(read_meta(dir)?.map(|meta| meta.cluster_id.into()))
}

/// Marks a fresh directory as a node's, or makes sure that it is. Answers the directory's id. For the node's further
/// directories; the quorum claims its own.
pub fn claim(dir: &Path, cluster_id: &str, node_id: NodeId) -> Result<Uuid, OpenError> {
    let path = dir.join(META_FILE);
    if let Some(meta) = read_meta(dir).map_err(OpenError::io(&path))? {
        if meta.cluster_id != cluster_id {
            let expected = cluster_id.to_owned();
            return Err(OpenError::ClusterId { path: dir.to_owned(), expected, found: meta.cluster_id });
        }
        if meta.node_id != node_id.to_string() {
            return Err(OpenError::NodeId { path: dir.to_owned(), expected: node_id, found: meta.node_id });
        }
        return Ok(meta.directory_id);
    }
    let directory_id = Uuid::new_v4();
    let id = strata_types::TopicId(directory_id);
    let content = format!("cluster.id={cluster_id}\ndirectory.id={id}\nnode.id={node_id}\nversion=1\n");
    write_atomically(&path, content.as_bytes()).map_err(OpenError::io(&path))?;
    Ok(directory_id)
}

fn read_meta(dir: &Path) -> io::Result<Option<Meta>> {
    let Some(text) = read_if_there(&dir.join(META_FILE))? else { return Ok(None) };
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='));
        let missing = || io::Error::new(io::ErrorKind::InvalidData, format!("{META_FILE} has no {key}"));
        line.map(|value| value.trim().to_owned()).ok_or_else(missing)
    };
    let directory_id = value("directory.id")?;
    let unreadable =
        || io::Error::new(io::ErrorKind::InvalidData, format!("directory.id {directory_id} is no id"));
    Ok(Some(Meta {
        cluster_id: value("cluster.id")?,
        node_id: value("node.id")?,
        directory_id: parse_id(&directory_id).ok_or_else(unreadable)?,
    }))
}

/// Kafka's spelling of an id: URL-safe base64 of 16 bytes, without padding.
fn parse_id(text: &str) -> Option<Uuid> {
    const DIGITS: usize = 22;
    if text.len() != DIGITS {
        return None;
    }
    let mut bits = 0u128;
    for (index, byte) in text.bytes().enumerate() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        // The last digit carries two bits.
        bits = match index {
            21 => bits << 2 | u128::from(digit >> 4),
            _ => bits << 6 | u128::from(digit),
        };
    }
    Some(Uuid::from_u128(bits))
}

/// Keeps a vote, as Kafka's `QuorumStateData` version 1 does. Who won is not kept: a node that comes back never takes up an
/// old epoch's leadership, since entries of that epoch which it did not flush may be elsewhere already.
pub(crate) fn save_vote(dir: &Path, vote: &Vote) -> io::Result<()> {
    let state = json!({
        "leaderId": -1,
        "leaderEpoch": vote.leader_id.term,
        "votedId": vote.leader_id.voted_for.unwrap_or(-1),
        "votedDirectoryId": "AAAAAAAAAAAAAAAAAAAAAA",
        "data_version": 1,
    });
    write_atomically(&dir.join(STATE_FILE), state.to_string().as_bytes())
}

/// The vote that was kept last.
pub(crate) fn read_vote(dir: &Path) -> Result<Option<Vote>, OpenError> {
    let path = dir.join(STATE_FILE);
    let Some(text) = read_if_there(&path).map_err(OpenError::io(&path))? else { return Ok(None) };
    let corrupt = |what: &str| OpenError::corrupt(&path, what);
    let state: Value = serde_json::from_str(&text).map_err(|error| corrupt(&error.to_string()))?;
    let term = state["leaderEpoch"].as_u64().ok_or_else(|| corrupt("there is no leaderEpoch"))?;
    let voted = state["votedId"].as_i64().ok_or_else(|| corrupt("there is no votedId"))?;
    let mut vote = Vote::default();
    vote.leader_id.term = term;
    vote.leader_id.voted_for = NodeId::try_from(voted).ok().filter(|&id| id >= 0);
    Ok(Some(vote))
}

fn read_if_there(path: &Path) -> io::Result<Option<String>> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
        Ok(found) if found.len() > FILE_BYTES_MAX => {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is far too long"));
        }
        Ok(_) => {}
    }
    std::fs::read_to_string(path).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_claimed_once() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(cluster_id_of(dir.path()).expect("readable"), None);
        let id = claim(dir.path(), "one", 1).expect("fresh");
        assert_eq!(claim(dir.path(), "one", 1).expect("ours"), id);
        assert_eq!(cluster_id_of(dir.path()).expect("readable").as_deref(), Some("one"));
        assert!(
            matches!(claim(dir.path(), "two", 1), Err(OpenError::ClusterId { found, .. }) if found == "one")
        );
        assert!(matches!(claim(dir.path(), "one", 2), Err(OpenError::NodeId { found, .. }) if found == "1"));
    }

    #[test]
    fn a_vote_is_read_back_uncommitted() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(read_vote(dir.path()).expect("readable"), None);
        save_vote(dir.path(), &Vote::new_committed(7, 3)).expect("writable");
        assert_eq!(read_vote(dir.path()).expect("readable"), Some(Vote::new(7, 3)));
    }

    #[test]
    fn a_damaged_vote_is_an_error() {
        let dir = tempfile::tempdir().expect("a folder");
        for content in ["", "{", "{}", "{\"leaderEpoch\":-1,\"votedId\":0}"] {
            std::fs::write(dir.path().join(STATE_FILE), content).expect("writable");
            assert!(matches!(read_vote(dir.path()), Err(OpenError::Corrupt { .. })), "{content:?}");
        }
    }
}
