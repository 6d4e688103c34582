//! What a broker does unasked: follow the metadata, enforce retention, write checkpoints, clear deleted folders away.

use std::sync::Arc;
use std::time::Duration;

use strata_coordinator::GroupRequest;
use strata_log::{RemoteLog, RetentionLimits};
use strata_metadata::{Changes, ConfigResource, Image, controller};
use strata_protocol::Str;
use strata_types::{Offset, TopicId, TopicName};
use tokio::time::{MissedTickBehavior, interval_at};

use crate::broker::{Broker, now};
use crate::cleaner;
use crate::partition::Partition;
use crate::server::blocking;
use crate::share;

/// How often logs are asked to roll by time and to forget idle producers, and deleted folders are cleared away.
const TIDY_INTERVAL: Duration = Duration::from_secs(10);
/// How exact `flush.ms` is.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
/// How soon a controller that could not be reached is asked again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Intervals longer than this are never reached by a broker that is restarted now and then; the timer cannot hold more.
const INTERVAL_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Starts the tasks. `image` is what the partitions follow so far.
pub(crate) fn start(broker: &Arc<Broker>, image: Arc<Image>) {
    let settings = &broker.config.settings;
    broker.tasks.spawn(follow(broker.clone(), image));
    broker.tasks.spawn(tell_of_lost_logs(broker.clone()));
    // One pass writes all checkpoints, so the more frequent of Kafka's intervals counts.
    let checkpoint =
        settings.high_watermark_checkpoint_interval.min(settings.flush_offset_checkpoint_interval);
    every(broker, checkpoint, |broker| async move {
        let Some(manager) = broker.partitions.manager() else { return };
        if let Err(error) = blocking(move || manager.checkpoint()).await {
            tracing::error!("the checkpoints could not be written: {error}");
        }
    });
    every(broker, TIDY_INTERVAL, |broker| async move {
        let tidied = blocking(move || tidy(&broker)).await;
        if let Err(error) = tidied {
            tracing::error!("tidying failed: {error}");
        }
    });
    every(broker, FLUSH_INTERVAL, |broker| async move { broker.partitions.flush_overdue() });
    every(broker, share::upkeep::PRUNE_INTERVAL, share::upkeep::prune);
    if let Some(tokens) = &broker.config.security.tokens {
        every(broker, tokens.check_interval, sweep_tokens);
    }
    every(broker, settings.retention_check_interval, enforce_all_retention);
}

/// Retention everywhere: one partition after the other where the archive is asked, all others in one go.
async fn enforce_all_retention(broker: Arc<Broker>) {
    let all = broker.partitions.all();
    let (archived, local): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|partition| archive_of(&broker, partition).is_some());
    for partition in archived {
        enforce_retention(&broker, &partition).await;
    }
    let enforced = blocking(move || local.iter().for_each(|partition| drop_expired(partition, None))).await;
    if let Err(error) = enforced {
        tracing::error!("retention failed: {error}");
    }
}

/// The archive, for a partition that goes there.
fn archive_of<'a>(broker: &'a Broker, partition: &Partition) -> Option<&'a Arc<dyn RemoteLog>> {
    broker.remote.as_ref().filter(|_| partition.log.config().remote_storage_enable)
}

/// Has the controller know which logs cannot be used, so that clients learn that nobody leads these partitions.
async fn tell_of_lost_logs(broker: Arc<Broker>) {
    let stopping = broker.stopping.clone();
    while stopping.run_until_cancelled(broker.partitions.lost.notified()).await.is_some() {
        loop {
            let lost = broker.partitions.lost(&broker.image());
            if lost.is_empty() {
                break;
            }
            tracing::warn!(partitions = lost.len(), "partitions whose logs are offline have no leader");
            let told = broker.decide(|image| controller::logs_lost(image, broker.node_id, &lost)).await;
            // Without a controller there is nobody to tell; there will be one again.
            if told.is_err()
                && stopping.run_until_cancelled(tokio::time::sleep(RETRY_INTERVAL)).await.is_none()
            {
                return;
            }
        }
    }
}

/// Removes the delegation tokens that have expired. Until then they are only no longer taken.
async fn sweep_tokens(broker: Arc<Broker>) {
    let now_ms = now();
    if broker.image().delegation_tokens().any(|token| token.is_expired(now_ms)) {
        let swept = broker.decide(|image| controller::sweep_delegation_tokens(image, now_ms)).await;
        if let Err(code) = swept {
            tracing::warn!(%code, "expired delegation tokens could not be removed");
        }
    }
}

