use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use strata_client::{Client, Consumer, ConsumerOptions, ConsumerRecord, OffsetSpec, SeekTo};
use strata_types::{Offset, TopicName, TopicPartition};

use std::time::Duration;

const POLL: Duration = Duration::from_millis(500);

/// What a consumer read of a topic, in a form that can be compared: every field of every record is in the hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    pub records: u64,
    pub value_bytes: u64,
    /// One hash over the partitions' hashes, in their order.
    pub hash: String,
}

impl Fingerprint {
    /// Reads the whole topic, from its first offset to what is its end now.
    pub async fn of(client: &Client, topic: &TopicName) -> anyhow::Result<Self> {
        let partitions: Vec<TopicPartition> = client
            .partitions(topic)
            .await?
            .into_iter()
            .map(|partition| TopicPartition::new(topic.clone(), partition))
            .collect();
        let wanted: Vec<_> =
            partitions.iter().map(|partition| (partition.clone(), OffsetSpec::Latest)).collect();
        let ends = client.list_offsets(&wanted, false).await?;
        let mut consumer = Consumer::new(client, ConsumerOptions::default())?;
        consumer.assign(&partitions)?;
        for partition in &partitions {
            consumer.seek(partition, SeekTo::Earliest)?;
        }
        let mut reading = Reading::default();
        let at_end = |consumer: &Consumer| {
            ends.iter().all(|(partition, end)| {
                end.offset == Offset::ZERO
                    || consumer.position(partition).is_some_and(|position| position >= end.offset)
            })
        };
        while !at_end(&consumer) {
            for record in consumer.poll(POLL).await? {
                reading.add(&record);
            }
        }
        consumer.close().await?;
        Ok(reading.end())
    }
}

#[derive(Default)]
struct Reading {
    records: u64,
    value_bytes: u64,
    hashes: BTreeMap<i32, Sha256>,
}

impl Reading {
    fn add(&mut self, record: &ConsumerRecord) {
        self.records += 1;
        self.value_bytes += record.value.as_ref().map_or(0, |value| value.len() as u64);
        let hash = self.hashes.entry(record.partition).or_default();
        hash.update(record.offset.0.to_be_bytes());
        hash.update(record.timestamp.to_be_bytes());
        add_bytes(hash, record.key.as_deref());
        add_bytes(hash, record.value.as_deref());
        for header in &record.headers {
            add_bytes(hash, Some(header.key.as_bytes()));
            add_bytes(hash, header.value.as_deref());
        }
    }

    fn end(self) -> Fingerprint {
        let mut all = Sha256::new();
        for hash in self.hashes.into_values() {
            all.update(hash.finalize());
        }
        let hash = all.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Fingerprint { records: self.records, value_bytes: self.value_bytes, hash }
    }
}

/// Length first, so that null, empty and run-together fields all differ.
fn add_bytes(hash: &mut Sha256, bytes: Option<&[u8]>) {
    match bytes {
        None => hash.update((-1_i64).to_be_bytes()),
        Some(bytes) => {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        }
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} records, {} value bytes, sha256 {}…", self.records, self.value_bytes, self.hash)
    }
}
