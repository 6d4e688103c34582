//! A broker and its command line, as these tests use them.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use strata_client::{
    AutoOffsetReset, Client, ClientOptions, Consumer, ConsumerOptions, NewTopic, OffsetSpec, Producer,
    ProducerOptions, ProducerRecord,
};
use strata_e2e::{Broker, BrokerOptions, binary};
use strata_types::{TopicName, TopicPartition};
use tokio::process::{Child, Command};
use tokio::time::{interval, timeout};

/// How long anything that these tests wait for may take, on a busy machine.
const ANSWER_MAX: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(100);
const POLL: Duration = Duration::from_millis(200);

/// A broker with a client.
pub struct Cluster {
    broker: Arc<Broker>,
    pub client: Client,
}

/// The broker that the tests that do not stop it share, while one of them runs.
pub async fn shared() -> anyhow::Result<Cluster> {
    static SHARED: Mutex<Weak<Broker>> = Mutex::new(Weak::new());
    let broker = {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        match shared.upgrade() {
            Some(broker) => broker,
            None => {
                let broker = Arc::new(Broker::start(options())?);
                *shared = Arc::downgrade(&broker);
                broker
            }
        }
    };
    Cluster::new(broker).await
}

/// A new group's first members need not wait for more.
fn options() -> BrokerOptions {
    BrokerOptions::default().with("group.initial.rebalance.delay.ms=0")
}

impl Cluster {
    async fn new(broker: Arc<Broker>) -> anyhow::Result<Self> {
        let client = Client::connect(&broker.address().to_string(), ClientOptions::default()).await?;
        Ok(Self { broker, client })
    }

    /// One that is nobody else's.
    pub async fn start() -> anyhow::Result<Self> {
        Self::new(Arc::new(Broker::start(options())?)).await
    }

    pub async fn kill_and_restart(self) -> anyhow::Result<Self> {
        Self::new(Arc::new(self.into_broker()?.kill_and_restart()?)).await
    }

    pub async fn stop_change_and_restart(
        self,
        change: impl FnOnce(&Path) -> std::io::Result<()>,
    ) -> anyhow::Result<Self> {
        Self::new(Arc::new(self.into_broker()?.stop_change_and_restart(change)?)).await
    }

    fn into_broker(self) -> anyhow::Result<Broker> {
        Arc::into_inner(self.broker).context("others use this broker")
    }

    pub fn address(&self) -> String {
        self.broker.address().to_string()
    }

    /// Runs a command of the binary, and returns its JSON.
    pub async fn strata(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let output = Command::new(binary()?)
            .args(arguments)
            .args(["--output", "json", "--bootstrap-server", &self.address()])
            .output()
            .await?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "strata {}: {errors}", arguments.join(" "));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    pub async fn deploy(&self, application: &str, plugin: &str, config: &[&str]) -> anyhow::Result<()> {
        let mut arguments = vec!["streams", "deploy", application, "--plugin", plugin];
        arguments.extend(config.iter().flat_map(|setting| ["--config", setting]));
        self.strata(&arguments).await.map(drop)
    }

    /// The application as `strata streams list` has it.
    pub async fn listed(&self, application: &str) -> anyhow::Result<Option<Value>> {
        let list = self.strata(&["streams", "list"]).await?;
        let list = list.as_array().context("a list")?.clone();
        Ok(list.into_iter().find(|one| one["application"] == application))
    }

    /// Waits until the application has this state, and returns its status.
    pub async fn until_state(&self, application: &str, state: &str) -> anyhow::Result<Value> {
        until(&format!("{application} is {state}"), async || {
            let status = self.listed(application).await?.map(|listed| listed["status"].clone());
            Ok(status.filter(|status| status["state"] == state))
        })
        .await
    }

    pub async fn create_topics(&self, partitions: i32, names: &[&str]) -> anyhow::Result<()> {
        for name in names {
            self.client.admin().create_topic(NewTopic::new(TopicName::new(name)?, partitions)).await?;
        }
        Ok(())
    }

    /// Writes values without keys, spread over the partitions, all acknowledged.
    pub async fn write(
        &self,
        topic: &str,
        values: impl IntoIterator<Item = impl Into<String>>,
    ) -> anyhow::Result<()> {
        let producer = Producer::new(&self.client, ProducerOptions::default())?;
        let partitions = i32::try_from(self.client.partitions(&TopicName::new(topic)?).await?.len())?;
        let mut deliveries = Vec::new();
        for (partition, value) in (0..partitions).cycle().zip(values) {
            let record = ProducerRecord::new(TopicName::new(topic)?, None, Some(Bytes::from(value.into())));
            deliveries.push(producer.send(ProducerRecord { partition: Some(partition), ..record }).await?);
        }
        for delivery in deliveries {
            delivery.await?;
        }
        producer.close().await;
        Ok(())
    }