/// Runs `task` at every interval, until the broker stops.
fn every<F>(broker: &Arc<Broker>, interval: Duration, task: impl Fn(Arc<Broker>) -> F + Send + Sync + 'static)
where
    F: Future<Output = ()> + Send,
{
    let broker = broker.clone();
    let interval = interval.clamp(Duration::from_millis(1), INTERVAL_MAX);
    broker.clone().tasks.spawn(async move {
        let mut ticks = interval_at(tokio::time::Instant::now() + interval, interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Between two runs only: what is being written when the broker stops is finished first.
        while broker.stopping.run_until_cancelled(ticks.tick()).await.is_some() {
            task(broker.clone()).await;
        }
    });
}

fn tidy(broker: &Broker) {
    let now = now();
    let idle_ms_max = broker.configs.broker_number(&broker.image(), "producer.id.expiration.ms");
    broker.partitions.all().iter().for_each(|partition| partition.log.housekeep(now, idle_ms_max));
    let Some(manager) = broker.partitions.manager() else { return };
    if let Err(error) = manager.remove_deleted() {
        tracing::warn!("deleted partitions' folders could not be removed: {error}");
    }
}

/// Drops what the topic's retention says, here and in the archive.
pub(crate) async fn enforce_retention(broker: &Arc<Broker>, partition: &Arc<Partition>) {
    let config = partition.log.config();
    let archive = archive_of(broker, partition);
    let archived_until = archive.and_then(|archive| archive.archived_until(&partition.id));
    if let Some(archive) = archive {
        let limits = RetentionLimits {
            retention_ms: config.retention_ms,
            retention_bytes: config.retention_bytes,
            log_start_offset: partition.log.start_offset(),
            local_bytes: bytes_after(partition, archived_until),
        };
        match archive.enforce_retention(&partition.id, limits, now()).await {
            Ok(start) => {
                if let Err(error) = partition.log.advance_start_offset(start) {
                    tracing::error!(partition = %partition.id.partition, "the start offset could not be moved: {error}");
                }
            }
            Err(error) => {
                tracing::warn!(partition = %partition.id.partition, "retention in the archive must wait: {error}");
            }
        }
    }
    let kept = partition.clone();
    // Who shuts down needs no retention.
    let _ = blocking(move || drop_expired(&kept, archived_until)).await;
}

/// Drops what the topic's retention does not keep in the log itself.
fn drop_expired(partition: &Partition, archived_until: Option<Offset>) {
    match partition.log.enforce_retention(now(), archived_until) {
        Ok(outcome) if outcome.segments_removed > 0 => {
            tracing::info!(partition = %partition.id.partition, segments = outcome.segments_removed, "retention");
        }
        Err(error) => tracing::error!(partition = %partition.id.partition, "retention failed: {error}"),
        Ok(_) => {}
    }
}

/// The local bytes that the archive does not have.
fn bytes_after(partition: &Partition, archived_until: Option<Offset>) -> u64 {
    let segments = partition.log.segments();
    segments.iter().filter(|s| archived_until.is_none_or(|until| s.end_offset > until)).map(|s| s.bytes).sum()
}

/// Keeps the partitions what the metadata says.
async fn follow(broker: Arc<Broker>, mut seen: Arc<Image>) {
    let mut images = broker.quorum.images();
    loop {
        let new = images.borrow_and_update().clone();
        if new.next_offset() > seen.next_offset() {
            let deleted = blocking({
                let (broker, seen, new) = (broker.clone(), seen.clone(), new.clone());
                move || {
                    reconfigure(&broker, &seen, &new);
                    broker.partitions.follow(&seen, &new, &broker.configs)
                }
            })
            .await;
            for (id, name) in deleted.unwrap_or_default() {
                let partitions = seen.topic_by_id(id).map_or(0, |topic| topic.partitions.len() as i32);
                // What follows from a deletion must not hold up what else is decided.
                broker.tasks.spawn(forget_topic(broker.clone(), id, name, partitions));
            }
            seen = new;
        }
        match broker.stopping.run_until_cancelled(images.changed()).await {
            Some(Ok(())) => {}
            _ => return,
        }
    }
}

/// Settings of the broker's parts may have changed.
fn reconfigure(broker: &Broker, seen: &Image, image: &Image) {
    let changes = Changes::between(seen, image);
    if changes.client_quotas {
        broker.quotas.follow(image);
    }
    let is_brokers =
        |set: &ConfigResource| matches!(set, ConfigResource::Broker(_) | ConfigResource::BrokerDefault);
    if changes.configs.iter().any(is_brokers) {
        broker.limits.follow(&broker.configs, image);
    }
    if let Err(error) = broker.cleaner.reconfigure(cleaner::options(&broker.configs, image)) {
        tracing::error!("the cleaner does not start again: {error}");
    }
}

/// A deleted topic leaves the archive, and the offsets of the groups that read it.
async fn forget_topic(broker: Arc<Broker>, id: TopicId, name: TopicName, partitions: i32) {
    if let Some(remote) = &broker.remote
        && let Err(error) = remote.topic_deleted(id, &name).await
    {
        tracing::warn!(topic = %name, "the deleted topic is still in the archive: {error}");
    }
    // A topic that was made again under the same name starts anew; its groups' offsets do too.
    let partitions: Vec<_> = (0..partitions).map(|partition| (Str::from(name.as_str()), partition)).collect();
    let ask = || GroupRequest::PartitionsDeleted { partitions: partitions.clone() };
    broker.groups.ask_all(&broker, ask).await;
    share::upkeep::topic_deleted(&broker, id).await;
}
