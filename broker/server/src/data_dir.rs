//! What makes a directory a broker's: `meta.properties`, as `kafka-storage format` writes it.
//!
//! ```text
//! version=1
//! cluster.id=5L6g3nShT-eMCtK--X86sw
//! node.id=1
//! directory.id=YW4gZXhhbXBsZSBvbmx5IQ
//! ```
//!
//! An empty directory formats itself at the first start. One that belongs to another cluster or node is refused, as two
//! brokers' logs under one roof would be neither's.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use strata_types::{NodeId, TopicId};
use uuid::Uuid;

const FILE: &str = "meta.properties";

/// A directory that is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DataDir {
    pub path: PathBuf,
    pub cluster_id: String,
    /// Kafka's id of the directory itself (KIP-858).
    pub directory_id: Uuid,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("the data directory {} cannot be used: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{}: {what}", path.display())]
    Malformed { path: PathBuf, what: String },
    #[error("the data directory {} belongs to node {found}, and this is node {wanted}", path.display())]
    OtherNode { path: PathBuf, found: NodeId, wanted: NodeId },
    #[error("the data directory {} belongs to cluster {found}, and cluster.id says {wanted}", path.display())]
    OtherCluster { path: PathBuf, found: String, wanted: String },
}

impl DataDir {
    /// Opens `path`, making and formatting it where it is new. `cluster_id` is what a new one gets and what an old one
    /// must have; without it a new one gets a random id.
    pub(crate) fn open(path: &Path, node_id: NodeId, cluster_id: Option<&str>) -> Result<Self, DataDirError> {
        let io = |error| DataDirError::Io { path: path.to_owned(), error };
        fs::create_dir_all(path).map_err(io)?;
        let found = match fs::read_to_string(path.join(FILE)) {
            Ok(text) => Self::parse(path, &text, node_id)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let cluster_id = cluster_id.map_or_else(|| print_id(random_id()), str::to_owned);
                let new = Self { path: path.to_owned(), cluster_id, directory_id: random_id() };
                new.write(node_id).map_err(io)?;
                new
            }
            Err(error) => return Err(io(error)),
        };
        match cluster_id {
            Some(wanted) if wanted != found.cluster_id => {
                Err(DataDirError::OtherCluster { path: found.path, found: found.cluster_id, wanted: wanted.to_owned() })
            }
            _ => Ok(found),
        }
    }

    fn parse(path: &Path, text: &str, node_id: NodeId) -> Result<Self, DataDirError> {
        let malformed = |what: String| DataDirError::Malformed { path: path.join(FILE), what };
        let pairs = crate::config::parse_properties(text).map_err(|error| malformed(error.to_string()))?;
        let get = |key: &str| pairs.iter().rev().find(|(k, _)| k == key).map(|(_, value)| value.trim());
        let need = |key: &str| get(key).ok_or_else(|| malformed(format!("{key} is missing")));
        let version = need("version")?;
        if version != "1" {
            return Err(malformed(format!("version={version} is not one that this broker knows (1)")));
        }
        let id = need("node.id")?;
        let found = id.parse().map_err(|_| malformed(format!("node.id={id} is no number")))?;
        if found != node_id {
            return Err(DataDirError::OtherNode { path: path.to_owned(), found, wanted: node_id });
        }
        let directory_id = match get("directory.id") {
            Some(text) => parse_id(text).ok_or_else(|| malformed(format!("directory.id={text} is no id")))?,
            None => random_id(),
        };
        Ok(Self { path: path.to_owned(), cluster_id: need("cluster.id")?.to_owned(), directory_id })
    }

    /// Written whole or not at all: a power cut must not leave half of an identity.
    fn write(&self, node_id: NodeId) -> io::Result<()> {
        let Self { path, cluster_id, directory_id } = self;
        let directory_id = print_id(*directory_id);
        let text = format!("version=1\ncluster.id={cluster_id}\nnode.id={node_id}\ndirectory.id={directory_id}\n");
        let new = path.join(format!("{FILE}.tmp"));
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path.join(FILE))?;
        File::open(path)?.sync_all()
    }
}

/// A random id whose printed form does not start with `-`, which command lines would take for an option.
fn random_id() -> Uuid {
    loop {
        let id = Uuid::new_v4();
        if !print_id(id).starts_with('-') {
            return id;
        }
    }
}

fn print_id(id: Uuid) -> String {
    TopicId(id).to_string()
}

/// The id of Kafka's printed form: URL-safe base64, 22 digits.
pub(crate) fn parse_id(text: &str) -> Option<Uuid> {
    if text.len() != 22 {
        return None;
    }
    let mut value: u128 = 0;
    for (index, digit) in text.bytes().enumerate() {
        let bits = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        // The last digit holds two bits, in its high places.
        value = if index < 21 { (value << 6) | u128::from(bits) } else { (value << 2) | u128::from(bits >> 4) };
    }
    Some(Uuid::from_u128(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_directory_formats_itself_and_keeps_its_identity() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/data");
        let first = DataDir::open(&path, 3, None).unwrap();
        assert_eq!(DataDir::open(&path, 3, None).unwrap(), first);
        assert_eq!(DataDir::open(&path, 3, Some(&first.cluster_id)).unwrap(), first);
        let text = fs::read_to_string(path.join(FILE)).unwrap();
        assert!(text.contains("version=1\n") && text.contains("node.id=3\n"), "{text}");
    }

    #[test]
    fn a_foreign_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        DataDir::open(dir.path(), 3, Some("mine")).unwrap();
        let node = DataDir::open(dir.path(), 4, None).unwrap_err();
        assert!(matches!(node, DataDirError::OtherNode { found: 3, wanted: 4, .. }), "{node}");
        let cluster = DataDir::open(dir.path(), 3, Some("yours")).unwrap_err().to_string();
        assert!(cluster.contains("mine") && cluster.contains("yours"), "{cluster}");
    }

    #[test]
    fn a_malformed_identity_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for (text, words) in [
            ("version=0\nbroker.id=1\n", "version=0"),
            ("version=1\ncluster.id=c\n", "node.id is missing"),
            ("version=1\nnode.id=1\n", "cluster.id is missing"),
            ("version=1\nnode.id=1\ncluster.id=c\ndirectory.id=x\n", "directory.id=x"),
        ] {
            fs::write(dir.path().join(FILE), text).unwrap();
            let error = DataDir::open(dir.path(), 1, None).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn ids_read_as_they_print() {
        for _ in 0..100 {
            let id = random_id();
            assert_eq!(parse_id(&print_id(id)), Some(id));
        }
        assert_eq!(parse_id("AAAAAAAAAAAAAAAAAAAAA="), None);
        assert_eq!(parse_id(""), None);
    }
}
