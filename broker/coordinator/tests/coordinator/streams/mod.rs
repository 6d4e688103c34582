//! Streams groups: threads of applications that come, go and fall silent, and the tasks that they are given.

mod commits;
mod membership;
mod refusals;
mod simulation;
mod world;
