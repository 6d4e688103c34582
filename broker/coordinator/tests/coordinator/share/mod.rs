//! Share partitions and the share coordinator, from outside.

mod dead_letters;
mod partition;
mod persister;
mod simulation;
