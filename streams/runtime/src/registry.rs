//! What the command line does: deploy, remove, list.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest, Sha256};
use strata_client::{
    Client, Consumer, ConsumerOptions, OffsetSpec, Producer, ProducerOptions, ProducerRecord, SeekTo,
};
use strata_topology::ApplicationId;
use strata_types::{TopicName, TopicPartition};

use crate::deployment::{Change, DEPLOYMENTS_TOPIC, Deployment, PLUGIN_BYTES_MAX};
use crate::error::RuntimeError;
use crate::status::{STATUS_TOPIC, Status};
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
        self.write([Change::Plugin { sha256, wasm }, Change::Deployed(deployment.clone())]).await?;
        Ok(deployment)
    }

    /// Stops the application. Its topics, offsets and state stay.
    pub async fn remove(&self, application: &str) -> Result<(), RuntimeError> {
        if !self.list().await?.iter().any(|deployed| deployed.deployment.application == application) {
            return Err(RuntimeError::NoSuchApplication(application.to_owned()));
        }
        self.write([Change::Removed { application: application.to_owned() }]).await
    }

    /// Every application that is deployed, by name.
    pub async fn list(&self) -> Result<Vec<Deployed>, RuntimeError> {
        let mut deployments = BTreeMap::new();
        for (key, value) in self.read(DEPLOYMENTS_TOPIC).await? {
            match Change::decode(Some(&key), value)? {
                Change::Deployed(deployment) => {
                    deployments.insert(deployment.application.clone(), deployment);
                }
                Change::Removed { application } => {
                    deployments.remove(&application);
                }
                Change::Plugin { .. } | Change::PluginRemoved { .. } => {}
            }
        }
        let mut statuses = BTreeMap::new();
        for (key, value) in self.read(STATUS_TOPIC).await? {
            let status = value.and_then(|json| serde_json::from_slice::<Status>(&json).ok());
            statuses.insert(String::from_utf8_lossy(&key).into_owned(), status);
        }
        let deployed = |deployment: Deployment| {
            let status = statuses.remove(&deployment.application).flatten();
            Deployed { status: status.filter(|status| status.plugin == deployment.plugin), deployment }
        };
        Ok(deployments.into_values().map(deployed).collect())
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

    /// The topic's records from its beginning to what is its end now, the last value of each key last.
    async fn read(&self, topic: &'static str) -> Result<Vec<(Bytes, Option<Bytes>)>, RuntimeError> {
        let partition = TopicPartition::new(TopicName::new(topic)?, 0);
        let ends = self.client.list_offsets(&[(partition.clone(), OffsetSpec::Latest)], false).await?;
        let end = ends.get(&partition).map_or(0, |listed| listed.offset.0);
        let mut consumer = Consumer::new(&self.client, ConsumerOptions::default())?;
        consumer.assign(std::slice::from_ref(&partition))?;
        consumer.seek(&partition, SeekTo::Earliest)?;
        let mut records = Vec::new();
        while consumer.position(&partition).is_none_or(|position| position.0 < end) {
            for record in consumer.poll(POLL).await? {
                records.extend(record.key.map(|key| (key, record.value)));
            }
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
