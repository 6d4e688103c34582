//! A consumer of the new protocol as far as its heartbeats go, for the simulation.

use std::collections::BTreeSet;

use strata_protocol::messages::consumer_group_heartbeat_request::TopicPartitions as Owned;
use strata_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use strata_types::ErrorCode;
use uuid::Uuid;

use super::{join, stay};

pub(super) type Partitions = BTreeSet<(Uuid, i32)>;

/// It gives up partitions some time after it was told to, as consumers do that commit first.
pub(super) struct Consumer {
    pub(super) id: String,
    instance: Option<String>,
    pub(super) topics: Vec<&'static str>,
    pub(super) epoch: i32,
    /// What it reads now.
    pub(super) owned: Partitions,
    /// What it was last told to have.
    assigned: Option<Partitions>,
    incarnation: u32,
    /// Says all of it: it joins, or the last answer did not come.
    full: bool,
    /// It has what it was told and has not said so yet.
    acknowledges: bool,
    pub(super) alive: bool,
}

impl Consumer {
    pub(super) fn new(index: usize) -> Self {
        Self {
            id: format!("m{index}-0"),
            instance: (index % 3 == 2).then(|| format!("static{index}")),
            topics: vec!["t"],
            epoch: 0,
            owned: Partitions::new(),
            assigned: None,
            incarnation: 0,
            full: true,
            acknowledges: false,
            alive: true,
        }
    }

    pub(super) fn heartbeat(&mut self) -> ConsumerGroupHeartbeatRequest {
        let mut request = if self.epoch == 0 || self.full {
            ConsumerGroupHeartbeatRequest { member_epoch: self.epoch, ..join(&self.id, &self.topics) }
        } else {
            stay(&self.id, self.epoch)
        };
        request.rebalance_timeout_ms = if self.full || self.epoch == 0 { 20_000 } else { -1 };
        request.instance_id = self.instance.as_deref().map(Into::into);
        if self.epoch > 0 && (self.full || self.acknowledges) {
            let topics: BTreeSet<Uuid> = self.owned.iter().map(|(topic, _)| *topic).collect();
            let owned = topics.into_iter().map(|topic_id| Owned {
                topic_id,
                partitions: self
                    .owned
                    .iter()
                    .filter(|(topic, _)| *topic == topic_id)
                    .map(|(_, p)| *p)
                    .collect(),
                ..Default::default()
            });
            request.topic_partitions = Some(owned.collect());
        }
        // What changes from here on is for the next one.
        (self.full, self.acknowledges) = (false, false);
        request
    }

    pub(super) fn leave(&self) -> ConsumerGroupHeartbeatRequest {
        let epoch = if self.instance.is_some() { -2 } else { -1 };
        ConsumerGroupHeartbeatRequest {
            instance_id: self.instance.as_deref().map(Into::into),
            ..stay(&self.id, epoch)
        }
    }

    pub(super) fn subscribe(&mut self, topics: &[&'static str]) {
        self.topics = topics.to_vec();
        self.full = true;
    }

    /// Does what it was told: gives up first, then takes.
    pub(super) fn reconcile(&mut self) {
        let Some(assigned) = &self.assigned else { return };
        let keeps: Partitions = self.owned.intersection(assigned).copied().collect();
        if keeps != self.owned {
            self.owned = keeps;
        } else {
            self.owned = assigned.clone();
            self.assigned = None;
        }
        self.acknowledges = true;
    }

    pub(super) fn answered(&mut self, response: &ConsumerGroupHeartbeatResponse) {
        match ErrorCode::from_code(response.error_code) {
            Some(ErrorCode::None) if response.member_epoch < 0 => self.start_over(),
            Some(ErrorCode::None) => {
                self.epoch = response.member_epoch;
                if let Some(assignment) = &response.assignment {
                    let topics = assignment.topic_partitions.iter();
                    let told = topics.flat_map(|told| told.partitions.iter().map(|p| (told.topic_id, *p)));
                    self.assigned = Some(told.collect());
                }
            }
            Some(ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId | ErrorCode::GroupIdNotFound) => {
                self.lose();
            }
            Some(ErrorCode::UnreleasedInstanceId | ErrorCode::FencedInstanceId) => self.start_over(),
            _ => self.full = true,
        }
    }

    /// The answer did not come: it says everything again.
    pub(super) fn unanswered(&mut self) {
        self.full = true;
    }

    /// It is another process now.
    pub(super) fn start_over(&mut self) {
        self.lose();
        self.incarnation += 1;
        let (stem, _) = self.id.split_once('-').expect("an id of ours");
        self.id = format!("{stem}-{}", self.incarnation);
    }

    fn lose(&mut self) {
        self.owned.clear();
        self.assigned = None;
        self.epoch = 0;
        self.full = true;
    }
}