    async fn ends(&self, topic: &str) -> anyhow::Result<HashMap<TopicPartition, i64>> {
        let topic = TopicName::new(topic)?;
        let partitions = self.client.partitions(&topic).await?;
        let latest = |partition| (TopicPartition::new(topic.clone(), partition), OffsetSpec::Latest);
        let ends =
            self.client.list_offsets(&partitions.into_iter().map(latest).collect::<Vec<_>>(), false).await?;
        Ok(ends.into_iter().map(|(partition, listed)| (partition, listed.offset.0)).collect())
    }

    /// Every key and value of a topic from its beginning to its present end, in the order of each partition.
    pub async fn read(&self, topic: &str) -> anyhow::Result<Vec<(Bytes, Bytes)>> {
        let ends = self.ends(topic).await?;
        let options =
            ConsumerOptions { auto_offset_reset: AutoOffsetReset::Earliest, ..ConsumerOptions::default() };
        let mut consumer = Consumer::new(&self.client, options)?;
        consumer.assign(&ends.keys().cloned().collect::<Vec<_>>())?;
        let mut found = Vec::new();
        let all = async {
            while !ends.iter().all(|(at, end)| consumer.position(at).is_some_and(|offset| offset.0 >= *end)) {
                for record in consumer.poll(POLL).await? {
                    found.push((record.key.unwrap_or_default(), record.value.unwrap_or_default()));
                }
            }
            anyhow::Ok(())
        };
        timeout(ANSWER_MAX, all).await.with_context(|| format!("reading {topic}"))??;
        consumer.close().await?;
        Ok(found)
    }

    /// The values alone, sorted.
    pub async fn values(&self, topic: &str) -> anyhow::Result<Vec<String>> {
        let values = self.read(topic).await?.into_iter();
        let mut values: Vec<_> =
            values.map(|(_, value)| String::from_utf8_lossy(&value).into_owned()).collect();
        values.sort();
        Ok(values)
    }

    /// Waits until the topic has these values, in any order, and no others.
    pub async fn until_values(&self, topic: &str, mut expected: Vec<String>) -> anyhow::Result<()> {
        expected.sort();
        let found = until(&format!("{topic} has {} values", expected.len()), async || {
            let found = self.values(topic).await?;
            Ok((found.len() >= expected.len()).then_some(found))
        })
        .await?;
        ensure!(found == expected, "{topic}: {found:?} instead of {expected:?}");
        Ok(())
    }

    /// Waits until the application has processed and committed all that these topics hold. In order: what reads a later
    /// one writes none of the earlier.
    pub async fn until_processed(&self, application: &str, topics: &[&str]) -> anyhow::Result<()> {
        for topic in topics {
            until(&format!("{application} has processed {topic}"), async || {
                let committed = self.client.admin().group_offsets(application).await?;
                let ends = self.ends(topic).await?;
                let is_done = |(at, end): (&TopicPartition, &i64)| {
                    *end == 0 || committed.get(at).is_some_and(|offset| offset.0 >= *end)
                };
                Ok(ends.iter().all(is_done).then_some(()))
            })
            .await?;
        }
        Ok(())
    }
}

/// Looks again and again until there is an answer. An error is not final: topics and groups come into being meanwhile.
pub async fn until<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let mut last_error = None;
    let mut ticks = interval(LOOK_EVERY);
    let found = timeout(ANSWER_MAX, async {
        loop {
            ticks.tick().await;
            match look().await {
                Ok(Some(found)) => return found,
                Ok(None) => last_error = None,
                Err(error) => last_error = Some(error),
            }
        }
    })
    .await;
    match (found, last_error) {
        (Ok(found), _) => Ok(found),
        (Err(_), Some(error)) => Err(error.context(format!("in {ANSWER_MAX:?}: {what}"))),
        (Err(_), None) => bail!("not in {ANSWER_MAX:?}: {what}"),
    }
}

/// `strata streams run`: a stream runtime beside the broker's own.
pub struct Companion(Child);

impl Companion {
    pub fn start(cluster: &Cluster, state_dir: &Path) -> anyhow::Result<Self> {
        let child = Command::new(binary()?)
            .args(["streams", "run", "--bootstrap-server", &cluster.address(), "--state-dir"])
            .arg(state_dir)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self(child))
    }

    /// SIGTERM; it must end with status zero.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.0.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).context("it runs")?;
        kill_process(pid, Signal::TERM)?;
        let status = timeout(ANSWER_MAX, self.0.wait()).await??;
        ensure!(status.success(), "SIGTERM ended it with {status}");
        Ok(())
    }

    /// Waits for the end that it comes to by itself, and returns what it says.
    pub async fn until_refused(self) -> anyhow::Result<String> {
        let output = timeout(ANSWER_MAX, self.0.wait_with_output()).await??;
        ensure!(!output.status.success(), "it ended with {}", output.status);
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
