//! What is deployed: two kinds of records in one compacted topic.
//!
//! | key | value |
//! |---|---|
//! | `plugin/<sha256>` | the component's bytes |
//! | `application/<id>` | a [`Deployment`] as JSON; null removes the application |

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::RuntimeError;

/// The compacted topic, of one partition, that says what runs.
pub const DEPLOYMENTS_TOPIC: &str = "__strata_deployments";

/// The largest component that can be deployed. It travels as one record.
pub const PLUGIN_BYTES_MAX: usize = 16 << 20;

/// One application: which plugin, with which settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// `application.id`: the consumer group, and the prefix of internal topics.
    pub application: String,
    /// The component's SHA-256, in hexadecimal.
    pub plugin: String,
    /// The plugin's own configuration.
    pub config: BTreeMap<String, String>,
}

/// A record of the deployments topic, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Plugin { sha256: String, wasm: Bytes },
    PluginRemoved { sha256: String },
    Deployed(Deployment),
    Removed { application: String },
}

const PLUGIN: &str = "plugin/";
const APPLICATION: &str = "application/";

impl Change {
    /// The record's key and value.
    pub fn encode(&self) -> (Bytes, Option<Bytes>) {
        match self {
            Self::Plugin { sha256, wasm } => (key(PLUGIN, sha256), Some(wasm.clone())),
            Self::PluginRemoved { sha256 } => (key(PLUGIN, sha256), None),
            Self::Deployed(deployment) => {
                let json = serde_json::to_vec(deployment).unwrap_or_default();
                (key(APPLICATION, &deployment.application), Some(json.into()))
            }
            Self::Removed { application } => (key(APPLICATION, application), None),
        }
    }

    /// What a record says.
    pub fn decode(key: Option<&Bytes>, value: Option<Bytes>) -> Result<Self, RuntimeError> {
        let key =
            key.and_then(|key| std::str::from_utf8(key).ok()).ok_or_else(|| bad("it has no text key"))?;
        if let Some(sha256) = key.strip_prefix(PLUGIN) {
            let sha256 = sha256.to_owned();
            return Ok(match value {
                Some(wasm) => Self::Plugin { sha256, wasm },
                None => Self::PluginRemoved { sha256 },
            });
        }
        let application =
            key.strip_prefix(APPLICATION).ok_or_else(|| bad(&format!("unknown key '{key}'")))?;
        match value {
            None => Ok(Self::Removed { application: application.to_owned() }),
            Some(json) => {
                let deployment: Deployment =
                    serde_json::from_slice(&json).map_err(|error| bad(&error.to_string()))?;
                match deployment.application == application {
                    true => Ok(Self::Deployed(deployment)),
                    false => Err(bad("its key and its value name different applications")),
                }
            }
        }
    }
}

fn key(prefix: &str, name: &str) -> Bytes {
    format!("{prefix}{name}").into()
}

fn bad(why: &str) -> RuntimeError {
    RuntimeError::BadDeployment { topic: DEPLOYMENTS_TOPIC, why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_survives_its_record() {
        let deployment = Deployment {
            application: "app".into(),
            plugin: "ab12".into(),
            config: BTreeMap::from([("topic".into(), "in".into())]),
        };
        for change in [
            Change::Plugin { sha256: "ab12".into(), wasm: Bytes::from_static(b"\0asm") },
            Change::PluginRemoved { sha256: "ab12".into() },
            Change::Deployed(deployment),
            Change::Removed { application: "app".into() },
        ] {
            let (key, value) = change.encode();
            assert_eq!(Change::decode(Some(&key), value).expect("decodes"), change);
        }
    }

    #[test]
    fn what_is_no_deployment_is_refused_and_not_guessed_at() {
        let key = Bytes::from_static(b"application/a");
        let other = br#"{"application":"b","plugin":"","config":{}}"#;
        for (key, value) in [
            (None, None),
            (Some(Bytes::from_static(b"other")), None),
            (Some(key.clone()), Some(Bytes::from_static(b"{}"))),
            (Some(key), Some(Bytes::from_static(other))),
        ] {
            assert!(matches!(Change::decode(key.as_ref(), value), Err(RuntimeError::BadDeployment { .. })));
        }
    }
}
