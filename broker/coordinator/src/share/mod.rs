//! Share groups (KIP-932): many members consume one partition, record by record.
//!
//! | module | what |
//! |---|---|
//! | `partition` | a share partition: which records are in flight, who has them, how often they were delivered |
//! | `sessions` | share sessions: a member names its partitions once, and afterwards only what changes |
//! | `persister` | the share coordinator: a shard of `__share_group_state`, where share partitions keep their state |
//!
//! Sans-IO, as everything here: the shell reads the log, carries writes to the share coordinator, and tells the time.
//! Which members a share group has is the group coordinator's business.

pub mod partition;
pub mod persister;
pub mod sessions;
