//! Commits, in the order in which they were asked for: one that was asked for earlier but comes later is dropped, for
//! it would take the group back.

use std::collections::HashMap;
use std::sync::Arc;

use strata_types::{Offset, TopicPartition};
use tokio::sync::Mutex;

use crate::client::Client;
use crate::error::Result;
use crate::offsets::{self, Member};

#[derive(Default)]
pub(crate) struct Commits {
    asked: std::sync::atomic::AtomicU64,
    /// The number of the latest commit that is done. Locked while one is under way.
    done: Arc<Mutex<u64>>,
}

/// A commit that has its place in the order.
pub(crate) struct Commit {
    number: u64,
    done: Arc<Mutex<u64>>,
    client: Client,
    group: String,
    member: Member,
    offsets: HashMap<TopicPartition, Offset>,
}

impl Commits {
    pub(crate) fn ask(
        &self,
        client: &Client,
        group: &str,
        member: &Member,
        offsets: HashMap<TopicPartition, Offset>,
    ) -> Commit {
        Commit {
            number: 1 + self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
            done: self.done.clone(),
            client: client.clone(),
            group: group.to_owned(),
            member: member.clone(),
            offsets,
        }
    }
}

impl Commit {
    pub(crate) async fn run(self) -> Result<()> {
        let mut done = self.done.lock().await;
        if *done > self.number || self.offsets.is_empty() {
            return Ok(());
        }
        offsets::commit(&self.client, &self.group, &self.member, &self.offsets).await?;
        *done = self.number;
        Ok(())
    }

    /// An automatic commit that fails is made up for by the next one; at worst, records are read twice.
    pub(crate) async fn run_quietly(self) {
        let group = self.group.clone();
        if let Err(error) = self.run().await {
            tracing::warn!(group, %error, "an automatic commit failed");
        }
    }
}
