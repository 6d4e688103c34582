//! The transaction coordinator, together with the group coordinator whose offsets its transactions commit.

mod answers;
mod host;
mod invariants;
mod simulation;
mod world;
