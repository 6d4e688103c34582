//! What the command line does: deploy, remove, list.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest, Sha256};
use strata_client::{
    Client, Consumer, ConsumerOptions, ConsumerRecord, OffsetSpec, Producer, ProducerOptions, ProducerRecord,
    SeekTo,
};
use strata_topology::ApplicationId;
use strata_types::{TopicName, TopicPartition};

use crate::deployment::{Change, DEPLOYMENTS_TOPIC, Deployment, PLUGIN_BYTES_MAX};
use crate::error::RuntimeError;
use crate::status::{STATUS_TOPIC, Status, application_of};
use crate::topics;

/// How long one poll waits while a topic is read to its end.
const POLL: Duration = Duration::from_millis(500);

/// An application, and how it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deployed {
    #[serde(flatten)]
    pub deployment: Deployment,
    /// `None`: no runtime has picked it up yet.
    pub status: Option<Status>,
}

/// The deployments of a cluster.
pub struct Registry {
    client: Client,
}

impl Registry {
    /// Makes the registry's topics where they are not there yet.
    pub async fn open(client: Client) -> Result<Self, RuntimeError> {
        topics::ensure_own(&client).await?;
        Ok(Self { client })
    }

    /// Uploads the component and sets the application to it. What ran under this name is replaced; its state and its
    /// offsets are kept, so that a new version goes on where the old one stopped.
    pub async fn deploy(
        &self,
        application: &str,
        wasm: Bytes,
        config: BTreeMap<String, String>,
    ) -> Result<Deployment, RuntimeError> {
        ApplicationId::new(application)?;
        if wasm.len() > PLUGIN_BYTES_MAX {
            return Err(RuntimeError::PluginTooLarge { bytes: wasm.len(), limit_bytes: PLUGIN_BYTES_MAX });
        }
        let sha256 = hex(&Sha256::digest(&wasm));
        let deployment = Deployment { application: application.to_owned(), plugin: sha256.clone(), config };
        let former = self.deployments().await?.remove(application);
        self.write([Change::Plugin { sha256, wasm }, Change::Deployed(deployment.clone())]).await?;
        self.forget_unused(former.map(|(former, _)| former.plugin)).await?;
        Ok(deployment)
    }

    /// Stops the application. Its topics, offsets and state stay.
    pub async fn remove(&self, application: &str) -> Result<(), RuntimeError> {
        let Some((former, _)) = self.deployments().await?.remove(application) else {
            return Err(RuntimeError::NoSuchApplication(application.to_owned()));
        };
        self.write([Change::Removed { application: application.to_owned() }]).await?;
        self.forget_unused(Some(former.plugin)).await
    }

    /// Every application that is deployed, by name, with what all runtimes together say of it.
    pub async fn list(&self) -> Result<Vec<Deployed>, RuntimeError> {
        let deployments = self.deployments().await?;
        let mut last_words = BTreeMap::new();
        for record in self.read(STATUS_TOPIC).await? {
            last_words.insert(record.key.clone(), record);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let mut statuses: BTreeMap<(String, i64), Status> = BTreeMap::new();
        for ConsumerRecord { key, value, timestamp, .. } in last_words.into_values() {
            let (Some(application), Some(json)) = (key.as_deref().and_then(application_of), value) else {
                continue;
            };
            let Ok(status) = serde_json::from_slice::<Status>(&json) else { continue };
            if status.is_current(timestamp, now) {
                let about = (application.to_owned(), status.deployment);
                let merged = match statuses.remove(&about) {
                    Some(other) => other.merge(status),
                    None => status,
                };
                statuses.insert(about, merged);
            }
        }
        let deployed = |(application, (deployment, offset))| Deployed {
            status: statuses.remove(&(application, offset)),
            deployment,
        };
        Ok(deployments.into_iter().map(deployed).collect())
    }

    /// The deployments, and the offsets of their records, by application.
    async fn deployments(&self) -> Result<BTreeMap<String, (Deployment, i64)>, RuntimeError> {
        let mut deployments = BTreeMap::new();
        for record in self.read(DEPLOYMENTS_TOPIC).await? {
            match Change::decode(record.key.as_ref(), record.value) {
                Ok(Change::Deployed(deployment)) => {
                    deployments.insert(deployment.application.clone(), (deployment, record.offset.0));
                }
                Ok(Change::Removed { application }) => {
                    deployments.remove(&application);
                }
                Ok(Change::Plugin { .. } | Change::PluginRemoved { .. }) => {}
                // Somebody else's record is no reason to refuse those that are ours.
                Err(error) => tracing::warn!(%error, "passed over"),
            }
        }
        Ok(deployments)
    }

    /// Deletes the plugin from the topic, if no application runs it any more.
    async fn forget_unused(&self, plugin: Option<String>) -> Result<(), RuntimeError> {
        let Some(sha256) = plugin else { return Ok(()) };
        if self.deployments().await?.values().any(|(deployment, _)| deployment.plugin == sha256) {
            return Ok(());
        }
        self.write([Change::PluginRemoved { sha256 }]).await
    }

    async fn write<const N: usize>(&self, changes: [Change; N]) -> Result<(), RuntimeError> {
        let options = ProducerOptions { request_bytes_max: PLUGIN_BYTES_MAX * 2, ..Default::default() };
        let producer = Producer::new(&self.client, options)?;
        for change in changes {
            let (key, value) = change.encode();
            let topic = TopicName::new(DEPLOYMENTS_TOPIC)?;
            let record =
                ProducerRecord { partition: Some(0), ..ProducerRecord::new(topic, Some(key), value) };
            producer.send_and_wait(record).await?;
        }
        producer.close().await;
        Ok(())
    }

    /// The topic's records from its beginning to what is its end now.
    async fn read(&self, topic: &'static str) -> Result<Vec<ConsumerRecord>, RuntimeError> {
        let partition = TopicPartition::new(TopicName::new(topic)?, 0);
        let ends = self.client.list_offsets(&[(partition.clone(), OffsetSpec::Latest)], false).await?;
        let end = ends.get(&partition).map_or(0, |listed| listed.offset.0);
        let mut consumer = Consumer::new(&self.client, ConsumerOptions::default())?;
        consumer.assign(std::slice::from_ref(&partition))?;
        consumer.seek(&partition, SeekTo::Earliest)?;
        let mut records = Vec::new();
        while consumer.position(&partition).is_none_or(|position| position.0 < end) {
            records.extend(consumer.poll(POLL).await?);
            if end == 0 {
                break;
            }
        }
        consumer.close().await?;
        Ok(records)
    }
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
