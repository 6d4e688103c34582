//! Streams groups (KIP-1071): the members of one Kafka Streams application, to whom the coordinator gives tasks.
//!
//! ```text
//!  topology of the members ─▶ configured by the topics there are ─▶ tasks ─▶ sticky assignor ─▶ target ─▶ each member's steps
//!                                      │ internal topics are missing: the shell creates them
//!                                      └ or the answer's status says what is wrong
//! ```
//!
//! | file | what |
//! |---|---|
//! | `topology`, `configure` | what the application wants; partition counts, tasks and missing topics |
//! | `tasks`, `assignor/` | tasks and their roles; who gets which |
//! | `member`, `reconcile` | a member; its way to the tasks that it is to have |
//! | `group` | the group: what records make of it, and what every type of group answers |
//! | `request`, `heartbeat`, `update`, `endpoints`, `status` | StreamsGroupHeartbeat, step by step |
//! | `shard` | leaving, time-outs, StreamsGroupDescribe |
//! | `soft` | what is known of groups beside their records |
//!
//! The rules are those of Kafka 4.3: no static members, no regular expressions, no warm-up tasks, and a topology cannot
//! be changed while the group is there; requests with these are refused as Kafka refuses them.

mod assignor;
mod configure;
mod endpoints;
mod group;
mod heartbeat;
mod member;
mod reconcile;
mod request;
mod settings;
mod shard;
mod soft;
mod status;
mod tasks;
mod topology;
mod update;

pub use group::StreamsGroup;
pub use member::{MemberState as StreamsMemberState, StreamsMember};
pub use status::StatusCode as StreamsStatus;
pub use tasks::{AssignedTasks, TaskId, Tasks};

pub(super) use group::replay;
pub(super) use soft::SoftStates;
