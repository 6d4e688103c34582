//! What is known of streams groups beside their records. It is lost when the coordinator moves, and comes back with the
//! members' next heartbeats.

use std::collections::HashMap;
use std::sync::Arc;

use strata_protocol::Str;

use super::configure::ConfiguredTopology;

/// By group.
#[derive(Debug, Default)]
pub(in crate::group) struct SoftStates(HashMap<Str, SoftState>);

#[derive(Debug, Clone, Default)]
pub(super) struct SoftState {
    /// The group's topology as its topics let it be, once a member has asked.
    pub(super) configured: Option<Configured>,
    /// The member that wants the whole application to end.
    pub(super) shutdown_requested_by: Option<Str>,
    /// Rises whenever what is known of endpoints changes; members are told where theirs differs.
    pub(super) endpoint_epoch: i32,
}

#[derive(Debug, Clone)]
pub(super) struct Configured {
    /// What the topics looked like.
    pub(super) metadata_hash: i64,
    pub(super) topology: Arc<ConfiguredTopology>,
}

impl SoftStates {
    pub(super) fn get(&self, group: &str) -> Option<&SoftState> {
        self.0.get(group)
    }

    pub(super) fn entry(&mut self, group: &Str) -> &mut SoftState {
        if !self.0.contains_key(group) {
            self.0.insert(group.detached(), SoftState::default());
        }
        self.0.entry(group.clone()).or_default()
    }

    /// Nobody is left who could have asked for the end.
    pub(super) fn emptied(&mut self, group: &str) {
        if let Some(state) = self.0.get_mut(group) {
            state.shutdown_requested_by = None;
        }
    }

    /// Forgets groups that are gone.
    pub(in crate::group) fn retain(&mut self, is_known: impl Fn(&Str) -> bool) {
        self.0.retain(|group, _| is_known(group));
    }

    /// What was learnt may have been undone: topologies are configured anew.
    pub(in crate::group) fn forget_topologies(&mut self) {
        self.0.values_mut().for_each(|state| state.configured = None);
    }
}
