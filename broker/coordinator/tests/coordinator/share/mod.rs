//! Share partitions and the share coordinator, from outside.

mod partition;
mod persister;
mod simulation;
