//! The group coordinator from outside: requests in, replies and records out.

mod admin;
mod answers_of_kafka;
mod consumer;
mod harness;
mod invariants;
mod membership;
mod offsets;
mod random;
mod records;
mod runtime;
mod share;
mod simulation;
mod static_members;
mod streams;
mod transaction;
